//! `dcb_call`: what one call is given beside its request.

use std::time::Duration;

use crate::capi::cancel::dcb_cancel;
use crate::commit::deadline::{CallOptions, Timeout};
use crate::error::{Error, Result};

/// Says how long a call may wait, and lets another thread end it early. The caller owns it; NULL
/// stands for the defaults. This is the only struct of this header that may grow: a later version
/// may add fields at its end, and the library never reads past `size`.
///
///     dcb_call call = {sizeof call, 250, NULL};
#[repr(C)]
pub struct dcb_call {
    /// Set this to sizeof(dcb_call). A smaller size than the first version's is
    /// DCB_INVALID_ARGUMENT.
    pub size: usize,
    /// The timeout in milliseconds: for locks (it then returns DCB_BUSY), and in dcb_wait for an
    /// event (it then returns DCB_TIMEOUT). 0 does not wait, and a negative number waits forever.
    /// A call without a dcb_call waits for locks as long as the store's option `busy_timeout_ms`
    /// says, and in dcb_wait forever.
    pub timeout_ms: i64,
    /// The call ends when this is triggered. It may be NULL.
    pub cancel: *mut dcb_cancel,
}

const _: () = {
    // A 64-bit integer is aligned to 8 bytes on 64-bit machines and on 32-bit Arm, to 4 on 32-bit
    // x86: there may be room before it, and after the last field.
    let (word, align) = (size_of::<usize>(), align_of::<i64>());
    let timeout_at = word.next_multiple_of(align);
    let end = timeout_at + size_of::<i64>() + word;
    assert!(std::mem::offset_of!(dcb_call, timeout_ms) == timeout_at);
    assert!(size_of::<dcb_call>() == end.next_multiple_of(if align > word { align } else { word }));
};

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
