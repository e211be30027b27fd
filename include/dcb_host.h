/* Generated from src/capi; do not edit. To update it: DCB_UPDATE_HEADER=1 cargo test --test header */
/* clang-format off */
/*
 * A libdcb store on the connections of a program: for authors of drivers and bindings.
 *
 * A program that has a SQLite database open with its own SQLite can have a store in the same
 * database, on its own connections, and can append within its own transactions. It describes its
 * connections as a dcb_host.
 *
 * A program that has a connection to a PostgreSQL server can append within its own transactions to a
 * store there, which dcb_open has opened. It describes its transaction as a dcb_postgres_transaction.
 *
 * What dcb.h says of documents, errors, pointers, threads, processes and memory holds here too.
 */

#ifndef DCB_HOST_H
#define DCB_HOST_H

#include "dcb.h"

/** The kind of a value that is NULL. */
#define DCB_VALUE_NULL 0
/** The kind of a value that is a 64-bit integer. */
#define DCB_VALUE_INTEGER 1
/** The kind of a value that is UTF-8 text. */
#define DCB_VALUE_TEXT 2
/** The kind of a value that is a string of bytes. */
#define DCB_VALUE_BLOB 3

/** The result of a function of a dcb_host. The library owns it and zeroes it before the call. */
typedef struct {
    /** The next rows, one after another, each of them complete. The memory belongs to the host and
     * must stay valid until the next call on the connection. A row is the number of its columns (2
     * bytes) followed by the columns. A column is its DCB_VALUE_ kind (1 byte) followed by nothing
     * for NULL, the integer (8 bytes), or the length of the text or blob (4 bytes) and its bytes.
     * Numbers are little-endian. */
    dcb_str rows;
    /** The number of rows that the statement changed. */
    int64_t changes;
    /** This is not 0 if there may be more rows, which `more` returns. */
    int32_t is_more;
    /** A terminated text that says why the function failed. */
    char message[240];
} dcb_reply;

/** The value of one parameter of a statement. The first value in a list belongs to parameter 1. */
typedef struct {
    /** One of DCB_VALUE_NULL, DCB_VALUE_INTEGER, DCB_VALUE_TEXT and DCB_VALUE_BLOB. */
    int32_t kind;
    /** The integer, or 0 for another kind. */
    int64_t integer;
    /** The text or the bytes, or absent for another kind. */
    dcb_str bytes;
} dcb_value;

/** The connection pool of a program that has opened the database with its own SQLite, as functions
 * that the library calls.
 *
 * A function is called by the thread that called the library, before that call returns. If several
 * threads use the store, several may call the functions at once, but only one at a time uses a
 * connection. A function must not be NULL, unwind, or use this store. It returns 0, the extended
 * result code of SQLite, or a negative number if it fails without such a code. */
typedef struct {
    /** Set this to sizeof(dcb_host). */
    size_t size;
    /** A pointer of the host's, which is passed to `acquire`. */
    void *context;
    /** Lends a connection that is in no transaction. It waits for one as long as `timeout_ms` says,
     * which is as in a dcb_call, and returns SQLITE_BUSY if none was free in time and
     * SQLITE_INTERRUPT if the caller has given up. */
    int32_t (*acquire)(void *context, int64_t timeout_ms, void **connection, dcb_reply *reply);
    /** Runs a statement that returns no rows. */
    int32_t (*run)(void *connection, dcb_str sql, const dcb_value *values, size_t len,
                   dcb_reply *reply);
    /** Runs a statement and returns its first rows, as many as the host chooses. */
    int32_t (*query)(void *connection, dcb_str sql, const dcb_value *values, size_t len,
                     dcb_reply *reply);
    /** Returns the next rows of the last query that has not ended. Queries may be nested: a query
     * that was started between the rows of another one ends before that one continues. */
    int32_t (*more)(void *connection, dcb_reply *reply);
    /** Ends that query, even if it has more rows. */
    void (*finish)(void *connection);
    /** Takes back a connection that was acquired. If `spoiled` is not 0, it could not be restored to
     * the state in which it was lent, and the host must close it. */
    void (*release)(void *connection, int32_t spoiled);
} dcb_host;

/** A transaction that a program has open on a PostgreSQL server by its own client library, such as
 * libpq: a function that the library calls. */
typedef struct {
    /** Set this to sizeof(dcb_postgres_transaction). */
    size_t size;
    /** A pointer of the program's, which is passed to `query`. */
    void *context;
    /** Runs a statement in the transaction. Its `len` parameters are texts of which the server knows
     * the types; a zero byte follows each text, and the statement. It returns one row with one
     * column, a text or NULL: set `rows` to that text, and leave it alone for NULL. The memory
     * belongs to the program and must stay valid until dcb_append_within_postgres returns.
     *
     * It returns 0; or, if the statement fails, the SQLSTATE as the `detail` of a dcb_error has it,
     * five digits of base 36, or a negative number if there is none, and sets `message`. It is called
     * by the thread that called the library, before that call returns. It must not be NULL or unwind. */
    int32_t (*query)(void *context, dcb_str sql, const dcb_str *values, size_t len, dcb_reply *reply);
} dcb_postgres_transaction;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/** Opens the store in a SQLite database that the caller has opened with its own SQLite, and creates
 * it if it does not exist. The library runs its statements on the caller's connections and never
 * opens the database file; it opens only the WAL or the journal beside it, to sync them. It uses no
 * tables but those named dcb_...; the database may have others. The format is the one of dcb_open,
 * and stores opened with dcb_open may use the file at the same time.
 *
 * Everything that dcb.h promises holds if every connection to the file runs at
 * `PRAGMA synchronous` NORMAL or above. The store has no thread: from time to time an append writes
 * or merges a part of the index. A database in memory must have a single connection or a shared
 * cache.
 *
 * A connection from `acquire` is released as it was found, or as `spoiled`. While the library uses
 * it, it is in a transaction, `read_uncommitted` is off, and if the library writes or the database
 * has no WAL, `PRAGMA busy_timeout` is 0. While the library writes, `synchronous` is NORMAL if the
 * database has a WAL, which the library itself syncs before an append returns; without one,
 * `synchronous` is raised if it is OFF. Whatever lock a call meets, `acquire` included
 * (SQLITE_BUSY, SQLITE_LOCKED and their extended codes), it waits as long as the call allows, and
 * then returns DCB_BUSY. With a WAL, a read does not change the busy
 * timeout: it meets a lock only while another connection recovers or deletes the WAL, and may then
 * wait that much longer.
 *
 * Triggers that the program has put on the store's tables run for appends on its connections,
 * since the library cannot turn them off there. For appends of a store that dcb_open has opened
 * they never run. An append that such a trigger refuses, or leaves an event out of, stores nothing
 * and returns DCB_INVALID_ARGUMENT, with SQLite's extended code in `detail` if there is one.
 *
 * Appends that wait at the same time are committed together, by the thread of one of them: the
 * functions of the host are called for all of them in the call of that thread. If a reader keeps
 * such a commit from happening, which cannot be with a WAL, each append may return DCB_BUSY as soon
 * as the first of their calls would.
 *
 * `host` is copied. Its functions are not called after dcb_close has returned. The options are
 * those of dcb_open, but `read_only`, `immutable`, `max_readers` and `cache_bytes` are refused, and `adopt` has no
 * effect. The store is written to `*out`, and the caller closes it with dcb_close. A call that
 * waits in `acquire` ends when its timeout expires; its dcb_cancel is checked before and after
 * `acquire`.
 *
 * It returns the statuses of dcb_open. Like every call on the store and its cursors, it also
 * returns DCB_CANCELLED if `acquire` returns SQLITE_INTERRUPT, and DCB_UNAVAILABLE if a function of
 * the host fails without a SQLite code. */
dcb_status dcb_open_host(const dcb_host *host, const char *options_json, dcb_store **out,
                         dcb_error *err);

/** Appends like dcb_append, within a transaction that the caller has open on `connection`. That is a
 * connection of the caller's which the functions of the store's dcb_host accept; it must not be
 * NULL. The events are stored when the caller commits, and are as durable as that commit; if the
 * caller rolls back, they are not stored. Conditions of later appends in the same transaction see
 * them.
 *
 * WARNING: On DCB_OK, the `detail` of `err` is 1 if the append repeats one that is stored already.
 * The statements that the program ran beside that one were committed with it, so do not run them
 * again. Append first, and then run them only for a new append:
 *
 *     if (dcb_append_within(store, connection, request, len, NULL, &last, &err) != DCB_OK)
 *         return roll_back(connection);
 *     if (err.detail == 0)
 *         take_a_seat(connection);
 *     return commit(connection);
 *
 * From this call until the transaction ends, other writers wait. Do not call dcb_append on this
 * store in the same thread during that time: it could not succeed. On DCB_BUSY, another writer held
 * the database for too long, or the transaction has read and others have written since: roll it
 * back and run all of it again. After another error the append is undone and the transaction may
 * continue, unless the database has ended it, or the library has rolled all of it back because it
 * could not undo the append alone: then the commit fails. After DCB_IO, roll the transaction back.
 *
 * No setting of the connection changes, and the append leaves no savepoint behind. If the
 * transaction has neither read nor written before, SQLite therefore waits for the write lock as the
 * connection does, by its busy timeout or handler, and the call may end that much later than its
 * timeout or its dcb_cancel. In a transaction that has read or written, or was begun with
 * BEGIN IMMEDIATE, both hold. If the host may end the transaction during the call, `run` and
 * `query` must fail from then on, with SQLITE_MISUSE.
 *
 * It returns the statuses of dcb_append. DCB_INVALID_ARGUMENT also means that dcb_open_host did
 * not open the store, or that the transaction is one of another database or has ended: to detect
 * that, the library runs a BEGIN, which must fail. */
dcb_status dcb_append_within(dcb_store *store, void *connection, const char *request, size_t len,
                             const dcb_call *call, int64_t *last, dcb_error *err);

/** Appends like dcb_append to a store in PostgreSQL, within a transaction that the caller has open on
 * a connection of its own to the same database. The events are stored when the caller commits, and
 * waits of other callers learn of them then; if the caller rolls back, they are not stored.
 * Conditions of later appends in the same transaction see them.
 *
 * With a `len` of 0 it appends nothing and only locks the store, as an append does; `*last` is the
 * head. From then on nobody else can append until the transaction ends, so what the program reads
 * and decides in it is still true when it appends.
 *
 * WARNING: On DCB_OK, the `detail` of `err` is 1 if the append repeats one that is stored already.
 * The statements that the program ran beside that one were committed with it, so do not run them
 * again. Append first, and then run them only for a new append.
 *
 * The transaction must have the isolation level READ COMMITTED, and its session client_encoding UTF8.
 * Its role needs the right to run the function `append`, and to read the tables. From this call until
 * the transaction ends, other appends wait. Do not call dcb_append on this store in the same thread
 * during that time: it could not succeed. The call waits for the lock as long as its timeout says; its
 * dcb_cancel is not looked at while `query` runs, which the program ends itself.
 *
 * After DCB_CONDITION_FAILED and DCB_DUPLICATE_ID the transaction can go on, and so it can if the
 * request was refused before a statement ran. After any other error the server has ended it: roll it
 * back. After DCB_BUSY, run all of it again.
 *
 * It returns the statuses of dcb_append. DCB_INVALID_ARGUMENT also means that the store is not in
 * PostgreSQL, that the transaction is one of another database, has failed before, or has another
 * isolation level or encoding; DCB_UNAVAILABLE, that `query` failed without a SQLSTATE. */
dcb_status dcb_append_within_postgres(dcb_store *store, const dcb_postgres_transaction *transaction,
                                      const char *request, size_t len, const dcb_call *call,
                                      int64_t *last, dcb_error *err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DCB_HOST_H */
