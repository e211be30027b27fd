#include "driver.h"

#include "_cgo_export.h"

static _Thread_local uintptr_t current;

static int32_t acquire(void *context, int64_t timeout_ms, void **connection, dcb_reply *reply) {
    uintptr_t lent = 0;
    int32_t code = dcbGoAcquire((uintptr_t)context, current, timeout_ms, &lent, reply);
    *connection = (void *)lent;
    return code;
}

static int32_t run(void *connection, dcb_str sql, const dcb_value *values, size_t len,
                   dcb_reply *reply) {
    return dcbGoRun((uintptr_t)connection, sql, (dcb_value *)values, len, reply);
}

static int32_t query(void *connection, dcb_str sql, const dcb_value *values, size_t len,
                     dcb_reply *reply) {
    return dcbGoQuery((uintptr_t)connection, sql, (dcb_value *)values, len, reply);
}

static int32_t more(void *connection, dcb_reply *reply) {
    return dcbGoMore((uintptr_t)connection, reply);
}

static void finish(void *connection) {
    dcbGoFinish((uintptr_t)connection);
}

static void release(void *connection, int32_t spoiled) {
    dcbGoRelease((uintptr_t)connection, spoiled);
}

// A driver may make a call on another store, within this one.
#define DURING(token, call)                                                                        \
    uintptr_t outer = current;                                                                     \
    current = token;                                                                               \
    dcb_status status = call;                                                                      \
    current = outer;                                                                               \
    return status

dcb_status dcb_go_open(uintptr_t token, uintptr_t host, const char *options, dcb_store **out,
                       dcb_error *err) {
    const dcb_host functions = {sizeof functions, (void *)host, acquire, run, query, more,
                                finish,           release};
    DURING(token, dcb_open_host(&functions, options, out, err));
}

dcb_status dcb_go_append(uintptr_t token, dcb_store *store, const char *request, size_t len,
                         const dcb_call *call, int64_t *last, dcb_error *err) {
    DURING(token, dcb_append(store, request, len, call, last, err));
}

dcb_status dcb_go_append_within(uintptr_t token, dcb_store *store, uintptr_t connection,
                                const char *request, size_t len, const dcb_call *call,
                                int64_t *last, dcb_error *err) {
    DURING(token, dcb_append_within(store, (void *)connection, request, len, call, last, err));
}

static int32_t postgres_query(void *context, dcb_str sql, const dcb_str *values, size_t len,
                              dcb_reply *reply) {
    return dcbGoPostgresQuery((uintptr_t)context, sql, (dcb_str *)values, len, reply);
}

dcb_status dcb_go_append_within_postgres(dcb_store *store, uintptr_t transaction,
                                         const char *request, size_t len, const dcb_call *call,
                                         int64_t *last, dcb_error *err) {
    const dcb_postgres_transaction own = {sizeof own, (void *)transaction, postgres_query};
    return dcb_append_within_postgres(store, &own, request, len, call, last, err);
}

dcb_status dcb_go_head(uintptr_t token, dcb_store *store, const dcb_call *call, int64_t *head,
                       dcb_error *err) {
    DURING(token, dcb_head(store, call, head, err));
}

dcb_status dcb_go_count(uintptr_t token, dcb_store *store, const dcb_call *call, int64_t *count,
                        dcb_error *err) {
    DURING(token, dcb_count(store, call, count, err));
}

dcb_status dcb_go_diagnose(uintptr_t token, dcb_store *store, const dcb_call *call, dcb_buf *result,
                           dcb_error *err) {
    DURING(token, dcb_diagnose(store, call, result, err));
}

dcb_status dcb_go_wait(uintptr_t token, dcb_store *store, int64_t after, const dcb_call *call,
                       int64_t *head, dcb_error *err) {
    DURING(token, dcb_wait(store, after, call, head, err));
}

dcb_status dcb_go_cursor_open(uintptr_t token, dcb_store *store, const char *request, size_t len,
                              const dcb_call *call, dcb_cursor **out, dcb_error *err) {
    DURING(token, dcb_cursor_open(store, request, len, call, out, err));
}

dcb_status dcb_go_find(uintptr_t token, dcb_store *store, const char *id, size_t len,
                       const dcb_call *call, dcb_cursor **out, dcb_error *err) {
    DURING(token, dcb_find(store, id, len, call, out, err));
}

dcb_status dcb_go_cursor_next(uintptr_t token, dcb_cursor *cursor, size_t max, const dcb_call *call,
                              const dcb_event **events, size_t *len, dcb_error *err) {
    DURING(token, dcb_cursor_next(cursor, max, call, events, len, err));
}
