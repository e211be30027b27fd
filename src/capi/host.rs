//! The calls on a store that uses connections of the caller's own SQLite.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use crate::capi::boundary;
use crate::capi::boundary::{Out, c_string, document};
use crate::capi::call::dcb_call;
use crate::capi::error::dcb_error;
use crate::capi::fork::OpenStore;
use crate::capi::host_functions::{dcb_host, functions};
use crate::capi::status::dcb_status;
use crate::capi::store::{AppendOut, dcb_store};
use crate::commit::deadline::CallOptions;
use crate::error::Error;
use crate::json;
use crate::sql::host::ConnectionHandle;
use crate::sqlite::host::HostStore;

/// Opens the store in a SQLite database that the caller has opened with its own SQLite, and creates
/// it if it does not exist. The library runs its statements on the caller's connections and never
/// opens the database file; it opens only the WAL or the journal beside it, to sync them. It uses no
/// tables but those named dcb_...; the database may have others. The format is the one of dcb_open,
/// and stores opened with dcb_open may use the file at the same time.
///
/// Everything that dcb.h promises holds if every connection to the file runs at
/// `PRAGMA synchronous` NORMAL or above. The store has no thread: from time to time an append writes
/// or merges a part of the index. A database in memory must have a single connection or a shared
/// cache.
///
/// A connection from `acquire` is released as it was found, or as `spoiled`. While the library uses
/// it, it is in a transaction, `read_uncommitted` is off, and if the library writes or the database
/// has no WAL, `PRAGMA busy_timeout` is 0. While the library writes, `synchronous` is NORMAL if the
/// database has a WAL, which the library itself syncs before an append returns; without one,
/// `synchronous` is raised if it is OFF. Whatever lock a call meets, `acquire` included
/// (SQLITE_BUSY, SQLITE_LOCKED and their extended codes), it waits as long as the call allows, and
/// then returns DCB_BUSY. With a WAL, a read does not change the busy
/// timeout: it meets a lock only while another connection recovers or deletes the WAL, and may then
/// wait that much longer.
///
/// Triggers that the program has put on the store's tables run for appends on its connections,
/// since the library cannot turn them off there. For appends of a store that dcb_open has opened
/// they never run. An append that such a trigger refuses, or leaves an event out of, stores nothing
/// and returns DCB_INVALID_ARGUMENT, with SQLite's extended code in `detail` if there is one.
///
/// Appends that wait at the same time are committed together, by the thread of one of them: the
/// functions of the host are called for all of them in the call of that thread. If a reader keeps
/// such a commit from happening, which cannot be with a WAL, each append may return DCB_BUSY as soon
/// as the first of their calls would.
///
/// `host` is copied. Its functions are not called after dcb_close has returned. The options are
/// those of dcb_open, but `read_only`, `immutable`, `max_readers` and `cache_bytes` are refused, and `adopt` has no
/// effect. The store is written to `*out`, and the caller closes it with dcb_close. A call that
/// waits in `acquire` ends when its timeout expires; its dcb_cancel is checked before and after
/// `acquire`.
///
/// It returns the statuses of dcb_open. Like every call on the store and its cursors, it also
/// returns DCB_CANCELLED if `acquire` returns SQLITE_INTERRUPT, and DCB_UNAVAILABLE if a function of
/// the host fails without a SQLite code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_open_host(
    host: *const dcb_host,
    options_json: *const c_char,
    out: *mut *mut dcb_store,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("out", out), || {
            let functions = functions(host)?;
            let open = OpenStore::count_sqlite()?;
            let options = c_string(options_json).map_or(&b""[..], std::ffi::CStr::to_bytes);
            let options = json::parse_options(options)?;
            let store = HostStore::open(Box::new(functions), &options)?;
            Ok(boundary::give(dcb_store::on_host(Arc::new(store), open)))
        })
    }
}

/// Appends like dcb_append, within a transaction that the caller has open on `connection`. That is a
/// connection of the caller's which the functions of the store's dcb_host accept; it must not be
/// NULL. The events are stored when the caller commits, and are as durable as that commit; if the
/// caller rolls back, they are not stored. Conditions of later appends in the same transaction see
/// them.
///
/// WARNING: On DCB_OK, the `detail` of `err` is 1 if the append repeats one that is stored already.
/// The statements that the program ran beside that one were committed with it, so do not run them
/// again. Append first, and then run them only for a new append:
///
///     if (dcb_append_within(store, connection, request, len, NULL, &last, &err) != DCB_OK)
///         return roll_back(connection);
///     if (err.detail == 0)
///         take_a_seat(connection);
///     return commit(connection);
///
/// From this call until the transaction ends, other writers wait. Do not call dcb_append on this
/// store in the same thread during that time: it could not succeed. On DCB_BUSY, another writer held
/// the database for too long, or the transaction has read and others have written since: roll it
/// back and run all of it again. After another error the append is undone and the transaction may
/// continue, unless the database has ended it, or the library has rolled all of it back because it
/// could not undo the append alone: then the commit fails. After DCB_IO, roll the transaction back.
///
/// No setting of the connection changes, and the append leaves no savepoint behind. If the
/// transaction has neither read nor written before, SQLite therefore waits for the write lock as the
/// connection does, by its busy timeout or handler, and the call may end that much later than its
/// timeout or its dcb_cancel. In a transaction that has read or written, or was begun with
/// BEGIN IMMEDIATE, both hold. If the host may end the transaction during the call, `run` and
/// `query` must fail from then on, with SQLITE_MISUSE.
///
/// It returns the statuses of dcb_append. DCB_INVALID_ARGUMENT also means that dcb_open_host did
/// not open the store, or that the transaction is one of another database or has ended: to detect
/// that, the library runs a BEGIN, which must fail.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_append_within(
    store: *mut dcb_store,
    connection: *mut c_void,
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
            let request = json::parse_append(document(request, len)?)?;
            if connection.is_null() {
                return Err(Error::invalid("connection: must not be NULL"));
            }
            let Some(store) = &store.host else {
                return Err(Error::invalid("store: was not opened with dcb_open_host"));
            };
            store.append_within(
                store.transaction(ConnectionHandle::new(connection)),
                request,
                &call,
            )
        })
    }
}
