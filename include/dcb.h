/* Generated from src/capi; do not edit. To update it: DCB_UPDATE_HEADER=1 cargo test --test header */
/* clang-format off */
/*
 * libdcb: an embeddable event store with Dynamic Consistency Boundaries (https://dcb.events).
 *
 * A store is one sequence of events. An event has a type, tags and data. A query selects events by
 * type and tags. An append can carry a condition: it fails if an event that matches a query was
 * stored after a given position. A decision takes three steps:
 *
 *     1. Read the events that the decision depends on, and keep the position of the result.
 *     2. Decide.
 *     3. Append the new events, on the condition that no event matching the same query was stored
 *        after that position. If the append fails with DCB_CONDITION_FAILED, repeat from step 1.
 *
 * A complete program:
 *
 *     #include <dcb.h>
 *     #include <stdio.h>
 *     #include <string.h>
 *
 *     int main(void) {
 *         const char *request =
 *             "{\"events\": [{\"type\": \"CourseDefined\", \"tags\": [\"course:c1\"]}],"
 *             " \"condition\": {\"failIfEventsMatch\":"
 *             "                 {\"items\": [{\"tags\": [\"course:c1\"]}]}}}";
 *         dcb_store *store;
 *         dcb_error err;
 *         int64_t last;
 *         if (dcb_open("sqlite:courses.db", NULL, &store, &err) != DCB_OK ||
 *             dcb_append(store, request, strlen(request), NULL, &last, &err) != DCB_OK)
 *             printf("%s: %s\n", dcb_status_name(err.status), err.message);
 *         else
 *             printf("stored at position %lld\n", (long long)last);
 *         dcb_close(store);
 *         return 0;
 *     }
 *
 * DOCUMENTS
 *
 * Requests and results are JSON documents (RFC 8259) in UTF-8. A request is passed with its length
 * in bytes and needs no terminating NUL.
 *
 *     event to append   {"type": "CourseDefined", "tags": ["course:c1"], "data": any JSON value,
 *                        "id": optional string, "metadata": optional object}
 *     stored event      {"position": 3, "type": ..., "tags": [...], "data": ..., "id": ...,
 *                        "metadata": ..., "timestamp": "2026-11-23T04:12:17.123456Z"}, in this
 *                       order; id and metadata are present only if they were given
 *     query             {"items": [{"types": [...], "tags": [...]}, ...]}; null is every event
 *     append request    {"events": [...], "condition": one condition or a list of them}
 *     append condition  {"failIfEventsMatch": query, "after": 12}
 *     read request      {"query": query, "after": 0, "before": null, "limit": null,
 *                        "backwards": false}; every key is optional
 *     read result       {"events": [...], "position": 42}
 *
 * - A type is a string of 1 to 255 bytes without a NUL. So is a tag; if it contains a colon
 *   ("key:value"), the text on each side of the first colon must not be empty. Types and tags are
 *   compared byte by byte. An event's tags are a set: a repeated tag counts once.
 * - `data` may be any JSON value; the default is null. `data` and `metadata` are returned byte for
 *   byte as they were given.
 * - A position is a 64-bit integer. The first event has position 1, and there are no gaps. The
 *   events of one append have consecutive positions.
 * - An item of a query matches an event that has one of the item's types and all of its tags. An
 *   item whose `types` is left out, null or [] matches any type; one whose `tags` is left out, null
 *   or [] requires no tags. A query matches an event if any of its items does.
 * - A condition fails if a matching event has a position greater than `after`. The default is 0:
 *   every event counts. An append may have several conditions, each with its own `after`; it is
 *   refused if any of them fails.
 * - `after` and `before` of a read are exclusive bounds, in both directions. An `after` of -1 means
 *   0, in a condition too. A lower `after`, a negative `before` and a negative `limit` are errors.
 *   A `before` of 0 or 1 and a `limit` of 0 return no events. `backwards` returns the newest event
 *   first.
 * - The `position` of a read result is safe to use as the `after` of a condition with the same
 *   query: every matching event up to it was returned. If the read was backwards and had a `limit`,
 *   that holds only for matching events newer than those returned.
 * - An `id` makes an append repeatable. Either all events of an append have one, or none has. If
 *   all of them are already stored, in this order, at consecutive positions, and with the same
 *   type, tags, data and metadata, the append succeeds with the position that they have and stores
 *   nothing. Any other append that contains a stored id fails with DCB_DUPLICATE_ID.
 * - Unknown keys, repeated keys and values of another type than documented are errors.
 * - The DCB_MAX_ constants limit a request. A request that exceeds a limit fails with
 *   DCB_TOO_LARGE; nothing is truncated.
 *
 * ERRORS
 *
 * Every function that can fail returns a dcb_status and fills a dcb_error that the caller owns.
 * There is nothing to free, and there is no error state of the thread or the process. Outputs are
 * zeroed on entry and written only on DCB_OK. The comment of a function lists the statuses to
 * expect; any function may also return DCB_INTERNAL. If an append fails with DCB_IO,
 * DCB_UNAVAILABLE or DCB_INTERNAL, its outcome is unknown. After any other error nothing is stored.
 *
 * POINTERS
 *
 * - NULL is allowed for a dcb_error, for a dcb_call, for options, for a document of length 0, and
 *   in every function that closes or frees. Anywhere else NULL is DCB_INVALID_ARGUMENT.
 * - Inputs are borrowed for the duration of the call. A store, a cursor, a dcb_cancel or a dcb_buf
 *   that a call returns belongs to the caller, who releases it with the function made for it.
 *   Events that a cursor returns belong to the cursor.
 * - Undefined behaviour: an invalid pointer; a length greater than the buffer; a handle that is
 *   used after it was closed or freed, or is passed as another type; a store or a cursor that is
 *   closed while a call uses it; a cursor that two threads use at once; a dcb_buf that is freed
 *   through a copy of it; memory that another thread writes while a call reads it.
 *
 * THREADS
 *
 * Any thread may call any function, and any number of threads may use a store or a dcb_cancel at
 * once. Only one thread at a time may use a cursor or a dcb_buf. No function may be called from a
 * signal handler. The threads of the library block all signals.
 *
 * Readers do not wait for writers, except for the moments in which SQLite's write-ahead log (WAL)
 * is reset. They do wait if all share one connection (sqlite::memory:) or if a host's database has
 * no WAL (dcb_host.h). Writers wait for a reader of another process only if that reader has kept its
 * snapshot open until the WAL has grown to 1 GiB. A call that waits returns when its timeout expires
 * or its dcb_cancel is triggered; during a disk sync, it returns when the sync completes.
 *
 * PROCESSES AND FORK
 *
 * Any number of processes of one machine may have a SQLite store open, and one process may open it
 * several times. A child of fork cannot use what its parent opened: every call returns DCB_CLOSED.
 * It may open SQLite stores of its own if no store was open or being opened in its parent at the
 * fork, nor in the parent's parents at theirs. Otherwise dcb_open of one returns DCB_CLOSED until
 * the child calls exec; a memory store can be opened in any child. Closing and freeing the parent's
 * handles is allowed in the child: that touches no file, and memory that a store holds is not
 * freed. All file descriptors are close-on-exec.
 *
 * DURABILITY
 *
 * An append to a SQLite store is on the disk before it returns, and every result that depends on an
 * event waits until that event is on the disk. This holds while every connection to the file, those
 * of other programs included, runs at `PRAGMA synchronous` NORMAL or above. A single connection at
 * OFF voids it for all.
 *
 * MEMORY
 *
 * If memory for an input, a result or a part of a file cannot be allocated, the call fails with
 * DCB_NO_MEMORY. If a small allocation fails, the process ends, as in any Rust library. The library
 * reads no environment variables, installs no signal handlers, and writes nothing to stdout or
 * stderr.
 */

#ifndef DCB_H
#define DCB_H

#include <stddef.h>
#include <stdint.h>

/** The version of the library that this header belongs to. */
#define DCB_VERSION "0.1.0"
#define DCB_VERSION_MAJOR 0
#define DCB_VERSION_MINOR 1
#define DCB_VERSION_PATCH 0
/** The version of the ABI that this header describes, which is also the number in the name of the
 * shared library, libdcb.so.0. Within one version functions and statuses are only ever added. */
#define DCB_ABI_VERSION 0
/** The maximum number of bytes (of UTF-8) in a type, a tag or an event id. */
#define DCB_MAX_NAME_BYTES 255
/** The maximum number of events in an append. */
#define DCB_MAX_EVENTS_PER_APPEND 100000
/** The maximum number of tags of an event. Repeated tags are counted. */
#define DCB_MAX_TAGS_PER_EVENT 256
/** The maximum number of items in a query. */
#define DCB_MAX_ITEMS_PER_QUERY 10000
/** The maximum number of types and tags in all items of a query. Repeated ones are counted. */
#define DCB_MAX_NAMES_PER_QUERY 100000
/** The maximum number of conditions in an append. */
#define DCB_MAX_CONDITIONS_PER_APPEND 1000
/** The maximum number of bytes in an event's `data`, and in its `metadata`. */
#define DCB_MAX_DATA_BYTES 16777216
/** The maximum number of bytes in a request document. */
#define DCB_MAX_REQUEST_BYTES 268435456
/** The maximum depth of nested arrays and objects in a request, `data` and `metadata` included. */
#define DCB_MAX_JSON_DEPTH 512

/** Ends calls early, from another thread. A call that was given it in a dcb_call returns
 * DCB_CANCELLED within 50 milliseconds of dcb_cancel_trigger or, if it is syncing events of another
 * process to the disk, when that completes. An append that is already in a transaction is not
 * ended: it returns its true outcome.
 *
 * Any number of threads and calls may use one at the same time. Once triggered it stays triggered,
 * and every later call that is given it ends at once. */
typedef struct dcb_cancel dcb_cancel;

/** A cursor reads a snapshot of the store in batches of structs, without JSON. It lives from
 * dcb_cursor_open to dcb_cursor_close. One thread may use it at a time; a store may have any number
 * of cursors. Between calls it blocks nobody. A thread of the library may read ahead for it.
 *
 *     const dcb_event *events;
 *     size_t len;
 *     while (dcb_cursor_next(cursor, 256, NULL, &events, &len, &err) == DCB_OK && len > 0)
 *         for (size_t i = 0; i < len; i++)
 *             use(&events[i]);
 */
typedef struct dcb_cursor dcb_cursor;

/** An open store. It lives from dcb_open to dcb_close. Any number of threads may use it at once
 * without locking, so open a file once and share the store. */
typedef struct dcb_store dcb_store;

/** The outcome of a call: one of the constants from DCB_OK to DCB_NO_MEMORY. Their numbers never
 * change. A later version may add statuses, so treat an unknown one as a failure. */
typedef int32_t dcb_status;

/** Says why a call failed. The caller owns it, usually on the stack; there is nothing to free. A
 * call zeroes it on entry and fills it if it fails. Its size, 256 bytes, never changes. */
typedef struct {
    /** The status that the call returned. */
    dcb_status status;
    /** With DCB_CONDITION_FAILED, the index (from 0) of the first condition of the request that
     * fails. After an append that returned DCB_OK, 1 if it repeated a stored append and 0 if it
     * stored its events. With another error, SQLite's extended result code, the system's errno or
     * PostgreSQL's SQLSTATE (five digits of base 36) if one of them is the cause. Otherwise 0. */
    int32_t detail;
    /** With DCB_CONDITION_FAILED and DCB_DUPLICATE_ID, the position of the event that the append
     * was refused for. Otherwise 0. */
    int64_t position;
    /** One sentence for a person to read, in UTF-8. It is always terminated; if it is too long, it
     * is truncated between two characters. */
    char message[240];
} dcb_error;

/** Says how long a call may wait, and lets another thread end it early. The caller owns it; NULL
 * stands for the defaults. This is the only struct of this header that may grow: a later version
 * may add fields at its end, and the library never reads past `size`.
 *
 *     dcb_call call = {sizeof call, 250, NULL};
 */
typedef struct {
    /** Set this to sizeof(dcb_call). A smaller size than the first version's is
     * DCB_INVALID_ARGUMENT. */
    size_t size;
    /** The timeout in milliseconds: for locks (it then returns DCB_BUSY), and in dcb_wait for an
     * event (it then returns DCB_TIMEOUT). 0 does not wait, and a negative number waits forever.
     * A call without a dcb_call waits for locks as long as the store's option `busy_timeout_ms`
     * says, and in dcb_wait forever. */
    int64_t timeout_ms;
    /** The call ends when this is triggered. It may be NULL. */
    dcb_cancel *cancel;
} dcb_call;

/** A buffer that the library allocated and the caller owns until dcb_buf_free. It is not
 * NUL-terminated. Pass in an empty buffer ({0}) or a freed one, for a call overwrites it. Do not
 * change `data` or `cap`. */
typedef struct {
    /** The first byte. It is NULL in an empty buffer. */
    char *data;
    /** The number of bytes. */
    size_t len;
    /** The number of bytes that were allocated. */
    size_t cap;
} dcb_buf;

/** A view of UTF-8 text that somebody else owns. It is not NUL-terminated. An absent text has `data`
 * NULL and `len` 0. */
typedef struct {
    /** The first byte. It is NULL if the text is absent. */
    const char *data;
    /** The number of bytes. */
    size_t len;
} dcb_str;

/** A stored event that a cursor returned. The event and everything that it points to stay valid
 * until the next dcb_cursor_next or dcb_cursor_close of that cursor. Any thread may read them. */
typedef struct {
    /** The position in the sequence of events. The first event has position 1; there are no gaps. */
    int64_t position;
    /** The time at which the store accepted the event, in microseconds since 1970 (UTC). It does
     * not order events. */
    int64_t timestamp_us;
    /** The event's type. */
    dcb_str type;
    /** The event's data: a JSON value, byte for byte as it was given, or "null" if it was left out. */
    dcb_str data;
    /** The event's metadata: a JSON object, byte for byte as it was given, or absent. */
    dcb_str metadata;
    /** The event's id, or absent. */
    dcb_str id;
    /** The event's tags, without repetitions, in the order in which they were given. It is NULL if
     * there are none. */
    const dcb_str *tags;
    /** The number of tags. */
    size_t tags_len;
} dcb_event;

/** "ok": the call succeeded. */
#define DCB_OK 0
/** "condition_failed": an append condition failed, and nothing was stored. This is an expected
 * outcome: read, decide and append again. The error's `position` is the lowest position that makes
 * any of the conditions fail, and the next read sees that event. The error's `detail` is the index
 * of the first condition that fails, in the order of the request. */
#define DCB_CONDITION_FAILED 1
/** "duplicate_id": an event id of the append is already stored, and the append does not repeat the
 * one that stored it. Nothing was stored. The error's `position` is that of the stored event. */
#define DCB_DUPLICATE_ID 2
/** "invalid_argument": the request is invalid, or a pointer is NULL that must not be. The message
 * names the place: "events[2].tags[0]: a tag must not be empty". Nothing was done. */
#define DCB_INVALID_ARGUMENT 3
/** "too_large": the request exceeds a DCB_MAX_ limit. The message says which one and where. Nothing
 * was done. */
#define DCB_TOO_LARGE 4
/** "busy": a lock could not be acquired in time. Nothing was stored, and the call may be repeated. */
#define DCB_BUSY 5
/** "timeout": the timeout of a dcb_wait expired. */
#define DCB_TIMEOUT 6
/** "cancelled": the call's dcb_cancel was triggered. Nothing was stored. */
#define DCB_CANCELLED 7
/** "read_only": the store was opened read-only, or its file cannot be written. Nothing was stored. */
#define DCB_READ_ONLY 8
/** "full": the disk is full or a quota is used up. Nothing was stored. */
#define DCB_FULL 9
/** "io": the system could not read, write, sync, lock or open a file. The error's `detail` is its
 * code. The outcome of an append is unknown: append the events again, with the same ids. */
#define DCB_IO 10
/** "corrupt": the contents of the file are inconsistent. Restore it from a backup. */
#define DCB_CORRUPT 11
/** "unsupported_format": the file is not a database, not a store, or was written by a newer version
 * of the library. Not a byte of it was changed. */
#define DCB_UNSUPPORTED_FORMAT 12
/** "closed": the store was closed, or the handle belongs to the parent of this forked process. */
#define DCB_CLOSED 13
/** "unavailable": the store cannot be reached at present. The outcome of an append is unknown, as
 * with DCB_IO. */
#define DCB_UNAVAILABLE 14
/** "internal": the library has a bug. Please report the message. The outcome of an append is
 * unknown, as with DCB_IO. */
#define DCB_INTERNAL 15
/** "no_memory": memory for an input, a result or a part of the file could not be allocated. Nothing
 * was stored. */
#define DCB_NO_MEMORY 16

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/** Returns the DCB_ABI_VERSION that the library was built with. */
uint32_t dcb_abi_version(void);

/** Returns the version of the library as a static string: "0.1.0". Compare it with DCB_VERSION to
 * check that header and library belong together. */
const char *dcb_version(void);

/** Returns the name of a status as a static string: "condition_failed". The name of an unknown
 * status is "unknown". */
const char *dcb_status_name(dcb_status status);

/** Creates a dcb_cancel that is not triggered. The caller frees it with dcb_cancel_free. */
dcb_cancel *dcb_cancel_new(void);

/** Ends the calls that use `cancel`, running and future ones. It returns at once. NULL is ignored. */
void dcb_cancel_trigger(dcb_cancel *cancel);

/** Frees `cancel`. Calls that are running with it continue, and still end if it was triggered
 * before it was freed. NULL is ignored. */
void dcb_cancel_free(dcb_cancel *cancel);

/** Opens the store that `uri`, a terminated string in UTF-8, names:
 *
 *     memory:            a new, empty store in memory, which is gone when it is closed
 *     sqlite:PATH        a store in a file, for any number of threads and processes of one
 *                        machine; PATH is taken as it is and not decoded
 *     file:PATH?mode=M   the same file as a URI, as SQLite reads it; `mode` (ro, rw, rwc or
 *                        memory) is the only parameter, and optional
 *     sqlite::memory:    a new SQLite database in memory, with a single connection; like
 *                        memory:, it is gone when it is closed
 *     postgres://...     a schema of a PostgreSQL database; the parameters are libpq's
 *
 * `options_json` is NULL for the defaults, or a terminated JSON object with any of these keys:
 *
 *     "read_only": false        refuse appends and write nothing to the database; the WAL and its
 *                               index are created if they are missing; only for a file
 *     "immutable": false        the caller guarantees that nobody writes the file; implies
 *                               read_only and needs no write access to the folder; refused if
 *                               there is a journal, or a WAL that is not empty
 *     "create": true            create the file, or the schema, if it does not exist
 *     "adopt": false            create the store in a database that already has other tables
 *     "import": false           keep the timestamp of an event that is appended with one; without
 *                               it, such an append is refused
 *     "busy_timeout_ms": 5000   how long a call without a dcb_call waits for a lock; a negative
 *                               number waits forever
 *     "max_readers": 8          how many connections read at a time, 1 to 1000; others wait for one
 *                               as for a lock; only for a file; dcb_backup opens one more
 *     "cache_bytes": 67108864   how many bytes of events to keep in memory; only for a file
 *     "schema": "dcb"           the schema; this and the next two are only for PostgreSQL
 *     "pool_size": 4            how many connections for reading it opens at most, 1 to 1000
 *     "allow_fsync_off": false  take a server with fsync = off, which may lose events; for tests
 *
 * The store is written to `*out`, and the caller closes it with dcb_close.
 *
 * It returns DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_BUSY, DCB_READ_ONLY, DCB_FULL, DCB_IO,
 * DCB_CORRUPT, DCB_UNSUPPORTED_FORMAT, DCB_CLOSED (for a SQLite store, in the child of a process
 * that had a store open at the fork), DCB_UNAVAILABLE (a server lets nobody in) or DCB_NO_MEMORY. */
dcb_status dcb_open(const char *uri, const char *options_json, dcb_store **out, dcb_error *err);

/** Closes the store and frees it. No call on the store or on one of its cursors may be running (end
 * waiting calls with a dcb_cancel first), and none on the store may start. Its cursors may outlive
 * it: they return DCB_CLOSED and must still be closed. Appended events are already durable; closing
 * adds nothing to that. NULL is ignored. */
void dcb_close(dcb_store *store);

/** Appends the events of `request`, a JSON document of `len` bytes: all of them or none. The
 * position of the last one is written to `*last`.
 *
 *     {"events": [{"type": "StudentSubscribed",
 *                  "tags": ["course:c1", "student:s1"],
 *                  "data": {"seat": 7}}],
 *      "condition": {"failIfEventsMatch": {"items": [{"tags": ["course:c1"]}]}, "after": 12}}
 *
 * On DCB_OK the events are durable, unless the store is in memory, and the `detail` of `err` is 1
 * if an earlier append with the same ids had stored them, 0 if this one did. After DCB_IO,
 * DCB_UNAVAILABLE and DCB_INTERNAL the outcome is unknown: if the events have ids, append them
 * again unchanged; they are not stored twice. After any other error nothing was stored.
 *
 * It returns DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_CONDITION_FAILED, DCB_DUPLICATE_ID, DCB_BUSY,
 * DCB_CANCELLED, DCB_READ_ONLY, DCB_FULL, DCB_IO, DCB_CORRUPT, DCB_CLOSED, DCB_NO_MEMORY,
 * and of a server DCB_TIMEOUT or DCB_UNAVAILABLE. */
dcb_status dcb_append(dcb_store *store, const char *request, size_t len, const dcb_call *call,
                      int64_t *last, dcb_error *err);

/** Reads the events that `request`, a JSON document of `len` bytes, asks for into one JSON document.
 * With a `len` of 0 it reads every event. The read result is written to `*result`, and the caller
 * frees it with dcb_buf_free. It is in memory as a whole: use a cursor for a read without a limit.
 *
 * It returns DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_BUSY, DCB_CANCELLED, DCB_IO, DCB_CORRUPT,
 * DCB_CLOSED, DCB_NO_MEMORY, and of a server DCB_TIMEOUT or DCB_UNAVAILABLE. */
dcb_status dcb_read(dcb_store *store, const char *request, size_t len, const dcb_call *call,
                    dcb_buf *result, dcb_error *err);

/** Writes the position of the newest event, which is durable, to `*head`, or 0 if the store is
 * empty.
 *
 * It returns DCB_INVALID_ARGUMENT, DCB_BUSY, DCB_CANCELLED, DCB_IO, DCB_CORRUPT, DCB_CLOSED,
 * DCB_NO_MEMORY, and of a server DCB_TIMEOUT or DCB_UNAVAILABLE. */
dcb_status dcb_head(dcb_store *store, const dcb_call *call, int64_t *head, dcb_error *err);

/** Writes the number of events to `*events`. Since positions have no gaps, it is the position that
 * dcb_head returns. It returns the statuses of dcb_head. */
dcb_status dcb_count(dcb_store *store, const dcb_call *call, int64_t *events, dcb_error *err);

/** Describes the store for a person who looks for the cause of a problem, for a log or a bug report.
 * A JSON object is written to `*result`, and the caller frees it with dcb_buf_free. For a memory
 * store it has the first three keys only. A later version may add keys.
 *
 *     "version": "0.1.0"      the version of the library
 *     "store": "sqlite"       the kind of store, "sqlite", "postgres" or "memory"
 *     "head": 42              the position of the newest event
 *     "path": "/x/events.db"  the file, with symbolic links resolved; null if in memory
 *     "read_only": false      whether appends are refused
 *     "format": 2             the version of the file format
 *     "sqlite": "3.53.2"      the version of SQLite
 *     "bundled_sqlite": true  whether SQLite is the library's copy, not the system's or a host's
 *     "locks": "open-file-description"  the kind of locks that this store takes; "process" are
 *                             POSIX locks, which two copies of SQLite in one process must not
 *                             both take on a file, and those of a host's connections; null if
 *                             there are none (in memory, or immutable)
 *     "other_sqlite": false   whether another SQLite in this process has it open; null: unknown
 *     "durable": 42           the highest position known to be on the disk; null if in memory
 *     "indexed": 40           the highest position that the index in the file covers
 *     "segments": 3           the number of segments of that index
 *     "log_bytes": 1048576    the length of the WAL, with preallocated space; null if none
 *     "log_held": false       whether the WAL is at its maximum length because of a reader
 *                             outside this process, so that appends wait for that reader
 *     "failure": null         why no more events become durable, as a sentence; null if they do
 *     "schema", "server"      in PostgreSQL, with more that docs/documents.md lists
 *
 * It returns the statuses of dcb_head. */
dcb_status dcb_diagnose(dcb_store *store, const dcb_call *call, dcb_buf *result, dcb_error *err);

/** Waits until there is an event above the position `after` (-1 means 0), and writes the head to
 * `*head`. Appends of this process are seen within a millisecond, those of others within 25. Other
 * calls run meanwhile. It waits forever unless the dcb_call has a timeout or a dcb_cancel. To
 * follow a store, read the events above the last position seen, wait for more, and repeat. If a
 * process begins at a position where dcb_read finds no event, the history was rewound.
 *
 * It returns DCB_INVALID_ARGUMENT, DCB_TIMEOUT, DCB_CANCELLED, DCB_BUSY, DCB_IO, DCB_CORRUPT,
 * DCB_UNAVAILABLE, DCB_CLOSED or DCB_NO_MEMORY. */
dcb_status dcb_wait(dcb_store *store, int64_t after, const dcb_call *call, int64_t *head,
                    dcb_error *err);

/** Frees the contents of `buf` and zeroes it, so that freeing it again is harmless. NULL and empty
 * buffers are ignored. */
void dcb_buf_free(dcb_buf *buf);

/** Starts a read. `request` is a read request as for dcb_read; a `len` of 0 reads every event. It
 * takes the snapshot and looks up the first events: the cursor does not return events that are
 * appended later. The cursor is written to `*out`, and the caller closes it with dcb_cursor_close.
 *
 * It returns the statuses of dcb_read. */
dcb_status dcb_cursor_open(dcb_store *store, const char *request, size_t len, const dcb_call *call,
                           dcb_cursor **out, dcb_error *err);

/** Looks up the event whose id is the `len` bytes at `id`, through the index. A cursor is written to
 * `*out`, over that event or, if none has the id, over no event: one loop reads both. The caller
 * closes it with dcb_cursor_close. An event is found if a read would return it now. At the end,
 * dcb_cursor_position is the event's position, or 0. Do not use that as an `after`: it says nothing
 * of other events. It returns the statuses of dcb_read. */
dcb_status dcb_find(dcb_store *store, const char *id, size_t len, const dcb_call *call,
                    dcb_cursor **out, dcb_error *err);

/** Returns the next events, at most `max`. A pointer to the first one is written to `*events` and
 * their number to `*len`. A `len` of 0 means the end of the read; a batch may be shorter than `max`
 * before that, since its memory is bounded. The events belong to the cursor and stay valid until
 * the next call of dcb_cursor_next, whether that succeeds or not, or dcb_cursor_close.
 *
 * After DCB_BUSY, DCB_TIMEOUT, DCB_CANCELLED, DCB_UNAVAILABLE or an invalid argument no event is
 * lost: the next call continues at the same place. Any other error is permanent: every later call
 * returns it again.
 *
 * It also returns DCB_INVALID_ARGUMENT for a `max` of 0, and DCB_IO, DCB_CORRUPT, DCB_CLOSED or
 * DCB_NO_MEMORY. */
dcb_status dcb_cursor_next(dcb_cursor *cursor, size_t max, const dcb_call *call,
                           const dcb_event **events, size_t *len, dcb_error *err);

/** Returns how far the read has come. At the end of a read, when `len` was 0, and at any time of a
 * backward read, that is the `position` that dcb_read returns, which is safe to use as the `after`
 * of an append condition with the same query. Before the end of a forward read it is the position
 * of the last event returned or, before the first one, the request's `after`. For NULL it is 0. The
 * cursor's events stay valid. */
int64_t dcb_cursor_position(const dcb_cursor *cursor);

/** Closes the cursor and frees it and its events. It may be called after dcb_close of the store.
 * NULL is ignored. */
void dcb_cursor_close(dcb_cursor *cursor);

/** Copies the store to a new file at `path` (UTF-8, taken as it is) while any number of threads and
 * processes read and append. The copy is one file and the store of one moment: it has the events up
 * to the position that is written to `*head`, all of them durable, and none above.
 *
 * The copy is written to a hidden file in the same folder, `.dcb-backup-` with two numbers, synced,
 * checked (its structure and the checksum of every event), and then renamed. It never replaces a
 * file. Unless it returns DCB_OK no file is left; a process that is killed may leave the hidden one.
 *
 * `progress` is NULL, or it is called with `context` in this thread after each step. It returns 0
 * to go on; another value ends the backup with DCB_CANCELLED. It must not unwind. It may use the
 * store, unless that is one of sqlite::memory:. When all pages are copied, syncing and checking take
 * about as long again. `timeout_ms` limits the whole backup, then it returns DCB_TIMEOUT.
 *
 * Appends go on, but the WAL is not reset before the pages are copied: at its limit of 1 GiB appends
 * wait. A read_only store on a file in rollback mode keeps that file's writers waiting until then.
 *
 * It returns DCB_INVALID_ARGUMENT (also for `memory:` and a host's store; `detail` is EEXIST if
 * `path` or a WAL or journal beside it exists), DCB_BUSY, DCB_TIMEOUT, DCB_CANCELLED, DCB_FULL,
 * DCB_IO, DCB_CORRUPT, DCB_CLOSED or DCB_NO_MEMORY. */
dcb_status dcb_backup(dcb_store *store, const char *path, const dcb_call *call,
                      int32_t (*progress)(void *context, int64_t done_pages, int64_t total_pages),
                      void *context, int64_t *head, dcb_error *err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DCB_H */
