/* Generated from src/capi by cbindgen; do not edit. To renew it: DCB_UPDATE_HEADER=1 cargo test */
/* clang-format off */
/*
 * libdcb: an event store with Dynamic Consistency Boundaries (https://dcb.events), to embed.
 *
 * A store is one sequence of events. An event has a type, tags, and data. A query picks events
 * by type and tags; an append may be guarded by a condition: that no event which matches a query
 * has been stored after a position. A decision is made in three steps:
 *
 *     1. read the events that the decision rests on, with a query; note the result's position
 *     2. decide
 *     3. append new events, on condition that no event matching that query came after that
 *        position; after DCB_CONDITION_FAILED begin again at step 1
 *
 * A whole program:
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
 * THE DOCUMENTS
 *
 * Requests and results are JSON (RFC 8259, UTF-8), given with a length; no terminating NUL is
 * needed. They are borrowed for the call.
 *
 *     event, going in   {"type": "CourseDefined", "tags": ["course:c1"], "data": any JSON,
 *                        "id": optional string, "metadata": optional object}
 *     event, coming out keys in this order: position, type, tags, data, id and metadata (these
 *                       two only if given), timestamp ("2026-11-23T04:12:17.123456Z")
 *     query             {"items": [{"types": [...], "tags": [...]}, ...]}; null: every event
 *     append request    {"events": [...], "condition": one condition or a list of them}
 *     append condition  {"failIfEventsMatch": query, "after": 12}
 *     read request      {"query": query, "after": 0, "before": null, "limit": null,
 *                        "backwards": false}; every key may be left out
 *     read result       {"events": [...], "position": 42}
 *
 * - A type is a string of 1 to 255 bytes without a NUL. So is a tag; where it has a colon, there
 *   is something before and after the first one ("key:value"). They are compared byte by byte.
 *   An event's tags are a set: a repeated one counts once.
 * - Data is any JSON value, null if left out. It comes back byte for byte as it was given, and
 *   so does metadata.
 * - A position is a 64-bit integer. The first event has 1, and there are no gaps. One append's
 *   events are neighbours.
 * - An item of a query matches an event whose type is one of its types and that has all of its
 *   tags. Without types (left out, null or []) any type will do, without tags any tags. A query
 *   matches what any of its items matches.
 * - A condition fails if an event that matches has a position above `after` (0 if left out:
 *   every event counts). An append may have several conditions, each with its own `after`.
 * - A read's `after` and `before` are exclusive bounds, in both directions. An `after` of -1 is
 *   as 0, here and in a condition; below -1, and below 0 in `before` and `limit`, is an error.
 *   Before 0 or 1 there is nothing, and a limit of 0 gives nothing. `backwards` gives the newest
 *   first. The result's `position` is safe as the `after` of a condition with the
 *   same query: every matching event up to it has been returned. With a limit and backwards it
 *   says so only of those newer than the ones returned.
 * - An `id` makes an append repeatable. Either all of an append's events have one, or none has.
 *   If all are stored already, in this order, next to each other and equal, the append succeeds
 *   with the position that they have; anything else that meets a stored id is DCB_DUPLICATE_ID.
 * - An unknown key, a repeated key, a number in place of a string: an error, never a guess.
 * - The DCB_MAX_ constants limit a request. Past one: DCB_TOO_LARGE; nothing is cut short.
 *
 * ERRORS
 *
 * Every function that can fail returns a dcb_status and fills a dcb_error that the caller holds.
 * There is nothing to free, and no state of the thread or the process behind it. Outputs are
 * zeroed first and written only with DCB_OK. Each function's comment lists the statuses to
 * expect; DCB_INTERNAL may come from any. After DCB_IO, DCB_UNAVAILABLE or DCB_INTERNAL of an
 * append its outcome is unknown; after every other error nothing was stored.
 *
 * POINTERS
 *
 * - NULL is checked for: it is DCB_INVALID_ARGUMENT where a store, a cursor or an output is
 *   needed; it is allowed for a dcb_error, a dcb_call and options, as a document of length 0,
 *   and in every function that closes or frees.
 * - Inputs are borrowed for the call only. What a call gives belongs to the caller (a store, a
 *   cursor, a dcb_buf) and has one function that ends it, or it belongs to the cursor (events).
 * - What stays undefined: a pointer that leads nowhere; a length beyond what is there; a handle
 *   used after it was closed or freed, closed while another call uses it, or passed as another
 *   type; a cursor in two threads at once; a dcb_buf freed through a copy of it; memory that
 *   another thread writes while a call reads it.
 *
 * THREADS
 *
 * A store may be used from any thread, by any number at once. A cursor by one at a time. A
 * cancel from any. Readers do not wait for writers, but for moments in which SQLite's log begins
 * anew; where there is one connection for all (sqlite::memory:), or a host's database keeps no
 * log, they do. Writers wait for a reader of another process only where that one has kept its
 * snapshot open until the log has reached 1 GiB. A call that waits ends with its time-out or its
 * dcb_cancel; while the disk syncs, when it has. No call is to be made from a signal handler.
 *
 * PROCESSES AND FORK
 *
 * A SQLite store may be open in any number of processes of one machine, and several times in
 * one. After a fork the child cannot use what its parent opened: every call answers DCB_CLOSED,
 * and so does dcb_open of a SQLite store, until it calls exec. A memory store may be opened in
 * the child. Closing and freeing work in the child: they touch no file, and leave what a store
 * holds in memory as it is. Every file descriptor is closed by exec.
 *
 * DURABILITY
 *
 * An append to a SQLite store is on the disk before it returns, and every answer that rests on
 * an event waits until that event is. This holds while every connection to the file, of other
 * programs too, runs at `PRAGMA synchronous` NORMAL or above: OFF anywhere voids it for all.
 *
 * MEMORY
 *
 * What grows with an input, a result or a file is allocated so that a refusal becomes
 * DCB_NO_MEMORY. A small allocation that the system refuses ends the process, as in any Rust
 * library. The library reads no environment, installs no signal handler, and writes nothing to
 * stdout or stderr.
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

/**
 * The version of the ABI that this header describes. Within one version, functions and statuses
 * are only added. It is the number in the shared library's name, libdcb.so.0.
 */
#define DCB_ABI_VERSION 0

/** Bytes of UTF-8 in a type, a tag or an event id. */
#define DCB_MAX_NAME_BYTES 255

/** Events in one append. */
#define DCB_MAX_EVENTS_PER_APPEND 100000

/** Tags on one event, as given (repeated ones counted). */
#define DCB_MAX_TAGS_PER_EVENT 256

/** Items in one query. */
#define DCB_MAX_ITEMS_PER_QUERY 10000

/** Types and tags in one query, of all its items together (repeated ones counted). */
#define DCB_MAX_NAMES_PER_QUERY 100000

/** Conditions in one append. */
#define DCB_MAX_CONDITIONS_PER_APPEND 1000

/** Bytes of one event's `data`; the same for its `metadata`. */
#define DCB_MAX_DATA_BYTES 16777216

/** Bytes of one request document. */
#define DCB_MAX_REQUEST_BYTES 268435456

/** Nested arrays and objects in a request, those in `data` and `metadata` included. */
#define DCB_MAX_JSON_DEPTH 512

/** A value is NULL, */
#define DCB_VALUE_NULL 0

/** a 64-bit integer, */
#define DCB_VALUE_INTEGER 1

/** UTF-8 text, */
#define DCB_VALUE_TEXT 2

/** or bytes. */
#define DCB_VALUE_BLOB 3

/**
 * A switch that ends calls early, from another thread. A call that holds it (dcb_call) ends
 * with DCB_CANCELLED within 50 milliseconds of dcb_cancel_trigger; where it makes events of other
 * processes durable, when the disk has. An append that is in a transaction already is not ended:
 * its true outcome is reported.
 *
 * Any thread, any number of calls at once. Sticky: once triggered it stays so, and every later
 * call that is given it ends at once. Make a new one for what comes next.
 */
typedef struct dcb_cancel dcb_cancel;

/**
 * A read under way: a snapshot of the store, read in batches without any JSON. One thread at a
 * time; a store may have any number. From dcb_cursor_open to dcb_cursor_close. Between calls
 * it holds no lock and no transaction, so a forgotten one blocks nobody.
 *
 *     const dcb_event *events;
 *     size_t len;
 *     while (dcb_cursor_next(cursor, 256, NULL, &events, &len, &err) == DCB_OK && len > 0)
 *         for (size_t i = 0; i < len; i++)
 *             use(&events[i]);
 */
typedef struct dcb_cursor dcb_cursor;

/**
 * An open store. Any thread may use it, any number of threads at once, without a lock of the
 * caller's; open a file once and share the store. From dcb_open to dcb_close.
 */
typedef struct dcb_store dcb_store;

/**
 * The outcome of a call: one of the DCB_ constants from DCB_OK to DCB_NO_MEMORY. The numbers
 * never change; a later version of the library may add to them, so treat one that you do not
 * know as a failure.
 */
typedef int32_t dcb_status;

/**
 * Why a call failed. The caller's own struct, on the stack for instance: there is nothing to
 * free, and the library keeps nothing of it. Every function that takes one takes NULL too. A
 * call zeroes it on entry and fills it only if it fails. 256 bytes, frozen.
 */
typedef struct {
    /** What the call returned. */
    dcb_status status;
    /** SQLite's extended result code or the system's errno, where one is the cause; else 0. */
    int32_t detail;
    /**
     * With DCB_CONDITION_FAILED and DCB_DUPLICATE_ID the position that the caller was refused
     * for; else 0.
     */
    int64_t position;
    /**
     * One sentence for the person who reads it: UTF-8, always terminated, cut between
     * characters where it is too long.
     */
    char message[240];
} dcb_error;

/**
 * How long one call may wait, and who may end it early. The caller's own struct, borrowed for
 * the call; pass NULL for the defaults. Set `size` to sizeof(dcb_call): a later version may add
 * fields at the end, and a library never reads past the size that it is given. The struct is
 * the only one here that may grow.
 *
 *     dcb_call call = {sizeof call, 250, NULL};
 */
typedef struct {
    /** sizeof(dcb_call). Smaller than that of the first version: DCB_INVALID_ARGUMENT. */
    size_t size;
    /**
     * How long the call may wait for a lock (then DCB_BUSY), or dcb_wait for an event (then
     * DCB_TIMEOUT), in milliseconds. Below 0: without end. 0: not at all. Without a dcb_call:
     * the store's option `busy_timeout_ms` for locks, without end for dcb_wait.
     */
    int64_t timeout_ms;
    /** Ends the call when triggered; NULL: nobody does. */
    dcb_cancel *cancel;
} dcb_call;

/**
 * Bytes that the library has allocated and the caller owns, until dcb_buf_free. Not terminated:
 * use `len`. Pass in an empty one ({0}) or one that was freed: a call overwrites what is there.
 * Do not change `data` or `cap`.
 */
typedef struct {
    /** The bytes; NULL in an empty buffer. */
    char *data;
    /** How many there are. */
    size_t len;
    /** How many were allocated. */
    size_t cap;
} dcb_buf;

/**
 * A view of bytes that somebody else owns. Not terminated: use `len`. UTF-8. What is absent has
 * `data` NULL and `len` 0.
 */
typedef struct {
    /** The first byte; NULL: absent. */
    const char *data;
    /** How many bytes. */
    size_t len;
} dcb_str;

/**
 * A stored event, as a cursor gives it. It and all that it points to live until the next call
 * on its cursor, dcb_cursor_close included; dcb_cursor_position ends nothing. Any thread may
 * read it meanwhile.
 */
typedef struct {
    /** Where it is in the sequence; the first event is 1, and there are no gaps. */
    int64_t position;
    /** When the store accepted it: microseconds since 1970, UTC. It orders nothing. */
    int64_t timestamp_us;
    /** Its type. */
    dcb_str type;
    /**
     * Its data: the text of one JSON value, byte for byte as it was given; "null" if it was
     * left out.
     */
    dcb_str data;
    /**
     * Its metadata: the text of one JSON object, byte for byte as it was given; absent if it
     * was left out.
     */
    dcb_str metadata;
    /** Its id; absent if it was left out. */
    dcb_str id;
    /** Its tags, each once, in the order given; NULL if there are none. */
    const dcb_str *tags;
    /** How many tags. */
    size_t tags_len;
} dcb_event;

/** What a function of a dcb_host answers with. The library's own struct, zeroed. */
typedef struct {
    /**
     * The next rows, one after the other, none cut off; the host's memory, which stays until the
     * next call on the connection. A row is the number of its columns in 2 bytes, and the columns;
     * a column is a byte, its DCB_VALUE_ kind, and then: an integer in 8 bytes, or the length of a
     * text or blob in 4 bytes and its bytes. Numbers are little-endian.
     */
    dcb_str rows;
    /** How many rows the statement has changed. */
    int64_t changes;
    /** Not 0: there may be more rows, which `more` gives. */
    int32_t is_more;
    /** Why it failed, terminated. */
    char message[240];
} dcb_reply;

/** A value that a statement of the library is given, for the parameter of its place in the list. */
typedef struct {
    /** DCB_VALUE_NULL, DCB_VALUE_INTEGER, DCB_VALUE_TEXT or DCB_VALUE_BLOB. */
    int32_t kind;
    /** The integer. */
    int64_t integer;
    /** The text or the bytes. */
    dcb_str bytes;
} dcb_value;

/**
 * The connections of a program that has the database open itself, with a SQLite of its own: its
 * pool, as functions that the library calls. They are called in the thread of the call on the
 * store that needs them, before that call returns, and from several threads at once where the
 * store is used so; a connection by one thread at a time. None may be NULL, unwind, or call the
 * library on this store. They return 0, or the extended result code of SQLite; below 0 where there
 * is no such code.
 */
typedef struct {
    /** sizeof(dcb_host). */
    size_t size;
    /** The host's own, given back to `acquire`. */
    void *context;
    /**
     * Lends a connection that is in no transaction, having waited for one as long as `timeout_ms`
     * says (as that of a dcb_call); SQLITE_BUSY where none was free in time, SQLITE_INTERRUPT
     * where the caller has given up.
     */
    int32_t (*acquire)(void *context, int64_t timeout_ms, void **connection, dcb_reply *reply);
    /** Runs a statement that gives no rows. */
    int32_t (*run)(void *connection,
                   dcb_str sql,
                   const dcb_value *values,
                   size_t len,
                   dcb_reply *reply);
    /** Runs a statement and gives its first rows, as many as are worth a call. */
    int32_t (*query)(void *connection,
                     dcb_str sql,
                     const dcb_value *values,
                     size_t len,
                     dcb_reply *reply);
    /**
     * Gives the next rows of the last query that said that there may be more: one that was begun
     * amid the rows of another ends before that one goes on.
     */
    int32_t (*more)(void *connection, dcb_reply *reply);
    /** Ends that query, whatever rows it has left. */
    void (*finish)(void *connection);
    /**
     * Takes back a connection that was acquired. `spoiled` not 0: it could not be left as it was
     * found, and has to be closed.
     */
    void (*release)(void *connection, int32_t spoiled);
} dcb_host;

/** "ok": the call did what it was asked. */
#define DCB_OK 0

/**
 * "condition_failed": an append condition does not hold, and nothing was stored. An expected
 * outcome: read again, decide again, append again. The error's `position` is the lowest one
 * that makes any of the conditions fail; the next read sees that event.
 */
#define DCB_CONDITION_FAILED 1

/**
 * "duplicate_id": an event id of the append is stored already, and the append is not a
 * repetition of the one that stored it. The error's `position` is that of the stored event.
 * Nothing was stored.
 */
#define DCB_DUPLICATE_ID 2

/**
 * "invalid_argument": the request breaks a rule, or a pointer is NULL where it must not be. The
 * message names the place: "events[2].tags[0]: a tag must not be empty". Nothing was done.
 */
#define DCB_INVALID_ARGUMENT 3

/**
 * "too_large": a DCB_MAX_ limit is passed; the message says which one and where. Nothing was
 * done.
 */
#define DCB_TOO_LARGE 4

/** "busy": a lock was not to be had in time. Nothing was stored; trying again is fine. */
#define DCB_BUSY 5

/** "timeout": the time of a dcb_wait ran out. */
#define DCB_TIMEOUT 6

/** "cancelled": the call's dcb_cancel was triggered. Nothing was stored. */
#define DCB_CANCELLED 7

/** "read_only": an append to a store that was opened read-only, or whose file cannot be written. */
#define DCB_READ_ONLY 8

/** "full": the disk or a quota is used up. Nothing was stored. */
#define DCB_FULL 9

/**
 * "io": the system failed to read, write, sync, lock or open; the error's `detail` is its code.
 * After an append the outcome is unknown: append again with the same ids.
 */
#define DCB_IO 10

/** "corrupt": the file contradicts itself. Restore it from a backup. */
#define DCB_CORRUPT 11

/**
 * "unsupported_format": not a database, not a store, or a store of a newer version of the
 * library. Not a byte of the file was changed.
 */
#define DCB_UNSUPPORTED_FORMAT 12

/**
 * "closed": the store was closed, or this process is the child of a fork and the handle is its
 * parent's.
 */
#define DCB_CLOSED 13

/**
 * "unavailable": the store cannot be reached at present. After an append the outcome is
 * unknown, as with DCB_IO.
 */
#define DCB_UNAVAILABLE 14

/**
 * "internal": a bug in the library; please report its message. After an append the outcome is
 * unknown, as with DCB_IO.
 */
#define DCB_INTERNAL 15

/**
 * "no_memory": the memory for an input, a result or a part of the file was refused. Nothing was
 * stored.
 */
#define DCB_NO_MEMORY 16

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/** The DCB_ABI_VERSION that the library was built with. Any thread. */
uint32_t dcb_abi_version(void);

/**
 * The library's version: "0.1.0". Compare it with DCB_VERSION to see whether header and library
 * belong together. The text is static. Any thread.
 */
const char *dcb_version(void);

/**
 * The name of a status, as the documentation gives it: "condition_failed". For a number that
 * this version does not know, "unknown". Never NULL; the text is static. Any thread.
 */
const char *dcb_status_name(dcb_status status);

/** A switch that nobody has triggered. The caller frees it with dcb_cancel_free. Any thread. */
dcb_cancel *dcb_cancel_new(void);

/**
 * Ends the calls that hold the switch, now and later. Returns at once. NULL is ignored. Any
 * thread.
 */
void dcb_cancel_trigger(dcb_cancel *cancel);

/**
 * Frees the switch. Calls that have begun with it go on and no longer need it: whether it was
 * triggered before, they still see. NULL is ignored. Any thread.
 */
void dcb_cancel_free(dcb_cancel *cancel);

/**
 * Opens the store that `uri` names:
 *
 *     memory:            a store of its own each time; gone when it is closed
 *     sqlite:PATH        one file, for any number of threads and processes of one machine; PATH
 *                        is taken as it is, nothing in it is decoded
 *     file:PATH?mode=M   the same, as a URI that SQLite would take: mode (ro, rw, rwc or memory)
 *                        is the only parameter, and may be left out
 *     sqlite::memory:    a SQLite database of its own; one connection, nothing durable
 *
 * `uri` is UTF-8. `options_json` is NULL for the defaults, or a JSON object with any of
 *
 *     "read_only": false        refuse appends, and write nothing to the database (the log and
 *                               its index are made where they are missing); of a file only
 *     "immutable": false        the caller vouches that nobody writes the file; implies
 *                               read_only, and needs no write access to the folder; refused
 *                               where there is a log (-wal) that is not empty, or a journal
 *     "create": true            create the file if there is none
 *     "adopt": false            take a store into a database that has other tables already
 *     "busy_timeout_ms": 5000   how long a call without a dcb_call waits for a lock; below 0:
 *                               without end
 *
 * The store is written to `*out`, which the caller closes with dcb_close; NULL if the call
 * fails. Any thread.
 *
 * DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_BUSY, DCB_READ_ONLY, DCB_FULL, DCB_IO, DCB_CORRUPT,
 * DCB_UNSUPPORTED_FORMAT (the file is not a database, not a store, or newer than this library;
 * not a byte of it changes), DCB_CLOSED (a SQLite store in the child of a fork), DCB_NO_MEMORY.
 */
dcb_status dcb_open(const char *uri, const char *options_json, dcb_store **out, dcb_error *err);

/**
 * Closes the store and frees it. No other call on it, or on one of its cursors, may run, and none
 * on it may begin; end waiting ones with a dcb_cancel first. Its cursors may outlive it: they
 * answer DCB_CLOSED and are still to be closed. NULL is ignored. What was appended is durable
 * already; closing adds nothing to that.
 */
void dcb_close(dcb_store *store);

/**
 * Appends the events of `request`, a JSON document of `len` bytes: all of them or none. The
 * position of the last one is written to `*last`.
 *
 *     {"events": [{"type": "StudentSubscribed",
 *                  "tags": ["course:c1", "student:s1"],
 *                  "data": {"seat": 7}}],
 *      "condition": {"failIfEventsMatch": {"items": [{"tags": ["course:c1"]}]}, "after": 12}}
 *
 * With DCB_OK the events are durable (but in the memory stores). With DCB_CONDITION_FAILED and
 * DCB_DUPLICATE_ID the error's `position` says for which event, and nothing was stored. After
 * DCB_IO, DCB_UNAVAILABLE and DCB_INTERNAL the outcome is unknown: events that carry an `id`
 * may be appended again as they are, and if they are stored already, that succeeds with the
 * positions that they have. Every other status means that nothing was stored.
 *
 * `request` is borrowed for the call. Any thread.
 *
 * DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_CONDITION_FAILED, DCB_DUPLICATE_ID, DCB_BUSY,
 * DCB_CANCELLED, DCB_READ_ONLY, DCB_FULL, DCB_IO, DCB_CORRUPT, DCB_CLOSED, DCB_NO_MEMORY.
 */
dcb_status dcb_append(dcb_store *store,
                      const char *request,
                      size_t len,
                      const dcb_call *call,
                      int64_t *last,
                      dcb_error *err);

/**
 * Reads what matches `request`, a JSON document of `len` bytes, into one JSON document. With
 * `len` 0 it is the request for every event.
 *
 *     {"query": {"items": [{"types": ["StudentSubscribed"], "tags": ["course:c1"]}]},
 *      "after": 0, "before": null, "limit": null, "backwards": false}
 *
 * gives
 *
 *     {"events": [{"position": 3, "type": "StudentSubscribed", "tags": [...], "data": {...},
 *                  "timestamp": "2026-11-23T04:12:17.123456Z"}], "position": 42}
 *
 * `position` is safe as the `after` of an append condition with the same query. The document
 * is written to `*result`, which the caller frees with dcb_buf_free; empty if the call fails.
 * It is whole in memory: for reads without a bound use a cursor.
 *
 * `request` is borrowed for the call. Any thread.
 *
 * DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_BUSY, DCB_CANCELLED, DCB_IO, DCB_CORRUPT,
 * DCB_CLOSED, DCB_NO_MEMORY.
 */
dcb_status dcb_read(dcb_store *store,
                    const char *request,
                    size_t len,
                    const dcb_call *call,
                    dcb_buf *result,
                    dcb_error *err);

/**
 * Writes the position of the newest event to `*head`; 0 in an empty store. That event is
 * durable. Any thread.
 *
 * DCB_INVALID_ARGUMENT, DCB_BUSY, DCB_CANCELLED, DCB_IO, DCB_CORRUPT, DCB_CLOSED, DCB_NO_MEMORY.
 */
dcb_status dcb_head(dcb_store *store, const dcb_call *call, int64_t *head, dcb_error *err);

/**
 * Writes the number of events to `*events`. Positions have no gaps, so it is that of dcb_head.
 * Any thread.
 *
 * The statuses of dcb_head.
 */
dcb_status dcb_count(dcb_store *store, const dcb_call *call, int64_t *events, dcb_error *err);

/**
 * Describes the store for a person who looks for a cause: in a log, or in a report of a bug. One
 * JSON object is written to `*result`, which the caller frees with dcb_buf_free; empty if the call
 * fails. Of a memory store it has the first three keys.
 *
 *     "version": "0.1.0"     the library's
 *     "store": "sqlite"      or "memory"
 *     "head": 42             the position of the newest event
 *     "path": "/x/events.db" of the file, symbolic links followed; null: in memory
 *     "read_only": false     whether appends are refused
 *     "format": 1            the version of the file's format
 *     "sqlite": "3.53.2"     SQLite's version
 *     "bundled_sqlite": true whether that is the library's own copy, and not the system's or
 *                            the host's (dcb_open_host)
 *     "locks": "open-file-description"  what guards the file against other users of it. With
 *                            "process" this process must not have it open through another
 *                            copy of SQLite. null: nothing (in memory, or immutable)
 *     "other_sqlite": false  whether another SQLite in this process has the file open; null:
 *                            it cannot be told
 *     "durable": 42          the position up to which events are known to be on the disk; null:
 *                            in memory
 *     "indexed": 40          the position up to which the index in the file goes
 *     "segments": 3          in how many parts
 *     "log_bytes": 1048576   the length of the write-ahead log, room ahead included; null:
 *                            there is none
 *     "log_held": false      whether the log is as long as it may become, because of a reader
 *                            outside of this process: appends wait for it
 *     "failure": null        why nothing more becomes durable, if that is so: a sentence
 *
 * A later version may add keys. Any thread.
 *
 * The statuses of dcb_head.
 */
dcb_status dcb_diagnose(dcb_store *store, const dcb_call *call, dcb_buf *result, dcb_error *err);

/**
 * Waits until there is an event above the position `after`, and writes the head to `*head`. It
 * returns at once if there is one already. `after` is -1 or more; -1 is as 0. It sees appends of
 * this process within a millisecond and those of other processes within 25. The default is to
 * wait without end; `timeout_ms` and `cancel` of the dcb_call end it earlier. Following a store
 * is a loop of reading what is above the last position seen, and waiting for more. Any thread;
 * other calls go on meanwhile.
 *
 * DCB_INVALID_ARGUMENT, DCB_TIMEOUT, DCB_CANCELLED, DCB_BUSY, DCB_IO, DCB_CORRUPT, DCB_CLOSED,
 * DCB_NO_MEMORY.
 */
dcb_status dcb_wait(dcb_store *store,
                    int64_t after,
                    const dcb_call *call,
                    int64_t *head,
                    dcb_error *err);

/**
 * Frees what the buffer holds and zeroes it, so that freeing it again is harmless. NULL and
 * empty buffers are ignored. Any thread; not while another one reads the buffer.
 */
void dcb_buf_free(dcb_buf *buf);

/**
 * Begins a read: `request` is a read request as dcb_read takes it, `len` 0 for every event. The
 * snapshot is taken here, and the first events are looked up: events appended later are not in
 * it. The cursor is written to `*out`, which the caller closes with dcb_cursor_close; NULL if
 * the call fails.
 *
 * `request` is borrowed for the call. Any thread.
 *
 * The statuses of dcb_read.
 */
dcb_status dcb_cursor_open(dcb_store *store,
                           const char *request,
                           size_t len,
                           const dcb_call *call,
                           dcb_cursor **out,
                           dcb_error *err);

/**
 * Gives the next events, `max` at most: their array is written to `*events`, their number to
 * `*len`. A batch may be shorter than `max` before the end is reached, for its memory is
 * bounded; only `len` 0 is the end. Events and all that they point to belong to the cursor and
 * live until the next call on it, successful or not.
 *
 * After DCB_BUSY, DCB_TIMEOUT, DCB_CANCELLED and a wrong argument the next call goes on where
 * the cursor stood; nothing is lost. Any other failure stays: every further call answers with
 * it.
 *
 * DCB_INVALID_ARGUMENT (`max` is 0), DCB_BUSY, DCB_CANCELLED, DCB_IO, DCB_CORRUPT, DCB_CLOSED,
 * DCB_NO_MEMORY.
 */
dcb_status dcb_cursor_next(dcb_cursor *cursor,
                           size_t max,
                           const dcb_call *call,
                           const dcb_event **events,
                           size_t *len,
                           dcb_error *err);

/**
 * How far the read has come. At its end (`len` was 0), and in a backward read at any time, the
 * position that is safe as the `after` of an append condition with the same query, as in
 * dcb_read. Before the end of a forward read, the position of the last event given; before the
 * first one, the request's `after`. NULL: 0. It ends no event's life. As every call on a
 * cursor, not while another thread is in one.
 */
int64_t dcb_cursor_position(const dcb_cursor *cursor);

/**
 * Closes the cursor and frees it, with the events that it gave. NULL is ignored. It may come
 * after the store's dcb_close.
 */
void dcb_cursor_close(dcb_cursor *cursor);

/**
 * Opens the store in a database that the caller has open with a SQLite of its own, and makes it
 * if there is none. The library runs its statements on the caller's connections and never opens
 * the database file; it opens the log or the journal beside it, to sync them. It needs nothing of
 * the database but tables named dcb_..., and shares the format, and the file, with stores that
 * dcb_open opens. That there are other tables is no hindrance.
 *
 * All of the header's promises hold, where every connection to the file runs at
 * `PRAGMA synchronous` NORMAL or above. There is no thread behind the store: an append now and
 * then writes, or merges, a bit of the index. A connection is given back as it was found; in
 * between it is in a transaction, with a `PRAGMA busy_timeout` of 0 where that writes or there is
 * no log, and without `read_uncommitted`. A database in memory has to have one connection only,
 * or be shared.
 *
 * `host` is copied. Its functions are called until dcb_close returns, and no longer. Of the
 * options, `read_only` and `immutable` are not to be had, and `adopt` changes nothing. The store
 * is written to `*out`, which the caller closes with dcb_close; NULL if the call fails. A call
 * that waits in `acquire` ends with its time-out; its dcb_cancel is looked at before and after.
 *
 * The statuses of dcb_open, DCB_CANCELLED where `acquire` says so, and DCB_UNAVAILABLE where the
 * host fails without a code of SQLite's,
 * as every call on the store and its cursors then answers.
 */
dcb_status dcb_open_host(const dcb_host *host,
                         const char *options_json,
                         dcb_store **out,
                         dcb_error *err);

/**
 * Appends as dcb_append does, in a transaction that the caller has open on `connection`, one of
 * its own that the functions of the store's dcb_host take. The events are stored when the caller
 * commits, as durable as that commit is, and not at all if it does not. What they are told by is
 * the transaction's own: they are among the events that conditions of later appends in it see.
 *
 * Other writers wait from here on until the transaction ends; another append of this thread, on
 * the store itself, would wait for nothing. With DCB_BUSY another writer had the database for too
 * long, or the transaction has read and others have written since: then roll all of it back and
 * run it again. After any other failure what the append has written is undone, and the
 * transaction may go on, unless the database has ended it, or the library where nothing less would
 * undo the append: then its commit fails. After DCB_IO roll it back.
 *
 * `request` is borrowed for the call, `connection` is not NULL. Any thread.
 *
 * DCB_INVALID_ARGUMENT (also: the store is not one of a host's, or the transaction is one of
 * another database, or over: to see that, the library runs a BEGIN, which has to fail) and the
 * other statuses of dcb_append.
 */
dcb_status dcb_append_within(dcb_store *store,
                             void *connection,
                             const char *request,
                             size_t len,
                             const dcb_call *call,
                             int64_t *last,
                             dcb_error *err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DCB_H */
