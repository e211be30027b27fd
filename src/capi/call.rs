//! `dcb_call`: what one call is given beside its request.

use std::time::Duration;

use crate::capi::cancel::dcb_cancel;
use crate::commit::deadline::{CallOptions, Timeout};
use crate::error::{Error, Result};

/// How long one call may wait, and who may end it early. The caller's own struct, borrowed for
/// the call; pass NULL for the defaults. Set `size` to sizeof(dcb_call): a later version may add
/// fields at the end, and a library never reads past the size that it is given. The struct is
/// the only one here that may grow.
///
///     dcb_call call = {sizeof call, 250, NULL};
#[repr(C)]
pub struct dcb_call {
    /// sizeof(dcb_call). Smaller than that of the first version: DCB_INVALID_ARGUMENT.
    pub size: usize,
    /// How long the call may wait for a lock (then DCB_BUSY), or dcb_wait for an event (then
    /// DCB_TIMEOUT), in milliseconds. Below 0: without end. 0: not at all. Without a dcb_call:
    /// the store's option `busy_timeout_ms` for locks, without end for dcb_wait.
    pub timeout_ms: i64,
    /// Ends the call when triggered; NULL: nobody does.
    pub cancel: *mut dcb_cancel,
}

const _: () = assert!(size_of::<dcb_call>() == 8 + 2 * size_of::<usize>());

impl CallOptions {
    /// What the caller gave; NULL: the defaults.
    ///
    /// # Safety
    /// `call` is NULL or valid for reads of as many bytes as its `size` says, and its cancel is
    /// NULL or not yet freed.
    pub(super) unsafe fn from_c(call: *const dcb_call) -> Result<Self> {
        if call.is_null() {
            return Ok(CallOptions::default());
        }
        // SAFETY: the size is there, whatever it says; the rest is only once it says so.
        let call = unsafe {
            if (&raw const (*call).size).read() < size_of::<dcb_call>() {
                return Err(Error::invalid("call.size: must be sizeof(dcb_call)"));
            }
            &*call
        };
        let timeout = match u64::try_from(call.timeout_ms) {
            Ok(milliseconds) => Timeout::After(Duration::from_millis(milliseconds)),
            Err(_) => Timeout::Never,
        };
        // SAFETY: NULL or from dcb_cancel_new; the clone outlives a dcb_cancel_free.
        let cancel = unsafe { call.cancel.as_ref() }.map(|cancel| cancel.0.clone());
        Ok(CallOptions { timeout, cancel })
    }
}
