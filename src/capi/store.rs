//! `dcb_store`: a sequence of events with conditional appends.

use std::ffi::{CStr, c_char};
use std::sync::Arc;

use crate::capi::boundary::{Handle, Out, Outputs, c_string, document, utf8};
use crate::capi::buf::dcb_buf;
use crate::capi::call::dcb_call;
use crate::capi::error::dcb_error;
use crate::capi::fork::{Generation, OpenStore};
use crate::capi::status::dcb_status;
use crate::capi::{boundary, error};
use crate::commit::deadline::CallOptions;
use crate::domain::{EventView, ReadState, position_of_after};
use crate::error::Result;
use crate::json;
use crate::json::ReadResult;
use crate::sqlite::host::HostStore;
use crate::store::{Appended, BatchLimits, Store};

/// An open store. It lives from dcb_open to dcb_close. Any number of threads may use it at once
/// without locking, so open a file once and share the store.
pub struct dcb_store {
    pub(super) store: Arc<dyn Store>,
    /// The same store, where it runs on the connections of a host.
    pub(super) host: Option<Arc<HostStore>>,
    generation: Generation,
    /// Dropped last.
    _open: OpenStore,
}

impl dcb_store {
    /// A handle of this process.
    pub(super) fn new(store: Arc<dyn Store>, open: OpenStore) -> Self {
        dcb_store { store, host: None, generation: Generation::current(), _open: open }
    }

    /// A handle of a store on a host's connections.
    pub(super) fn on_host(store: Arc<HostStore>, open: OpenStore) -> Self {
        let host = Some(Arc::clone(&store));
        dcb_store { host, ..dcb_store::new(store, open) }
    }
}

impl Handle for dcb_store {
    const NAME: &'static str = "store";

    fn generation(&self) -> Generation {
        self.generation
    }
}

/// Opens the store that `uri`, a terminated string in UTF-8, names:
///
///     memory:            a new, empty store in memory, which is gone when it is closed
///     sqlite:PATH        a store in a file, for any number of threads and processes of one
///                        machine; PATH is taken as it is and not decoded
///     file:PATH?mode=M   the same file as a URI, as SQLite reads it; `mode` (ro, rw, rwc or
///                        memory) is the only parameter, and optional
///     sqlite::memory:    a new SQLite database in memory, with a single connection; like
///                        memory:, it is gone when it is closed
///     postgres://...     a schema of a PostgreSQL database; the parameters are libpq's
///
/// `options_json` is NULL for the defaults, or a terminated JSON object with any of these keys:
///
///     "read_only": false        refuse appends and write nothing to the database; the WAL and its
///                               index are created if they are missing; only for a file
///     "immutable": false        the caller guarantees that nobody writes the file; implies
///                               read_only and needs no write access to the folder; refused if
///                               there is a journal, or a WAL that is not empty
///     "create": true            create the file, or the schema, if it does not exist
///     "adopt": false            create the store in a database that already has other tables
///     "import": false           keep the timestamp of an event that is appended with one; without
///                               it, such an append is refused
///     "busy_timeout_ms": 5000   how long a call without a dcb_call waits for a lock; a negative
///                               number waits forever
///     "max_readers": 8          how many connections read at a time, 1 to 1000; others wait for one
///                               as for a lock; only for a file; dcb_backup opens one more
///     "cache_bytes": 67108864   how many bytes of events to keep in memory; only for a file
///     "schema": "dcb"           the schema; this and the next two are only for PostgreSQL
///     "pool_size": 4            how many connections for reading it opens at most, 1 to 1000
///     "allow_fsync_off": false  take a server with fsync = off, which may lose events; for tests
///
/// The store is written to `*out`, and the caller closes it with dcb_close.
///
/// It returns DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_BUSY, DCB_READ_ONLY, DCB_FULL, DCB_IO,
/// DCB_CORRUPT, DCB_UNSUPPORTED_FORMAT, DCB_CLOSED (for a SQLite store, in the child of a process
/// that had a store open at the fork), DCB_UNAVAILABLE (a server lets nobody in) or DCB_NO_MEMORY.
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
            let open = match uri {
                "memory:" => OpenStore::count(),
                uri if crate::open::is_of_postgres(uri) => OpenStore::count(),
                _ => OpenStore::count_sqlite()?,
            };
            let options = c_string(options_json).map_or(&b""[..], CStr::to_bytes);
            let store = crate::open(uri, &json::parse_options(options)?)?;
            Ok(boundary::give(dcb_store::new(store, open)))
        })
    }
}

/// Closes the store and frees it. No call on the store or on one of its cursors may be running (end
/// waiting calls with a dcb_cancel first), and none on the store may start. Its cursors may outlive
/// it: they return DCB_CLOSED and must still be closed. Appended events are already durable; closing
/// adds nothing to that. NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_close(store: *mut dcb_store) {
    // SAFETY: the pointer is what the header demands.
    unsafe {
        boundary::end(store, |store| store.store.close());
    }
}

/// What an append gives: a position, and in the error whether it is a repetition.
pub(super) struct AppendOut {
    pub(super) last: Out<i64>,
    pub(super) err: *mut dcb_error,
}

impl Outputs for AppendOut {
    type Value = Appended;

    unsafe fn clear(&self) -> Result<()> {
        // SAFETY: as this function's own.
        unsafe { self.last.clear() }
    }

    unsafe fn put(self, appended: Appended) {
        // SAFETY: as this function's own; `err` is NULL or was cleared by `boundary::call`.
        unsafe {
            self.last.put(appended.last.get());
            error::note_repetition(self.err, appended.is_repeated);
        }
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
/// On DCB_OK the events are durable, unless the store is in memory, and the `detail` of `err` is 1
/// if an earlier append with the same ids had stored them, 0 if this one did. After DCB_IO,
/// DCB_UNAVAILABLE and DCB_INTERNAL the outcome is unknown: if the events have ids, append them
/// again unchanged; they are not stored twice. After any other error nothing was stored.
///
/// It returns DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_CONDITION_FAILED, DCB_DUPLICATE_ID, DCB_BUSY,
/// DCB_CANCELLED, DCB_READ_ONLY, DCB_FULL, DCB_IO, DCB_CORRUPT, DCB_CLOSED, DCB_NO_MEMORY,
/// and of a server DCB_TIMEOUT or DCB_UNAVAILABLE.
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
        boundary::call(err, AppendOut { last: Out("last", last), err }, || {
            let store = boundary::shared(store)?;
            let call = CallOptions::from_c(call)?;
            store.store.append(json::parse_append(document(request, len)?)?, &call)
        })
    }
}

/// Reads the events that `request`, a JSON document of `len` bytes, asks for into one JSON document.
/// With a `len` of 0 it reads every event. The read result is written to `*result`, and the caller
/// frees it with dcb_buf_free. It is in memory as a whole: use a cursor for a read without a limit.
///
/// It returns DCB_INVALID_ARGUMENT, DCB_TOO_LARGE, DCB_BUSY, DCB_CANCELLED, DCB_IO, DCB_CORRUPT,
/// DCB_CLOSED, DCB_NO_MEMORY, and of a server DCB_TIMEOUT or DCB_UNAVAILABLE.
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

/// Writes the position of the newest event, which is durable, to `*head`, or 0 if the store is
/// empty.
///
/// It returns DCB_INVALID_ARGUMENT, DCB_BUSY, DCB_CANCELLED, DCB_IO, DCB_CORRUPT, DCB_CLOSED,
/// DCB_NO_MEMORY, and of a server DCB_TIMEOUT or DCB_UNAVAILABLE.
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
            Ok(store.store.head(&CallOptions::from_c(call)?)?.get())
        })
    }
}

/// Writes the number of events to `*events`. Since positions have no gaps, it is the position that
/// dcb_head returns. It returns the statuses of dcb_head.
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

/// Describes the store for a person who looks for the cause of a problem, for a log or a bug report.
/// A JSON object is written to `*result`, and the caller frees it with dcb_buf_free. For a memory
/// store it has the first three keys only. A later version may add keys.
///
///     "version": "0.1.0"      the version of the library
///     "store": "sqlite"       the kind of store, "sqlite", "postgres" or "memory"
///     "head": 42              the position of the newest event
///     "path": "/x/events.db"  the file, with symbolic links resolved; null if in memory
///     "read_only": false      whether appends are refused
///     "format": 2             the version of the file format
///     "sqlite": "3.53.2"      the version of SQLite
///     "bundled_sqlite": true  whether SQLite is the library's copy, not the system's or a host's
///     "locks": "open-file-description"  the kind of locks that this store takes; "process" are
///                             POSIX locks, which two copies of SQLite in one process must not
///                             both take on a file, and those of a host's connections; null if
///                             there are none (in memory, or immutable)
///     "other_sqlite": false   whether another SQLite in this process has it open; null: unknown
///     "durable": 42           the highest position known to be on the disk; null if in memory
///     "indexed": 40           the highest position that the index in the file covers
///     "segments": 3           the number of segments of that index
///     "log_bytes": 1048576    the length of the WAL, with preallocated space; null if none
///     "log_held": false       whether the WAL is at its maximum length because of a reader
///                             outside this process, so that appends wait for that reader
///     "failure": null         why no more events become durable, as a sentence; null if they do
///     "schema", "server"      in PostgreSQL, with more that docs/documents.md lists
///
/// It returns the statuses of dcb_head.
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

/// Waits until there is an event above the position `after` (-1 means 0), and writes the head to
/// `*head`. Appends of this process are seen within a millisecond, those of others within 25. Other
/// calls run meanwhile. It waits forever unless the dcb_call has a timeout or a dcb_cancel. To
/// follow a store, read the events above the last position seen, wait for more, and repeat. If a
/// process begins at a position where dcb_read finds no event, the history was rewound.
///
/// It returns DCB_INVALID_ARGUMENT, DCB_TIMEOUT, DCB_CANCELLED, DCB_BUSY, DCB_IO, DCB_CORRUPT,
/// DCB_UNAVAILABLE, DCB_CLOSED or DCB_NO_MEMORY.
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
            let after = position_of_after(after)?;
            Ok(store.store.wait(after, &CallOptions::from_c(call)?)?.get())
        })
    }
}
