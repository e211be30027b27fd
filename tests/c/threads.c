/* Stores, cursors and cancels in several threads. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    dcb_store *store;
    dcb_cancel *cancel;
    int64_t timeout_ms, after, head;
    dcb_status status;
    atomic_bool begun;
} waiter;

static void *wait_in_thread(void *argument) {
    waiter *self = argument;
    dcb_call call = {sizeof call, self->timeout_ms, self->cancel};
    dcb_error err;
    atomic_store(&self->begun, true);
    self->status = dcb_wait(self->store, self->after, &call, &self->head, &err);
    CHECK_INT(err.status, self->status);
    return NULL;
}

static void pause_ms(int ms) {
    struct timespec time = {0, ms * 1000000L};
    nanosleep(&time, NULL);
}

/* Starts it and gives it time to be inside the call. */
static pthread_t start(waiter *self) {
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, wait_in_thread, self), 0);
    while (!atomic_load(&self->begun))
        pause_ms(1);
    pause_ms(50);
    return thread;
}

static void a_waiting_call_is_cancelled_from_another_thread(void) {
    dcb_store *store = fresh_store();
    dcb_cancel *cancel = dcb_cancel_new();
    waiter waiters[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        waiters[i] = (waiter){.store = store, .cancel = cancel, .timeout_ms = -1};
        threads[i] = start(&waiters[i]);
    }
    /* Freed while they hold it. */
    dcb_cancel_trigger(cancel);
    dcb_cancel_free(cancel);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
        CHECK_INT(waiters[i].status, DCB_CANCELLED);
    }
    dcb_close(store);
}

static void a_cancel_freed_during_a_call_ends_nothing(void) {
    dcb_store *store = fresh_store();
    dcb_cancel *cancel = dcb_cancel_new();
    waiter self = {.store = store, .cancel = cancel, .timeout_ms = 200};
    pthread_t thread = start(&self);
    dcb_cancel_free(cancel);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(self.status, DCB_TIMEOUT);
    dcb_close(store);
}

static void a_wait_sees_another_thread_s_append(void) {
    dcb_store *store = fresh_store();
    append_many(store, 2);
    waiter self = {.store = store, .timeout_ms = -1, .after = 2};
    pthread_t thread = start(&self);
    append_many(store, 1);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(self.status, DCB_OK);
    CHECK_INT(self.head, 3);
    dcb_close(store);
}

enum { WRITERS = 4, SEATS = 40 };

typedef struct {
    dcb_store *store;
    int won;
} writer;

/* Counts the seats taken, and takes one more if nobody did meanwhile. */
static void *take_seats(void *argument) {
    writer *self = argument;
    for (;;) {
        dcb_cursor *cursor = open_cursor(self->store, "{'query': {'items': [{'tags': ['seat']}]}}");
        const dcb_event *events;
        size_t len, taken = 0;
        while ((len = next_batch(cursor, 16, &events)) > 0)
            taken += len;
        int64_t position = dcb_cursor_position(cursor), last;
        dcb_cursor_close(cursor);
        if (taken == SEATS)
            return NULL;
        CHECK(taken < SEATS);
        char text[200];
        snprintf(text, sizeof text,
                 "{'events': [{'type': 'Taken', 'tags': ['seat']}], 'condition':"
                 " {'failIfEventsMatch': {'items': [{'tags': ['seat']}]}, 'after': %lld}}",
                 (long long)position);
        dcb_error err;
        dcb_status status = try_append(self->store, text, NULL, &last, &err);
        if (status == DCB_OK)
            self->won++;
        else
            CHECK_INT(status, DCB_CONDITION_FAILED);
    }
}

static void guarded_appends_never_oversell(void) {
    dcb_store *store = fresh_store();
    writer writers[WRITERS];
    pthread_t threads[WRITERS];
    int won = 0;
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (writer){store, 0};
        CHECK_INT(pthread_create(&threads[i], NULL, take_seats, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
        won += writers[i].won;
    }
    CHECK_INT(won, SEATS);
    CHECK_INT(head_of(store), SEATS);
    dcb_close(store);
}

static void *follow(void *argument) {
    dcb_store *store = argument;
    int64_t seen = 0;
    while (seen < 60) {
        dcb_error err;
        int64_t head;
        char text[64];
        CHECK_STATUS(dcb_wait(store, seen, NULL, &head, &err), DCB_OK);
        CHECK(head > seen);
        snprintf(text, sizeof text, "{'after': %lld}", (long long)seen);
        dcb_cursor *cursor = open_cursor(store, text);
        const dcb_event *events;
        size_t len;
        while ((len = next_batch(cursor, 5, &events)) > 0)
            for (size_t i = 0; i < len; i++)
                CHECK_INT(events[i].position, ++seen);
        CHECK_INT(dcb_cursor_position(cursor), seen);
        CHECK(seen >= head);
        dcb_cursor_close(cursor);
    }
    return NULL;
}

static void followers_miss_nothing(void) {
    dcb_store *store = fresh_store();
    pthread_t followers[3];
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&followers[i], NULL, follow, store), 0);
    for (int i = 0; i < 20; i++)
        append_many(store, 3);
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_join(followers[i], NULL), 0);
    dcb_close(store);
}

static void *drain(void *argument) {
    const dcb_event *events;
    size_t len, total = 0;
    while ((len = next_batch(argument, 3, &events)) > 0)
        total += len;
    CHECK_INT(total, 8);
    dcb_cursor_close(argument);
    return NULL;
}

static void a_cursor_moves_between_threads(void) {
    dcb_store *store = fresh_store();
    const dcb_event *events;
    pthread_t thread;
    append_many(store, 10);
    dcb_cursor *cursor = open_cursor(store, "{}");
    CHECK_INT(next_batch(cursor, 2, &events), 2);
    CHECK_INT(pthread_create(&thread, NULL, drain, cursor), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    dcb_close(store);
}

static void *append_without_end(void *store) {
    for (;;)
        append_many(store, 50);
    return NULL;
}

static void *wait_without_end(void *store) {
    int64_t head;
    dcb_wait(store, INT64_MAX, NULL, &head, NULL);
    return NULL;
}

void exit_with_everything_open(const char *uri, int ms) {
    pthread_t thread;
    dcb_store *store = open_store(uri);
    dcb_cursor *cursor = open_cursor(store, "{}");
    CHECK(cursor != NULL);
    CHECK_INT(pthread_create(&thread, NULL, wait_without_end, store), 0);
    CHECK_INT(pthread_create(&thread, NULL, append_without_end, store), 0);
    pause_ms(ms);
    exit(0);
}

/* A program may end without closing anything, whatever its threads and the library's are doing. */
static void a_process_may_exit_with_everything_open(void) {
    if (is_instrumented())
        SKIP("the instrumentation takes what is open for leaks");
    for (int ms = 0; ms < 200; ms += 40) {
        char uri[MAX_URI], time[16];
        snprintf(uri, sizeof uri, "%s", fresh_uri());
        snprintf(time, sizeof time, "%d", ms);
        pid_t child = begin_child();
        if (child == 0) {
            execl(program, program, "--exit", uri, time, (char *)NULL);
            fail(__FILE__, __LINE__, "exec");
        }
        end_child(child);
        /* Nobody is left who holds a lock. */
        dcb_store *store = open_store(uri);
        append_many(store, 1);
        dcb_close(store);
    }
}

static void *open_and_close(void *uri) {
    for (int i = 0; i < 20; i++) {
        dcb_store *store = open_store(uri);
        append_many(store, 1);
        dcb_close(store);
    }
    return NULL;
}

static void several_threads_open_and_close_at_once(void) {
    enum { THREADS = 4 };
    char uri[512];
    snprintf(uri, sizeof uri, "%s", fresh_uri());
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, open_and_close, uri), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    dcb_store *store = open_store(uri);
    CHECK_INT(head_of(store), is_file_store() ? 20 * THREADS : 0);
    dcb_close(store);
}

/* What a caller holds, and ends. */
typedef struct {
    dcb_store *store;
    dcb_cursor *cursor;
    dcb_cancel *cancel;
    dcb_buf result;
} holding;

static void end_one(holding *self, int which) {
    switch (which) {
    case 0:
        dcb_close(self->store);
        break;
    case 1:
        dcb_cursor_close(self->cursor);
        break;
    case 2:
        dcb_cancel_trigger(self->cancel);
        dcb_cancel_free(self->cancel);
        break;
    default:
        dcb_buf_free(&self->result);
        break;
    }
}

static void what_a_caller_holds_ends_in_any_order(void) {
    enum { HELD = 4 };
    for (int order = 0; order < HELD * HELD * HELD * HELD; order++) {
        int digits[HELD] = {order % 4, order / 4 % 4, order / 16 % 4, order / 64};
        bool seen[HELD] = {false};
        for (int i = 0; i < HELD; i++)
            seen[digits[i]] = true;
        if (!(seen[0] && seen[1] && seen[2] && seen[3]))
            continue;
        holding self = {fresh_store(), NULL, dcb_cancel_new(), {NULL, 0, 0}};
        dcb_error err;
        /* Enough that a file's store has something to write when it closes. */
        append_many(self.store, 20);
        self.cursor = open_cursor(self.store, "{}");
        const dcb_event *events;
        CHECK_INT(next_batch(self.cursor, 3, &events), 3);
        CHECK_STATUS(try_read(self.store, "{}", &self.result, &err), DCB_OK);
        dcb_call call = {sizeof call, 0, self.cancel};
        int64_t head;
        CHECK_STATUS(dcb_wait(self.store, 20, &call, &head, &err), DCB_TIMEOUT);
        for (int i = 0; i < HELD; i++)
            end_one(&self, digits[i]);
    }
}

/* A signal that a program blocks in all of its threads, to take it with sigwait, goes to no thread
 * of the library, which was started before: unhandled, it would end the program. */
static void signals_that_a_program_waits_for_go_to_no_thread_of_the_library(void) {
    static const int signals[] = {SIGUSR1, SIGTERM, SIGHUP, SIGALRM};
    dcb_store *store = fresh_store();
    sigset_t awaited, before;
    CHECK_INT(sigemptyset(&awaited), 0);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        CHECK_INT(sigaddset(&awaited, signals[i]), 0);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, &awaited, &before), 0);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        int taken;
        append_many(store, 1);
        CHECK_INT(kill(getpid(), signals[i]), 0);
        CHECK_INT(sigwait(&awaited, &taken), 0);
        CHECK_INT(taken, signals[i]);
    }
    CHECK_INT(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    dcb_close(store);
}

const test thread_tests[] = {
    {"signals_that_a_program_waits_for_go_to_no_thread_of_the_library",
     signals_that_a_program_waits_for_go_to_no_thread_of_the_library},
    {"a_process_may_exit_with_everything_open", a_process_may_exit_with_everything_open},
    {"several_threads_open_and_close_at_once", several_threads_open_and_close_at_once},
    {"what_a_caller_holds_ends_in_any_order", what_a_caller_holds_ends_in_any_order},
    {"a_waiting_call_is_cancelled_from_another_thread",
     a_waiting_call_is_cancelled_from_another_thread},
    {"a_cancel_freed_during_a_call_ends_nothing", a_cancel_freed_during_a_call_ends_nothing},
    {"a_wait_sees_another_thread_s_append", a_wait_sees_another_thread_s_append},
    {"guarded_appends_never_oversell", guarded_appends_never_oversell},
    {"followers_miss_nothing", followers_miss_nothing},
    {"a_cursor_moves_between_threads", a_cursor_moves_between_threads},
    {NULL, NULL},
};
