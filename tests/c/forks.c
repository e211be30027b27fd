/* What a child process may do with its parent's handles: close them, and nothing else. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static void every_call_is_closed(dcb_store *store) {
    dcb_error err;
    int64_t number = 99;
    dcb_buf result;
    dcb_cursor *cursor;
    CHECK_STATUS(try_append(store, "{'events': [{'type': 'A'}]}", NULL, &number, &err), DCB_CLOSED);
    CHECK_INT(number, 0);
    CHECK_STATUS(try_read(store, "{}", &result, &err), DCB_CLOSED);
    CHECK(result.data == NULL);
    CHECK_STATUS(dcb_cursor_open(store, NULL, 0, NULL, &cursor, &err), DCB_CLOSED);
    CHECK(cursor == NULL);
    CHECK_STATUS(dcb_find(store, "i", 1, NULL, &cursor, &err), DCB_CLOSED);
    CHECK(cursor == NULL);
    CHECK_STATUS(dcb_head(store, NULL, &number, &err), DCB_CLOSED);
    CHECK_STATUS(dcb_count(store, NULL, &number, &err), DCB_CLOSED);
    CHECK_STATUS(dcb_diagnose(store, NULL, &result, &err), DCB_CLOSED);
    CHECK_STATUS(dcb_wait(store, 0, NULL, &number, &err), DCB_CLOSED);
    CHECK_STATUS(dcb_backup(store, "copy.db", NULL, NULL, NULL, &number, &err), DCB_CLOSED);
}

static void a_child_can_only_close(void) {
    char uri[MAX_URI];
    strcpy(uri, fresh_uri());
    dcb_store *store = open_store(uri);
    dcb_error err;
    const dcb_event *events;
    size_t len;
    dcb_buf result;
    append_many(store, 4);
    dcb_cursor *cursor = open_cursor(store, "{}");
    dcb_cancel *cancel = dcb_cancel_new();
    CHECK_INT(next_batch(cursor, 1, &events), 1);
    CHECK_STATUS(try_read(store, "{}", &result, &err), DCB_OK);

    pid_t child = begin_child();
    if (child == 0) {
        every_call_is_closed(store);
        /* What the cursor gave before is still there to look at. */
        CHECK(str_is(events[0].data, "1"));
        CHECK_STATUS(dcb_cursor_next(cursor, 1, NULL, &events, &len, &err), DCB_CLOSED);
        CHECK_INT(dcb_cursor_position(cursor), 1);
        dcb_cancel_trigger(cancel);
        dcb_cancel_free(cancel);
        dcb_buf_free(&result);
        dcb_close(store);
        dcb_cursor_close(cursor);
        leave_child();
    }
    end_child(child);
    /* The child's closing was its own. */
    CHECK_INT(next_batch(cursor, 9, &events), 3);
    append_many(store, 1);
    CHECK_INT(head_of(store), 5);
    dcb_call call = {sizeof call, 0, cancel};
    int64_t head;
    CHECK_STATUS(dcb_wait(store, 5, &call, &head, &err), DCB_TIMEOUT);
    dcb_cancel_free(cancel);
    dcb_buf_free(&result);
    dcb_cursor_close(cursor);
    dcb_close(store);
}

static void a_child_may_open_a_memory_store_and_its_child_may_not_use_it(void) {
    dcb_store *store = fresh_store();
    append_many(store, 1);
    pid_t child = begin_child();
    if (child == 0) {
        dcb_store *own = open_store("memory:");
        append_many(own, 3);
        CHECK_INT(head_of(own), 3);
        pid_t grandchild = begin_child();
        if (grandchild == 0) {
            every_call_is_closed(own);
            every_call_is_closed(store);
            dcb_store *third = open_store("memory:");
            append_many(third, 2);
            CHECK_INT(head_of(third), 2);
            dcb_close(third);
            dcb_close(own);
            dcb_close(store);
            leave_child();
        }
        end_child(grandchild);
        append_many(own, 1);
        CHECK_INT(head_of(own), 4);
        dcb_close(own);
        every_call_is_closed(store);
        leave_child();
    }
    end_child(child);
    CHECK_INT(head_of(store), 1);
    dcb_close(store);
}

static void a_child_may_open_a_file_only_after_exec(void) {
    char uri[MAX_URI];
    strcpy(uri, fresh_uri());
    dcb_store *store = open_store(uri);
    pid_t child = begin_child();
    if (child == 0) {
        const char *uris[] = {uri, "sqlite::memory:", "sqlite:never-made.db", "file:x?mode=ro"};
        for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
            dcb_store *again;
            dcb_error err;
            if (strcmp(uris[i], "memory:") == 0)
                continue; /* the store under test; one may be opened */
            CHECK_STATUS(dcb_open(uris[i], NULL, &again, &err), DCB_CLOSED);
            CHECK(again == NULL);
        }
        execl(program, program, "--open", uri, (char *)NULL);
        _exit(1);
    }
    end_child(child);
    append_many(store, 1);
    CHECK_INT(head_of(store), 1);
    dcb_close(store);
}

/* A server that looks at its store, closes it, and then forks its workers. */
static void children_may_open_what_was_closed_before_the_fork(void) {
    enum { CHILDREN = 4, APPENDS = 25 };
    char uri[80];
    if (!is_file_store())
        SKIP("for stores in files");
    strcpy(uri, fresh_uri());
    pid_t children[CHILDREN];
    for (int round = 0; round < 3; round++) {
        dcb_store *store = open_store(uri);
        append_many(store, 1);
        dcb_close(store);
        for (int i = 0; i < CHILDREN; i++) {
            children[i] = begin_child();
            if (children[i] == 0) {
                dcb_store *own = open_store(uri);
                for (int n = 0; n < APPENDS; n++)
                    append_many(own, 1);
                pid_t grandchild = begin_child();
                if (grandchild == 0) {
                    dcb_store *again;
                    dcb_error err;
                    every_call_is_closed(own);
                    CHECK_STATUS(dcb_open(uri, NULL, &again, &err), DCB_CLOSED);
                    CHECK(strstr(err.message, "exec") != NULL);
                    dcb_close(own);
                    leave_child();
                }
                end_child(grandchild);
                append_many(own, 1);
                dcb_close(own);
                leave_child();
            }
        }
        /* Beside them, and after them. */
        dcb_store *beside = open_store(uri);
        append_many(beside, APPENDS);
        for (int i = 0; i < CHILDREN; i++)
            end_child(children[i]);
        CHECK_INT(head_of(beside), (round + 1) * (1 + CHILDREN * (APPENDS + 1) + APPENDS));
        dcb_close(beside);
    }
}

typedef struct {
    dcb_store *store;
    atomic_bool stop;
} busy_parent;

static void *append_and_read(void *argument) {
    busy_parent *parent = argument;
    while (!atomic_load(&parent->stop)) {
        append_many(parent->store, 2);
        CHECK(read_contains(parent->store, "{'backwards': true, 'limit': 1}", "'data':2"));
    }
    return NULL;
}

/* A fork may come while other threads are inside the library, with any of its locks held. */
static void a_child_of_a_busy_parent_does_not_hang(void) {
    enum { THREADS = 3, FORKS = 30 };
    busy_parent parent = {.store = fresh_store()};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, append_and_read, &parent), 0);
    for (int i = 0; i < FORKS; i++) {
        pid_t child = begin_child();
        if (child == 0) {
            dcb_error err;
            int64_t head;
            CHECK_STATUS(dcb_head(parent.store, NULL, &head, &err), DCB_CLOSED);
            CHECK_STATUS(dcb_wait(parent.store, 0, NULL, &head, &err), DCB_CLOSED);
            CHECK_INT(dcb_append(parent.store, "{}", 2, NULL, &head, NULL), DCB_CLOSED);
            dcb_close(parent.store);
            leave_child();
        }
        end_child(child);
    }
    atomic_store(&parent.stop, true);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK(head_of(parent.store) % 2 == 0);
    dcb_close(parent.store);
}

/* A thread of the parent reads ahead for a long read. */
static void a_fork_during_a_long_read_ends_it_in_the_child_only(void) {
    enum { APPENDS = 40, EVENTS = 50, DATA = 1000, FORKS = 10 };
    static char text[EVENTS * (DATA + 100)];
    char data[DATA + 1];
    memset(data, 'd', DATA);
    data[DATA] = 0;
    size_t len = (size_t)sprintf(text, "{'events': [");
    for (int i = 0; i < EVENTS; i++)
        len += (size_t)sprintf(text + len, "%s{'type': 'Long', 'data': '%s'}", i > 0 ? ", " : "",
                               data);
    sprintf(text + len, "]}");
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t last;
    for (int i = 0; i < APPENDS; i++)
        CHECK_STATUS(try_append(store, text, NULL, &last, &err), DCB_OK);
    for (int i = 0; i < FORKS; i++) {
        dcb_cursor *cursor = open_cursor(store, "{}");
        const dcb_event *events;
        size_t count, read = 0;
        for (int batch = 0; batch < 3; batch++)
            read += next_batch(cursor, 8192, &events);
        pid_t child = begin_child();
        if (child == 0) {
            CHECK_STATUS(dcb_cursor_next(cursor, 1, NULL, &events, &count, &err), DCB_CLOSED);
            dcb_cursor_close(cursor);
            dcb_close(store);
            leave_child();
        }
        while ((count = next_batch(cursor, 8192, &events)) > 0)
            read += count;
        CHECK_INT(read, APPENDS * EVENTS);
        end_child(child);
        dcb_cursor_close(cursor);
    }
    dcb_close(store);
}

const test fork_tests[] = {
    {"a_child_can_only_close", a_child_can_only_close},
    {"a_child_may_open_a_memory_store_and_its_child_may_not_use_it",
     a_child_may_open_a_memory_store_and_its_child_may_not_use_it},
    {"a_child_may_open_a_file_only_after_exec", a_child_may_open_a_file_only_after_exec},
    {"children_may_open_what_was_closed_before_the_fork",
     children_may_open_what_was_closed_before_the_fork},
    {"a_child_of_a_busy_parent_does_not_hang", a_child_of_a_busy_parent_does_not_hang},
    {"a_fork_during_a_long_read_ends_it_in_the_child_only",
     a_fork_during_a_long_read_ends_it_in_the_child_only},
    {NULL, NULL},
};
