/* Who owns what, and for how long. */
#include "check.h"

#include <stdlib.h>

static void a_buffer_is_the_caller_s_until_it_is_freed(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    dcb_buf result;
    append(store, "{'events': [{'type': 'A', 'data': [1, 2]}]}");
    CHECK_STATUS(try_read(store, "{}", &result, &err), DCB_OK);
    CHECK(result.data != NULL && result.len > 0 && result.cap >= result.len);
    CHECK(result.data[0] == '{' && result.data[result.len - 1] == '}');
    /* It is the caller's to write to, and outlives the store. */
    dcb_close(store);
    memset(result.data, 'x', result.len);
    dcb_buf_free(&result);
    CHECK(result.data == NULL && result.len == 0 && result.cap == 0);
    dcb_buf_free(&result);
}

static void a_freed_buffer_is_used_again_and_a_failure_leaves_it_empty(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    dcb_buf result = {0};
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(try_read(store, "{}", &result, &err), DCB_OK);
        dcb_buf_free(&result);
    }
    memset(&result, 0x5a, sizeof result);
    CHECK_STATUS(try_read(store, "{'after': -2}", &result, &err), DCB_INVALID_ARGUMENT);
    CHECK(result.data == NULL && result.len == 0 && result.cap == 0);
    dcb_buf_free(&result);
    dcb_close(store);
}

/* append() and open_cursor() overwrite and free the request when the call has returned. */
static void inputs_are_borrowed_for_the_call_only(void) {
    size_t len;
    char *uri = strdup(fresh_uri()), *options = strdup("{\"busy_timeout_ms\": 100}");
    dcb_store *store;
    dcb_error err;
    CHECK(uri != NULL && options != NULL);
    CHECK_STATUS(dcb_open(uri, options, &store, &err), DCB_OK);
    memset(uri, 'x', strlen(uri));
    memset(options, 'x', strlen(options));
    free(uri);
    free(options);

    append(store, "{'events': [{'type': 'Kept', 'tags': ['k:v'], 'data': {'a': 'b'}, 'id': 'i1',"
                  " 'metadata': {'m': 1}}]}");
    dcb_cursor *cursor = open_cursor(store, "{'query': {'items': [{'tags': ['k:v']}]}}");
    const dcb_event *events;
    len = next_batch(cursor, 10, &events);
    CHECK_INT(len, 1);
    CHECK(str_is(events[0].type, "Kept"));
    CHECK(str_is(events[0].data, "{\"a\": \"b\"}"));
    CHECK(str_is(events[0].id, "i1"));
    CHECK(str_is(events[0].metadata, "{\"m\": 1}"));
    dcb_cursor_close(cursor);
    dcb_close(store);
}

static void a_cursor_outlives_its_store(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    const dcb_event *events;
    size_t len;
    append_many(store, 5);
    dcb_cursor *fresh = open_cursor(store, "{}");
    dcb_cursor *begun = open_cursor(store, "{}");
    CHECK_INT(next_batch(begun, 2, &events), 2);
    dcb_close(store);
    /* What it gave is its own, and stays until its next call. */
    CHECK_INT(events[1].position, 2);
    CHECK(str_is(events[1].data, "2"));
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(dcb_cursor_next(begun, 2, NULL, &events, &len, &err), DCB_CLOSED);
        CHECK(events == NULL && len == 0);
        CHECK_STATUS(dcb_cursor_next(fresh, 2, NULL, &events, &len, &err), DCB_CLOSED);
    }
    CHECK_INT(dcb_cursor_position(begun), 2);
    CHECK_INT(dcb_cursor_position(fresh), 0);
    dcb_cursor_close(begun);
    dcb_cursor_close(fresh);
}

/* Whether the document has the member, given with ' for ". */
static bool has(const dcb_buf *document, const char *member) {
    size_t len;
    char *bytes = request_bytes(member, &len);
    const bool found = memmem(document->data, document->len, bytes, len) != NULL;
    free(bytes);
    return found;
}

static void a_diagnosis_is_a_document_of_the_caller_s(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    dcb_buf result;
    append_many(store, 3);
    CHECK_STATUS(dcb_diagnose(store, NULL, &result, &err), DCB_OK);
    CHECK(result.data[0] == '{' && result.data[result.len - 1] == '}');
    CHECK(has(&result, "'version':'" DCB_VERSION "'"));
    CHECK(has(&result, "'head':3"));
    const bool in_memory = strcmp(store_kind, "memory:") == 0;
    CHECK(has(&result, in_memory ? "'store':'memory'" : "'store':'sqlite'"));
    CHECK(has(&result, "'sqlite':'3.") == !in_memory);
    CHECK(has(&result, "'path':null") == (!in_memory && !is_file_store()));
    CHECK(has(&result, "'durable':3,") == is_file_store());
    CHECK(has(&result, "'other_sqlite':false") == is_file_store());
    dcb_close(store);
    dcb_buf_free(&result);
    CHECK(result.data == NULL);
}

static void stores_are_their_own(void) {
    dcb_store *one = fresh_store(), *two = fresh_store();
    append_many(one, 3);
    CHECK_INT(head_of(one), 3);
    CHECK_INT(head_of(two), 0);
    dcb_close(one);
    append_many(two, 1);
    CHECK_INT(head_of(two), 1);
    dcb_close(two);
}

static void what_was_stored_is_there_after_a_reopening(void) {
    if (!is_file_store())
        SKIP("nothing persists in this store");
    char uri[MAX_URI];
    strcpy(uri, fresh_uri());
    dcb_store *store = open_store(uri);
    append_many(store, 3);
    dcb_close(store);
    store = open_store(uri);
    CHECK_INT(head_of(store), 3);
    CHECK(read_contains(store, "{}", "'data':3"));
    dcb_close(store);
}

const test ownership_tests[] = {
    {"a_buffer_is_the_caller_s_until_it_is_freed", a_buffer_is_the_caller_s_until_it_is_freed},
    {"a_freed_buffer_is_used_again_and_a_failure_leaves_it_empty",
     a_freed_buffer_is_used_again_and_a_failure_leaves_it_empty},
    {"inputs_are_borrowed_for_the_call_only", inputs_are_borrowed_for_the_call_only},
    {"a_cursor_outlives_its_store", a_cursor_outlives_its_store},
    {"a_diagnosis_is_a_document_of_the_caller_s", a_diagnosis_is_a_document_of_the_caller_s},
    {"stores_are_their_own", stores_are_their_own},
    {"what_was_stored_is_there_after_a_reopening", what_was_stored_is_there_after_a_reopening},
    {NULL, NULL},
};
