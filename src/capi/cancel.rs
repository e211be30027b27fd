//! `dcb_cancel`: ends the calls that hold it.

use crate::capi::panic::contain;
use crate::commit::deadline::CancelToken;

/// A switch that ends calls early, from another thread. A call that holds it (dcb_call) ends
/// with DCB_CANCELLED within 50 milliseconds of dcb_cancel_trigger; where it makes events of other
/// processes durable, when the disk has. An append that is in a transaction already is not ended:
/// its true outcome is reported.
///
/// Any thread, any number of calls at once. Sticky: once triggered it stays so, and every later
/// call that is given it ends at once. Make a new one for what comes next.
pub struct dcb_cancel(pub(super) CancelToken);

/// A switch that nobody has triggered. The caller frees it with dcb_cancel_free. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn dcb_cancel_new() -> *mut dcb_cancel {
    Box::into_raw(Box::new(dcb_cancel(CancelToken::new())))
}

/// Ends the calls that hold the switch, now and later. Returns at once. NULL is ignored. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_cancel_trigger(cancel: *mut dcb_cancel) {
    // SAFETY: NULL or from dcb_cancel_new, and not yet freed, as the header demands.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        cancel.0.trigger();
    }
}

/// Frees the switch. Calls that have begun with it go on and no longer need it: whether it was
/// triggered before, they still see. NULL is ignored. Any thread.
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
