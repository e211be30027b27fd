/* Each status that any store can be brought to, and what the error says with it. */
#include "check.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void condition_failed_names_the_lowest_position(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t last = 99;
    append_many(store, 4);
    const char *guarded = "{'events': [{'type': 'B'}], 'condition': [{'failIfEventsMatch':"
                          " {'items': [{'tags': ['n:4']}]}}, {'failIfEventsMatch':"
                          " {'items': [{'types': ['T']}]}, 'after': 1}]}";
    CHECK_STATUS(try_append(store, guarded, NULL, &last, &err), DCB_CONDITION_FAILED);
    CHECK_INT(err.position, 2);
    /* Of both conditions, which fail, the first. */
    CHECK_INT(err.detail, 0);
    CHECK_INT(last, 0);
    const char *second = "{'events': [{'type': 'B'}], 'condition': [{'failIfEventsMatch':"
                         " {'items': [{'tags': ['n:4']}]}, 'after': 4}, {'failIfEventsMatch':"
                         " {'items': [{'types': ['T']}]}, 'after': 2}]}";
    CHECK_STATUS(try_append(store, second, NULL, &last, &err), DCB_CONDITION_FAILED);
    CHECK_INT(err.position, 3);
    CHECK_INT(err.detail, 1);
    CHECK_INT(try_append(store, guarded, NULL, &last, NULL), DCB_CONDITION_FAILED);
    CHECK_INT(head_of(store), 4);
    dcb_close(store);
}

static void duplicate_id_names_the_stored_event(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t last;
    append_many(store, 1);
    const char *both = "{'events': [{'type': 'A', 'id': 'x'}, {'type': 'A', 'id': 'y'}]}";
    /* The same again succeeds, with the positions that it had, and the error says so. */
    for (int detail = 0; detail < 2; detail++) {
        CHECK_STATUS(try_append(store, both, NULL, &last, &err), DCB_OK);
        CHECK_INT(last, 3);
        CHECK_INT(err.status, DCB_OK);
        CHECK_INT(err.detail, detail);
        CHECK_INT(err.position, 0);
        CHECK(err.message[0] == '\0');
    }
    CHECK_STATUS(try_append(store, both, NULL, &last, NULL), DCB_OK);
    CHECK_INT(last, 3);
    CHECK_STATUS(try_append(store, "{'events': [{'type': 'B', 'id': 'y'}]}", NULL, &last, &err),
                 DCB_DUPLICATE_ID);
    CHECK_INT(err.position, 3);
    CHECK_INT(head_of(store), 3);
    dcb_close(store);
}

static void messages_name_the_place_and_repeat_no_value(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t last;
    CHECK_STATUS(try_append(store,
                            "{'events': [{'type': 'A'}, {'type': 'A'},"
                            " {'type': 'A', 'tags': ['']}]}",
                            NULL, &last, &err),
                 DCB_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "events[2].tags[0]") != NULL);

    enum { LONG = 1000 };
    char text[LONG + 64], value[LONG + 1];
    memset(value, 'q', LONG);
    value[LONG] = '\0';
    snprintf(text, sizeof text, "{'events': [{'type': '%s'}]}", value);
    CHECK_STATUS(try_append(store, text, NULL, &last, &err), DCB_TOO_LARGE);
    CHECK(memchr(err.message, '\0', sizeof err.message) != NULL);
    CHECK(strstr(err.message, "qqqq") == NULL);
    snprintf(text, sizeof text, "{'events': [{'type': 'A', '%s': 1}]}", value);
    CHECK_STATUS(try_append(store, text, NULL, &last, &err), DCB_INVALID_ARGUMENT);
    CHECK(memchr(err.message, '\0', sizeof err.message) != NULL);
    CHECK(strstr(err.message, value) == NULL);
    CHECK_INT(head_of(store), 0);
    dcb_close(store);
}

static void a_wait_times_out(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t head = 99;
    append_many(store, 2);
    for (int64_t timeout = 0; timeout <= 20; timeout += 20) {
        dcb_call call = {sizeof call, timeout, NULL};
        CHECK_STATUS(dcb_wait(store, 2, &call, &head, &err), DCB_TIMEOUT);
        CHECK_INT(head, 0);
        CHECK_STATUS(dcb_wait(store, INT64_MAX, &call, &head, &err), DCB_TIMEOUT);
        CHECK_STATUS(dcb_wait(store, 1, &call, &head, &err), DCB_OK);
        CHECK_INT(head, 2);
    }
    dcb_close(store);
}

static void a_triggered_cancel_ends_every_call_at_once(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t number;
    dcb_cancel *cancel = dcb_cancel_new();
    CHECK(cancel != NULL);
    dcb_call call = {sizeof call, -1, cancel};
    CHECK_STATUS(try_append(store, "{'events': [{'type': 'A'}]}", &call, &number, &err), DCB_OK);
    dcb_cancel_trigger(cancel);
    dcb_cancel_trigger(cancel);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(dcb_wait(store, 1, &call, &number, &err), DCB_CANCELLED);
        CHECK_STATUS(try_append(store, "{'events': [{'type': 'A'}]}", &call, &number, &err),
                     DCB_CANCELLED);
    }
    CHECK_INT(head_of(store), 1);
    dcb_cancel_free(cancel);
    dcb_close(store);
}

/* From here on the process gets so much memory more, and then no more. */
static void leave_memory(rlim_t more) {
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages;
    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    rlim_t limit = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + more;
    CHECK_INT(setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}), 0);
}

/* Runs a test with a store in a child of its own, which may limit its memory. */
static void in_a_child(void (*run)(dcb_store *store)) {
    if (is_instrumented())
        SKIP("the instrumentation needs the memory itself");
    pid_t child = begin_child();
    if (child == 0) {
        dcb_store *store = open_store("memory:");
        run(store);
        dcb_close(store);
        leave_child();
    }
    end_child(child);
}

/* The text `head`, then so many x, then `tail`. The caller frees it. */
static char *long_text(const char *head, size_t count, const char *tail) {
    size_t len = strlen(head);
    char *text = malloc(len + count + strlen(tail) + 1);
    CHECK(text != NULL);
    memcpy(text, head, len);
    memset(text + len, 'x', count);
    strcpy(text + len + count, tail);
    return text;
}

static void append_a_long_string(dcb_store *store) {
    enum { LENGTH = 64 * 1024 * 1024 };
    dcb_error err;
    int64_t last;
    char *text = long_text("{\"events\": \"\\n", LENGTH, "\"}");
    leave_memory(LENGTH / 4);
    CHECK_STATUS(dcb_append(store, text, strlen(text), NULL, &last, &err), DCB_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "events: must be a list of objects") != NULL);
    free(text);
}

/* There is no memory for a second one of so long a string. */
static void a_string_where_a_list_belongs_is_not_copied(void) {
    in_a_child(append_a_long_string);
}

static void read_more_than_there_is_room_for(dcb_store *store) {
    enum { DATA = 8 * 1024 * 1024 };
    dcb_error err;
    char *text = long_text("{'events': [{'type': 'A', 'data': '", DATA, "'}]}");
    for (int i = 0; i < 8; i++)
        append(store, text);
    free(text);
    leave_memory(2 * DATA);
    dcb_buf result;
    CHECK_STATUS(try_read(store, "{}", &result, &err), DCB_NO_MEMORY);
    CHECK(result.data == NULL);
    /* Less at once is still to be had. */
    dcb_cursor *cursor = open_cursor(store, "{}");
    const dcb_event *events;
    size_t given, total = 0;
    while ((given = next_batch(cursor, 8, &events)) > 0)
        total += given;
    CHECK_INT(total, 8);
    dcb_cursor_close(cursor);
}

/* What is left of the memory is bounded, and then the result is too large. */
static void a_result_without_room_is_no_memory(void) {
    in_a_child(read_more_than_there_is_room_for);
}

static void query_long_and_many_names(dcb_store *store) {
    enum { LONG = 8 * 1024 * 1024, COUNT = LONG / 4 };
    dcb_error err;
    dcb_buf result = {0};
    char *name = long_text("{\"query\": {\"items\": [{\"types\": [\"\\n", LONG, "\"]}]}}");
    char *names = malloc(LONG + 128);
    CHECK(names != NULL);
    size_t at = (size_t)sprintf(names, "%s", "{\"query\": {\"items\": [{\"types\": [");
    for (int i = 0; i < COUNT; i++)
        memcpy(names + at + 4 * i, "\"a\",", 4);
    strcpy(names + at + LONG - 1, "]}]}}");
    leave_memory(LONG / 2);
    while (malloc(LONG) != NULL)
        continue;
    CHECK_STATUS(dcb_read(store, name, strlen(name), NULL, &result, &err), DCB_TOO_LARGE);
    CHECK_STATUS(dcb_read(store, names, strlen(names), NULL, &result, &err), DCB_NO_MEMORY);
    CHECK_INT(head_of(store), 0);
    free(name);
    free(names);
}

/* A name takes no more memory than the longest one needs, though its escapes have to be undone, and
   names without number take what there is and no more. */
static void names_without_room_are_no_memory(void) {
    in_a_child(query_long_and_many_names);
}

static void append_a_large_event(dcb_store *store) {
    enum { DATA = 8 * 1024 * 1024 };
    dcb_error err;
    int64_t last;
    char *text = long_text("{\"events\": [{\"type\": \"A\", \"data\": \"", DATA, "\"}]}");
    leave_memory(DATA / 2);
    /* Nor where something was freed before. */
    while (malloc(DATA) != NULL)
        continue;
    CHECK_STATUS(dcb_append(store, text, strlen(text), NULL, &last, &err), DCB_NO_MEMORY);
    append(store, "{'events': [{'type': 'A'}]}");
    CHECK_INT(head_of(store), 1);
    free(text);
}

/* The store copies the event, for which there is no room. */
static void an_event_without_room_is_no_memory(void) {
    in_a_child(append_a_large_event);
}

const test status_tests[] = {
    {"condition_failed_names_the_lowest_position", condition_failed_names_the_lowest_position},
    {"duplicate_id_names_the_stored_event", duplicate_id_names_the_stored_event},
    {"messages_name_the_place_and_repeat_no_value", messages_name_the_place_and_repeat_no_value},
    {"a_wait_times_out", a_wait_times_out},
    {"a_triggered_cancel_ends_every_call_at_once", a_triggered_cancel_ends_every_call_at_once},
    {"a_string_where_a_list_belongs_is_not_copied", a_string_where_a_list_belongs_is_not_copied},
    {"a_result_without_room_is_no_memory", a_result_without_room_is_no_memory},
    {"an_event_without_room_is_no_memory", an_event_without_room_is_no_memory},
    {"names_without_room_are_no_memory", names_without_room_are_no_memory},
    {NULL, NULL},
};
