//! `dcb_backup`: a copy of a store that is in use.

use std::ffi::{c_char, c_void};
use std::path::Path;

use crate::capi::boundary;
use crate::capi::boundary::{Out, utf8};
use crate::capi::call::dcb_call;
use crate::capi::error::dcb_error;
use crate::capi::status::dcb_status;
use crate::capi::store::dcb_store;
use crate::commit::deadline::CallOptions;

/// Copies the store to a new file at `path`, which is UTF-8 and taken as it is, while any number of
/// threads and processes read and append. The copy is the store of one moment: it has the events
/// up to the position that is written to `*head`, all of them durable, and none above. It also has
/// the other tables of an adopted database. It is one file without a log, which may be read where
/// it is, or put in the place of a lost store.
///
/// The copy is written in the same folder as a hidden file, `.dcb-backup-` with two numbers, synced
/// to the disk, and checked: its structure, and the checksum of every event. Only then is it
/// renamed to `path`. With every status but DCB_OK no file is left. (A process that is killed
/// leaves the hidden file, which may be deleted.) A file that exists is never replaced. The file
/// gets the permissions of the store's file, less what the process's umask takes away.
///
/// `progress` is NULL, or called with `context` after each of many steps, in the thread of this
/// call: `done_pages` of the `total_pages` of the database are copied by then. When they are all
/// copied, syncing and checking take about as long again. It must not unwind. It may trigger the
/// dcb_cancel of this call, and may use the store, unless that is one of sqlite::memory:.
///
/// Of the dcb_call, `timeout_ms` limits how long the whole backup may take, then DCB_TIMEOUT;
/// without a dcb_call nothing does. A backup that is cancelled ends as soon as the step or the sync
/// that is under way has ended.
///
/// Appends go on meanwhile, but the write-ahead log is not reset before the pages are copied: it
/// grows by what is appended, and at its limit of 1 GiB appends wait for the copy. A store of
/// sqlite::memory: has one connection, which the copy uses until the pages are copied. A read_only
/// store on a database in rollback mode keeps that database's writers waiting until then.
///
/// `path` is borrowed for the call. Any thread.
///
/// DCB_INVALID_ARGUMENT (also: there is a file at `path`, or a log or a journal beside it, then
/// `detail` is EEXIST; or the store is `memory:`; or it is one of a host's, whose own SQLite makes
/// copies by VACUUM INTO), DCB_BUSY, DCB_TIMEOUT, DCB_CANCELLED, DCB_FULL, DCB_IO, DCB_CORRUPT (the
/// store is damaged), DCB_CLOSED, DCB_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_backup(
    store: *mut dcb_store,
    path: *const c_char,
    call: *const dcb_call,
    progress: Option<unsafe extern "C" fn(context: *mut c_void, done_pages: i64, total_pages: i64)>,
    context: *mut c_void,
    head: *mut i64,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("head", head), || {
            let store = boundary::shared(store)?;
            let call = CallOptions::from_c(call)?;
            let path = Path::new(utf8(path, "path")?);
            store.store.backup(path, &call, &mut |now| {
                if let Some(progress) = progress {
                    progress(context, now.done_pages, now.total_pages);
                }
            })
        })
    }
}
