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
use crate::error::{Error, Status};

/// Copies the store to a new file at `path` (UTF-8, taken as it is) while any number of threads and
/// processes read and append. The copy is one file and the store of one moment: it has the events up
/// to the position that is written to `*head`, all of them durable, and none above.
///
/// The copy is written to a hidden file in the same folder, `.dcb-backup-` with two numbers, synced,
/// checked (its structure and the checksum of every event), and then renamed. It never replaces a
/// file. Unless it returns DCB_OK no file is left; a process that is killed may leave the hidden one.
///
/// `progress` is NULL, or it is called with `context` in this thread after each step. It returns 0
/// to go on; another value ends the backup with DCB_CANCELLED. It must not unwind. It may use the
/// store, unless that is one of sqlite::memory:. When all pages are copied, syncing and checking take
/// about as long again. `timeout_ms` limits the whole backup, then it returns DCB_TIMEOUT.
///
/// Appends go on, but the WAL is not reset before the pages are copied: at its limit of 1 GiB appends
/// wait. A read_only store on a file in rollback mode keeps that file's writers waiting until then.
///
/// It returns DCB_INVALID_ARGUMENT (also for `memory:` and a host's store; `detail` is EEXIST if
/// `path` or a WAL or journal beside it exists), DCB_BUSY, DCB_TIMEOUT, DCB_CANCELLED, DCB_FULL,
/// DCB_IO, DCB_CORRUPT, DCB_CLOSED or DCB_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_backup(
    store: *mut dcb_store,
    path: *const c_char,
    call: *const dcb_call,
    progress: Option<
        unsafe extern "C" fn(context: *mut c_void, done_pages: i64, total_pages: i64) -> i32,
    >,
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
            let head = store.store.backup(path, &call, &mut |now| match progress {
                Some(progress) if progress(context, now.done_pages, now.total_pages) != 0 => {
                    Err(Error::new(Status::Cancelled, "the progress function ended the backup"))
                }
                _ => Ok(()),
            })?;
            Ok(head.get())
        })
    }
}
