//! `dcb_cancel`: ends the calls that hold it.

use crate::capi::panic::contain;
use crate::commit::deadline::CancelToken;

/// Ends calls early, from another thread. A call that was given it in a dcb_call returns
/// DCB_CANCELLED within 50 milliseconds of dcb_cancel_trigger or, if it is syncing events of another
/// process to the disk, when that completes. An append that is already in a transaction is not
/// ended: it returns its true outcome.
///
/// Any number of threads and calls may use one at the same time. Once triggered it stays triggered,
/// and every later call that is given it ends at once.
pub struct dcb_cancel(pub(super) CancelToken);

/// Creates a dcb_cancel that is not triggered. The caller frees it with dcb_cancel_free.
#[unsafe(no_mangle)]
pub extern "C" fn dcb_cancel_new() -> *mut dcb_cancel {
    Box::into_raw(Box::new(dcb_cancel(CancelToken::new())))
}

/// Ends the calls that use `cancel`, running and future ones. It returns at once. NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_cancel_trigger(cancel: *mut dcb_cancel) {
    // SAFETY: NULL or from dcb_cancel_new, and not yet freed, as the header demands.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        cancel.0.trigger();
    }
}

/// Frees `cancel`. Calls that are running with it continue, and still end if it was triggered
/// before it was freed. NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_cancel_free(cancel: *mut dcb_cancel) {
    if !cancel.is_null() {
        let _ = contain(|| {
            // SAFETY: from dcb_cancel_new, and freed once, as the header demands.
            drop(unsafe { Box::from_raw(cancel) });
            Ok(())
        });
    }
}
