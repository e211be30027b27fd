/* NULL, empty and senseless arguments to every function. */
#include "check.h"

#include <dcb_host.h>

#include <stdlib.h>

#define EVERYTHING "{'query': null}"
#define ONE_EVENT "{'events': [{'type': 'T'}]}"

/* An error that a call has to overwrite, and outputs that it has to zero. */
#define GARBAGE 0x5a

static bool all_zero(const void *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (((const unsigned char *)bytes)[i] != 0)
            return false;
    return true;
}

static void null_is_ignored_by_what_frees(void) {
    dcb_close(NULL);
    dcb_cursor_close(NULL);
    dcb_cancel_trigger(NULL);
    dcb_cancel_free(NULL);
    dcb_buf_free(NULL);
    CHECK_INT(dcb_cursor_position(NULL), 0);
}

static void success_leaves_an_empty_error(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t head;
    memset(&err, GARBAGE, sizeof err);
    CHECK_INT(dcb_head(store, NULL, &head, &err), DCB_OK);
    CHECK(all_zero(&err, sizeof err));
    dcb_close(store);
}

static void open_checks_its_arguments(void) {
    const char *bad_uris[] = {NULL,      "",         "memory", "nonsense:x",
                              "sqlite:", "\xff\xfe", "file:",  "memory:\xc3\x28",
                              "MEMORY:", "memory:x", "sqlite", "/path/"};
    const char *bad_options[] = {"{",
                                 "null",
                                 "[]",
                                 "{\"create\": 1}",
                                 "{\"creat\": true}",
                                 "{\"create\": true, \"create\": true}",
                                 "{}x",
                                 "\xff",
                                 "{\"busy_timeout_ms\": 1.0}"};
    const char *good_options[] = {NULL, "", "{}", "{\"busy_timeout_ms\": -1}",
                                  "{\"create\": true, \"adopt\": false, \"busy_timeout_ms\": 0}"};
    dcb_error err;
    dcb_store *store;
    for (size_t i = 0; i < sizeof bad_uris / sizeof *bad_uris; i++) {
        memset(&store, GARBAGE, sizeof store);
        CHECK_STATUS(dcb_open(bad_uris[i], NULL, &store, &err), DCB_INVALID_ARGUMENT);
        CHECK(store == NULL);
        CHECK_INT(dcb_open(bad_uris[i], NULL, &store, NULL), DCB_INVALID_ARGUMENT);
    }
    for (size_t i = 0; i < sizeof bad_options / sizeof *bad_options; i++) {
        memset(&store, GARBAGE, sizeof store);
        CHECK_STATUS(dcb_open(fresh_uri(), bad_options[i], &store, &err), DCB_INVALID_ARGUMENT);
        CHECK(store == NULL);
    }
    for (size_t i = 0; i < sizeof good_options / sizeof *good_options; i++) {
        CHECK_STATUS(dcb_open(fresh_uri(), good_options[i], &store, &err), DCB_OK);
        dcb_close(store);
    }
    CHECK_STATUS(dcb_open(fresh_uri(), NULL, NULL, &err), DCB_INVALID_ARGUMENT);
}

static int32_t no_connection(void *context, int64_t timeout_ms, void **connection,
                             dcb_reply *reply) {
    (void)context, (void)timeout_ms, (void)connection;
    memset(reply->message, 'x', sizeof reply->message); /* unterminated */
    return -1;
}

static int32_t no_statement(void *connection, dcb_str sql, const dcb_value *values, size_t len,
                            dcb_reply *reply) {
    (void)connection, (void)sql, (void)values, (void)len, (void)reply;
    return 1;
}

static int32_t no_rows(void *connection, dcb_reply *reply) {
    (void)connection, (void)reply;
    return 1;
}

static void nothing(void *connection) {
    (void)connection;
}

static void no_return(void *connection, int32_t spoiled) {
    (void)connection, (void)spoiled;
}

static void a_host_has_to_be_complete(void) {
    const dcb_host complete = {sizeof complete, NULL,    no_connection, no_statement,
                               no_statement,    no_rows, nothing,       no_return};
    dcb_error err;
    dcb_store *store;
    CHECK_STATUS(dcb_open_host(NULL, NULL, &store, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_open_host(&complete, NULL, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_open_host(&complete, "{", &store, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_open_host(&complete, "{\"read_only\": true}", &store, &err),
                 DCB_INVALID_ARGUMENT);
    dcb_host host = complete;
    host.size--;
    CHECK_STATUS(dcb_open_host(&host, NULL, &store, &err), DCB_INVALID_ARGUMENT);
    host = complete, host.acquire = NULL;
    CHECK_STATUS(dcb_open_host(&host, NULL, &store, &err), DCB_INVALID_ARGUMENT);
    host = complete, host.release = NULL;
    CHECK_STATUS(dcb_open_host(&host, NULL, &store, &err), DCB_INVALID_ARGUMENT);
    memset(&store, GARBAGE, sizeof store);
    CHECK_STATUS(dcb_open_host(&complete, NULL, &store, &err), DCB_UNAVAILABLE);
    CHECK(store == NULL);
    CHECK(err.message[0] == 'x');

    int64_t last = GARBAGE;
    store = fresh_store();
    CHECK_STATUS(dcb_append_within(NULL, NULL, "", 0, NULL, &last, &err), DCB_INVALID_ARGUMENT);
    const char *request = "{\"events\": [{\"type\": \"T\"}]}";
    CHECK_STATUS(dcb_append_within(store, NULL, request, 27, NULL, &last, &err),
                 DCB_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "connection: must not be NULL") != NULL);
    CHECK_STATUS(dcb_append_within(store, &last, request, 27, NULL, &last, &err),
                 DCB_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "was not opened with dcb_open_host") != NULL);
    CHECK_INT(last, 0);
    dcb_close(store);
}

static int32_t no_query(void *context, dcb_str sql, const dcb_str *values, size_t len,
                        dcb_reply *reply) {
    (void)context, (void)sql, (void)values, (void)len, (void)reply;
    CHECK(!"nothing is run on a store that is not in PostgreSQL");
    return -1;
}

static void a_transaction_on_postgresql_is_complete(void) {
    const char *request = "{\"events\": [{\"type\": \"T\"}]}";
    const struct {
        dcb_postgres_transaction transaction;
        const char *message;
    } cases[] = {
        {{0, NULL, no_query}, "transaction.size: must be sizeof(dcb_postgres_transaction)"},
        {{sizeof(dcb_postgres_transaction), NULL, NULL}, "transaction.query: must not be NULL"},
        {{sizeof(dcb_postgres_transaction), NULL, no_query}, "is not in a PostgreSQL database"},
    };
    dcb_error err;
    dcb_store *store = fresh_store();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t last = GARBAGE;
        CHECK_STATUS(dcb_append_within_postgres(store, &cases[i].transaction, request, 27, NULL,
                                                &last, &err),
                     DCB_INVALID_ARGUMENT);
        CHECK(strstr(err.message, cases[i].message) != NULL);
        CHECK_INT(last, 0);
    }
    int64_t last = GARBAGE;
    CHECK_STATUS(dcb_append_within_postgres(store, NULL, request, 27, NULL, &last, &err),
                 DCB_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "transaction: must not be NULL") != NULL);
    dcb_close(store);
}

static void a_store_is_needed(void) {
    dcb_error err;
    int64_t number = GARBAGE;
    dcb_buf result;
    dcb_cursor *cursor;
    memset(&result, GARBAGE, sizeof result);
    memset(&cursor, GARBAGE, sizeof cursor);
    CHECK_STATUS(dcb_append(NULL, "{}", 2, NULL, &number, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(number, 0);
    CHECK(strncmp(err.message, "store", 5) == 0);
    CHECK_STATUS(dcb_read(NULL, "{}", 2, NULL, &result, &err), DCB_INVALID_ARGUMENT);
    CHECK(all_zero(&result, sizeof result));
    CHECK_STATUS(dcb_cursor_open(NULL, "{}", 2, NULL, &cursor, &err), DCB_INVALID_ARGUMENT);
    CHECK(cursor == NULL);
    memset(&cursor, GARBAGE, sizeof cursor);
    CHECK_STATUS(dcb_find(NULL, "i", 1, NULL, &cursor, &err), DCB_INVALID_ARGUMENT);
    CHECK(cursor == NULL);
    number = GARBAGE;
    CHECK_STATUS(dcb_head(NULL, NULL, &number, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(number, 0);
    number = GARBAGE;
    CHECK_STATUS(dcb_count(NULL, NULL, &number, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(number, 0);
    memset(&result, GARBAGE, sizeof result);
    CHECK_STATUS(dcb_diagnose(NULL, NULL, &result, &err), DCB_INVALID_ARGUMENT);
    CHECK(all_zero(&result, sizeof result));
    number = GARBAGE;
    CHECK_STATUS(dcb_wait(NULL, 0, NULL, &number, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(number, 0);
    CHECK_INT(dcb_append(NULL, NULL, 0, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);
    CHECK_INT(dcb_read(NULL, NULL, 0, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);
    CHECK_INT(dcb_cursor_open(NULL, NULL, 0, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);
    CHECK_INT(dcb_find(NULL, NULL, 0, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);
    CHECK_INT(dcb_head(NULL, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);
    CHECK_INT(dcb_count(NULL, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);
    CHECK_INT(dcb_diagnose(NULL, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);
    CHECK_INT(dcb_wait(NULL, 0, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);
}

static void outputs_are_needed_and_nothing_is_done_without(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    CHECK_STATUS(try_append(store, ONE_EVENT, NULL, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(head_of(store), 0);
    append(store, ONE_EVENT);
    CHECK_STATUS(try_read(store, EVERYTHING, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_cursor_open(store, NULL, 0, NULL, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_find(store, "i", 1, NULL, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_head(store, NULL, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_count(store, NULL, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_diagnose(store, NULL, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_wait(store, 0, NULL, NULL, &err), DCB_INVALID_ARGUMENT);
    dcb_close(store);
}

static void documents_may_be_null_only_if_empty(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t last = GARBAGE;
    dcb_buf result;
    dcb_cursor *cursor;
    append(store, ONE_EVENT);
    CHECK_STATUS(dcb_append(store, NULL, 0, NULL, &last, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(last, 0);
    CHECK_STATUS(dcb_append(store, "", 0, NULL, &last, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_append(store, NULL, 1, NULL, &last, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_read(store, NULL, 1, NULL, &result, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_cursor_open(store, NULL, 1, NULL, &cursor, &err), DCB_INVALID_ARGUMENT);
    CHECK(cursor == NULL);
    CHECK_STATUS(dcb_find(store, NULL, 1, NULL, &cursor, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_find(store, NULL, 0, NULL, &cursor, &err), DCB_INVALID_ARGUMENT);
    CHECK(cursor == NULL);

    CHECK_STATUS(dcb_read(store, NULL, 0, NULL, &result, &err), DCB_OK);
    CHECK(result.len > 0);
    dcb_buf_free(&result);
    CHECK_STATUS(dcb_read(store, "", 0, NULL, &result, &err), DCB_OK);
    dcb_buf_free(&result);
    CHECK_STATUS(dcb_cursor_open(store, NULL, 0, NULL, &cursor, &err), DCB_OK);
    dcb_cursor_close(cursor);
    dcb_close(store);
}

/* A length that went below zero on its way here. */
static void lengths_beyond_every_limit_are_not_followed(void) {
    const size_t lengths[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 2,
                              (size_t)DCB_MAX_REQUEST_BYTES + 1};
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t last;
    dcb_buf result;
    dcb_cursor *cursor;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        CHECK_STATUS(dcb_append(store, "{}", lengths[i], NULL, &last, &err), DCB_TOO_LARGE);
        CHECK_STATUS(dcb_read(store, "{}", lengths[i], NULL, &result, &err), DCB_TOO_LARGE);
        CHECK_STATUS(dcb_cursor_open(store, "{}", lengths[i], NULL, &cursor, &err), DCB_TOO_LARGE);
        CHECK_STATUS(dcb_read(store, NULL, lengths[i], NULL, &result, &err), DCB_TOO_LARGE);
        CHECK_STATUS(dcb_find(store, "i", lengths[i], NULL, &cursor, &err), DCB_TOO_LARGE);
    }
    dcb_close(store);
}

static void cursors_check_their_arguments(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    const dcb_event *events;
    size_t len = GARBAGE;
    append(store, ONE_EVENT);
    memset(&events, GARBAGE, sizeof events);
    CHECK_STATUS(dcb_cursor_next(NULL, 1, NULL, &events, &len, &err), DCB_INVALID_ARGUMENT);
    CHECK(events == NULL && len == 0);
    CHECK_INT(dcb_cursor_next(NULL, 1, NULL, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);

    dcb_cursor *cursor = open_cursor(store, EVERYTHING);
    memset(&events, GARBAGE, sizeof events);
    len = GARBAGE;
    CHECK_STATUS(dcb_cursor_next(cursor, 0, NULL, &events, &len, &err), DCB_INVALID_ARGUMENT);
    CHECK(events == NULL && len == 0);
    len = GARBAGE;
    CHECK_STATUS(dcb_cursor_next(cursor, 1, NULL, NULL, &len, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(len, 0);
    memset(&events, GARBAGE, sizeof events);
    CHECK_STATUS(dcb_cursor_next(cursor, 1, NULL, &events, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK(events == NULL);
    /* None of these moved it. */
    CHECK_INT(next_batch(cursor, 1, &events), 1);
    CHECK_INT(events[0].position, 1);
    dcb_cursor_close(cursor);
    dcb_close(store);
}

static void a_call_is_read_as_far_as_its_size(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t head;
    dcb_buf result;
    dcb_cursor *cursor;
    /* Exactly a dcb_call: what reads beyond it is seen by valgrind. */
    dcb_call *call = malloc(sizeof *call);
    CHECK(call != NULL);
    *call = (dcb_call){sizeof *call, 0, NULL};
    const size_t too_small[] = {0, 1, sizeof call->size, sizeof *call - 1};
    for (size_t i = 0; i < sizeof too_small / sizeof *too_small; i++) {
        call->size = too_small[i];
        CHECK_STATUS(dcb_head(store, call, &head, &err), DCB_INVALID_ARGUMENT);
        CHECK_STATUS(dcb_count(store, call, &head, &err), DCB_INVALID_ARGUMENT);
        CHECK_STATUS(dcb_diagnose(store, call, &result, &err), DCB_INVALID_ARGUMENT);
        CHECK_STATUS(dcb_wait(store, 0, call, &head, &err), DCB_INVALID_ARGUMENT);
        CHECK_STATUS(dcb_find(store, "i", 1, call, &cursor, &err), DCB_INVALID_ARGUMENT);
        CHECK_STATUS(try_append(store, ONE_EVENT, call, &head, &err), DCB_INVALID_ARGUMENT);
    }
    const size_t larger[] = {sizeof *call, sizeof *call + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof larger / sizeof *larger; i++) {
        call->size = larger[i];
        CHECK_STATUS(dcb_head(store, call, &head, &err), DCB_OK);
        CHECK_INT(head, 0);
    }
    const int64_t patience[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
    for (size_t i = 0; i < sizeof patience / sizeof *patience; i++) {
        *call = (dcb_call){sizeof *call, patience[i], NULL};
        CHECK_STATUS(try_append(store, ONE_EVENT, call, &head, &err), DCB_OK);
    }
    free(call);
    dcb_close(store);
}

const test argument_tests[] = {
    {"null_is_ignored_by_what_frees", null_is_ignored_by_what_frees},
    {"success_leaves_an_empty_error", success_leaves_an_empty_error},
    {"open_checks_its_arguments", open_checks_its_arguments},
    {"a_host_has_to_be_complete", a_host_has_to_be_complete},
    {"a_transaction_on_postgresql_is_complete", a_transaction_on_postgresql_is_complete},
    {"a_store_is_needed", a_store_is_needed},
    {"outputs_are_needed_and_nothing_is_done_without",
     outputs_are_needed_and_nothing_is_done_without},
    {"documents_may_be_null_only_if_empty", documents_may_be_null_only_if_empty},
    {"lengths_beyond_every_limit_are_not_followed", lengths_beyond_every_limit_are_not_followed},
    {"cursors_check_their_arguments", cursors_check_their_arguments},
    {"a_call_is_read_as_far_as_its_size", a_call_is_read_as_far_as_its_size},
    {NULL, NULL},
};
