//! `dcb_store`: a sequence of events with conditional appends.

use std::ffi::{CStr, c_char};
use std::sync::Arc;

use crate::capi::boundary;
use crate::capi::boundary::{Handle, Out, c_string, document, utf8};
use crate::capi::buf::dcb_buf;
use crate::capi::call::dcb_call;
use crate::capi::error::dcb_error;
use crate::capi::fork::Generation;
use crate::capi::host::Functions;
use crate::capi::status::dcb_status;
use crate::commit::deadline::CallOptions;
use crate::domain::{EventView, ReadState};
use crate::error::Result;
use crate::json;
use crate::json::ReadResult;
use crate::sqlite::host::HostStore;
use crate::store::{BatchLimits, Store};

/// An open store. Any thread may use it, any number of threads at once, without a lock of the
/// caller's; open a file once and share the store. From dcb_open to dcb_close.
pub struct dcb_store {
    pub(super) store: Arc<dyn Store>,
    /// The same store, where it runs on the connections of a host.
    pub(super) host: Option<(Arc<HostStore>, Functions)>,
    generation: Generation,
}

impl dcb_store {
    /// A handle of this process.
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        dcb_store { store, host: None, generation: Generation::current() }
    }

    /// A handle of a store on a host's connections.
    pub(super) fn of_host(store: Arc<HostStore>, functions: Functions) -> Self {
        let host = Some((Arc::clone(&store), functions));
        dcb_store { host, ..dcb_store::new(store) }
    }
}

impl Handle for dcb_store {
    const NAME: &'static str = "store";

    fn generation(&self) -> Generation {
        self.generation
    }
}

/// Opens the store that `uri` names:
///
///     memory:            a store of its own each time; gone when it is closed
///     sqlite:PATH        one file, for any number of threads and processes of one machine; PATH
///                        is taken as it is, nothing in it is decoded
///     file:PATH?mode=M   the same, as a URI that SQLite would take: mode (ro, rw, rwc or memory)
///                        is the only parameter, and may be left out
///     sqlite::memory:    a SQLite database of its own; one connection, nothing durable
///
/// `uri` is UTF-8. `options_json` is NULL for the defaults, or a JSON object with any of
///
///     "read_only": false        refuse appends, and write nothing to the database (the log and
///                               its index are made where they are missing); of a file only
///     "immutable": false        the caller vouches that nobody writes the file; implies
///                               read_only, and needs no write access to the folder; refused
///                               where there is a log (-wal) that is not empty, or a journal
///     "create": true            create the file if there is none
///     "adopt": false            take a store into a database that has other tables already
///     "busy_timeout_ms": 5000   how long a call without a dcb_call waits for a lock; below 0:
///                               without end
///
/// The store is written to `*out`, which the caller closes with dcb_close; NULL if the call
/// fails. Any thread.
///
/// DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_BUSY, DCB_READ_ONLY, DCB_FULL, DCB_IO, DCB_CORRUPT,
/// DCB_UNSUPPORTED_FORMAT (the file is not a database, not a store, or newer than this library;
/// not a byte of it changes), DCB_CLOSED (a SQLite store in the child of a fork), DCB_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_open(
    uri: *const c_char,
    options_json: *const c_char,
    out: *mut *mut dcb_store,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("out", out), || {
            let uri = utf8(uri, "uri")?;
            // A copy of SQLite that was in use at a fork cannot be trusted with locks.
            if Generation::current().is_child() && uri != "memory:" {
                return Err(boundary::closed_by_fork());
            }
            let options = c_string(options_json).map_or(&b""[..], CStr::to_bytes);
            let store = crate::open(uri, &json::parse_options(options)?)?;
            Ok(boundary::give(dcb_store::new(store)))
        })
    }
}

/// Closes the store and frees it. No other call on it, or on one of its cursors, may run, and none
/// on it may begin; end waiting ones with a dcb_cancel first. Its cursors may outlive it: they
/// answer DCB_CLOSED and are still to be closed. NULL is ignored. What was appended is durable
/// already; closing adds nothing to that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_close(store: *mut dcb_store) {
    // SAFETY: the pointer is what the header demands.
    unsafe {
        boundary::end(store, |store| store.store.close());
    }
}

/// Appends the events of `request`, a JSON document of `len` bytes: all of them or none. The
/// position of the last one is written to `*last`.
///
///     {"events": [{"type": "StudentSubscribed",
///                  "tags": ["course:c1", "student:s1"],
///                  "data": {"seat": 7}}],
///      "condition": {"failIfEventsMatch": {"items": [{"tags": ["course:c1"]}]}, "after": 12}}
///
/// With DCB_OK the events are durable (but in the memory stores). With DCB_CONDITION_FAILED and
/// DCB_DUPLICATE_ID the error's `position` says for which event, and nothing was stored. After
/// DCB_IO, DCB_UNAVAILABLE and DCB_INTERNAL the outcome is unknown: events that carry an `id`
/// may be appended again as they are, and if they are stored already, that succeeds with the
/// positions that they have. Every other status means that nothing was stored.
///
/// `request` is borrowed for the call. Any thread.
///
/// DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_CONDITION_FAILED, DCB_DUPLICATE_ID, DCB_BUSY,
/// DCB_CANCELLED, DCB_READ_ONLY, DCB_FULL, DCB_IO, DCB_CORRUPT, DCB_CLOSED, DCB_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_append(
    store: *mut dcb_store,
    request: *const c_char,
    len: usize,
    call: *const dcb_call,
    last: *mut i64,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("last", last), || {
            let store = boundary::shared(store)?;
            let call = CallOptions::from_c(call)?;
            store.store.append(json::parse_append(document(request, len)?)?, &call)
        })
    }
}

/// Reads what matches `request`, a JSON document of `len` bytes, into one JSON document. With
/// `len` 0 it is the request for every event.
///
///     {"query": {"items": [{"types": ["StudentSubscribed"], "tags": ["course:c1"]}]},
///      "after": 0, "before": null, "limit": null, "backwards": false}
///
/// gives
///
///     {"events": [{"position": 3, "type": "StudentSubscribed", "tags": [...], "data": {...},
///                  "timestamp": "2026-11-23T04:12:17.123456Z"}], "position": 42}
///
/// `position` is safe as the `after` of an append condition with the same query. The document
/// is written to `*result`, which the caller frees with dcb_buf_free; empty if the call fails.
/// It is whole in memory: for reads without a bound use a cursor.
///
/// `request` is borrowed for the call. Any thread.
///
/// DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_BUSY, DCB_CANCELLED, DCB_IO, DCB_CORRUPT,
/// DCB_CLOSED, DCB_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_read(
    store: *mut dcb_store,
    request: *const c_char,
    len: usize,
    call: *const dcb_call,
    result: *mut dcb_buf,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("result", result), || {
            let store = boundary::shared(store)?;
            let call = CallOptions::from_c(call)?;
            let request = json::parse_read(document(request, len)?)?;
            read_all(&*store.store, ReadState::new(request), &call).map(dcb_buf::from)
        })
    }
}

/// The whole read as a document.
fn read_all(store: &dyn Store, mut reading: ReadState, call: &CallOptions) -> Result<Vec<u8>> {
    let batch = BatchLimits { max_events: usize::MAX, max_bytes: usize::MAX };
    let mut result = ReadResult::new();
    loop {
        let mut given = false;
        store.read(&mut reading, batch, call, &mut |event: &EventView<'_>| {
            given = true;
            result.event(event)
        })?;
        if !given || reading.span().is_none() {
            return result.finish(reading.position());
        }
    }
}

/// Writes the position of the newest event to `*head`; 0 in an empty store. That event is
/// durable. Any thread.
///
/// DCB_INVALID_ARGUMENT, DCB_BUSY, DCB_CANCELLED, DCB_IO, DCB_CORRUPT, DCB_CLOSED, DCB_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_head(
    store: *mut dcb_store,
    call: *const dcb_call,
    head: *mut i64,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("head", head), || {
            let store = boundary::shared(store)?;
            store.store.head(&CallOptions::from_c(call)?)
        })
    }
}

/// Writes the number of events to `*events`. Positions have no gaps, so it is that of dcb_head.
/// Any thread.
///
/// The statuses of dcb_head.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_count(
    store: *mut dcb_store,
    call: *const dcb_call,
    events: *mut i64,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("events", events), || {
            let store = boundary::shared(store)?;
            store.store.count(&CallOptions::from_c(call)?)
        })
    }
}

/// Describes the store for a person who looks for a cause: in a log, or in a report of a bug. One
/// JSON object is written to `*result`, which the caller frees with dcb_buf_free; empty if the call
/// fails. Of a memory store it has the first three keys.
///
///     "version": "0.1.0"     the library's
///     "store": "sqlite"      or "memory"
///     "head": 42             the position of the newest event
///     "path": "/x/events.db" of the file, symbolic links followed; null: in memory
///     "read_only": false     whether appends are refused
///     "format": 1            the version of the file's format
///     "sqlite": "3.53.2"     SQLite's version
///     "bundled_sqlite": true whether that is the library's own copy, and not the system's or
///                            the host's (dcb_open_host)
///     "locks": "open-file-description"  what guards the file against other users of it. With
///                            "process" this process must not have it open through another
///                            copy of SQLite. null: nothing (in memory, or immutable)
///     "other_sqlite": false  whether another SQLite in this process has the file open; null:
///                            it cannot be told
///     "durable": 42          the position up to which events are known to be on the disk; null:
///                            in memory
///     "indexed": 40          the position up to which the index in the file goes
///     "segments": 3          in how many parts
///     "log_bytes": 1048576   the length of the write-ahead log, room ahead included; null:
///                            there is none
///     "log_held": false      whether the log is as long as it may become, because of a reader
///                            outside of this process: appends wait for it
///     "failure": null        why nothing more becomes durable, if that is so: a sentence
///
/// A later version may add keys. Any thread.
///
/// The statuses of dcb_head.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_diagnose(
    store: *mut dcb_store,
    call: *const dcb_call,
    result: *mut dcb_buf,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("result", result), || {
            let store = boundary::shared(store)?;
            let diagnosis = store.store.diagnose(&CallOptions::from_c(call)?)?;
            Ok(dcb_buf::from(json::diagnosis(&diagnosis)))
        })
    }
}

/// Waits until there is an event above the position `after`, and writes the head to `*head`. It
/// returns at once if there is one already. `after` is -1 or more; -1 is as 0. It sees appends of
/// this process within a millisecond and those of other processes within 25. The default is to
/// wait without end; `timeout_ms` and `cancel` of the dcb_call end it earlier. Following a store
/// is a loop of reading what is above the last position seen, and waiting for more. Any thread;
/// other calls go on meanwhile.
///
/// DCB_INVALID_ARGUMENT, DCB_TIMEOUT, DCB_CANCELLED, DCB_BUSY, DCB_IO, DCB_CORRUPT, DCB_CLOSED,
/// DCB_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_wait(
    store: *mut dcb_store,
    after: i64,
    call: *const dcb_call,
    head: *mut i64,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("head", head), || {
            let store = boundary::shared(store)?;
            store.store.wait(after, &CallOptions::from_c(call)?)
        })
    }
}
