// Calls of the library on a store over database/sql.
//
// The library calls back on the thread of the call, and a callback needs the context of that call.
// So each function stores the token of its call in a thread-local variable while it runs.
#ifndef DCB_GO_DRIVER_H
#define DCB_GO_DRIVER_H

#include "library.h"
#include <dcb_host.h>
#include <stdint.h>

// The first argument is the token of a hostCall; 0 for a store that makes no callbacks.
dcb_status dcb_go_open(uintptr_t token, uintptr_t host, const char *options, dcb_store **out,
                       dcb_error *err);
dcb_status dcb_go_append(uintptr_t token, dcb_store *store, const char *request, size_t len,
                         const dcb_call *call, int64_t *last, dcb_error *err);
dcb_status dcb_go_append_within(uintptr_t token, dcb_store *store, uintptr_t connection,
                                const char *request, size_t len, const dcb_call *call,
                                int64_t *last, dcb_error *err);
// The transaction is the handle of a postgresCall.
dcb_status dcb_go_append_within_postgres(dcb_store *store, uintptr_t transaction,
                                         const char *request, size_t len, const dcb_call *call,
                                         int64_t *last, dcb_error *err);
dcb_status dcb_go_head(uintptr_t token, dcb_store *store, const dcb_call *call, int64_t *head,
                       dcb_error *err);
dcb_status dcb_go_count(uintptr_t token, dcb_store *store, const dcb_call *call, int64_t *count,
                        dcb_error *err);
dcb_status dcb_go_diagnose(uintptr_t token, dcb_store *store, const dcb_call *call, dcb_buf *result,
                           dcb_error *err);
dcb_status dcb_go_wait(uintptr_t token, dcb_store *store, int64_t after, const dcb_call *call,
                       int64_t *head, dcb_error *err);
dcb_status dcb_go_cursor_open(uintptr_t token, dcb_store *store, const char *request, size_t len,
                              const dcb_call *call, dcb_cursor **out, dcb_error *err);
dcb_status dcb_go_find(uintptr_t token, dcb_store *store, const char *id, size_t len,
                       const dcb_call *call, dcb_cursor **out, dcb_error *err);
dcb_status dcb_go_cursor_next(uintptr_t token, dcb_cursor *cursor, size_t max, const dcb_call *call,
                              const dcb_event **events, size_t *len, dcb_error *err);

#endif
