//! `dcb_buf`: bytes that the caller owns.

use std::ffi::c_char;
use std::mem::ManuallyDrop;
use std::ptr;

use crate::capi::boundary::Zeroable;
use crate::capi::panic::contain;

/// A buffer that the library allocated and the caller owns until dcb_buf_free. It is not
/// NUL-terminated. Pass in an empty buffer ({0}) or a freed one, for a call overwrites it. Do not
/// change `data` or `cap`.
#[repr(C)]
pub struct dcb_buf {
    /// The first byte. It is NULL in an empty buffer.
    pub data: *mut c_char,
    /// The number of bytes.
    pub len: usize,
    /// The number of bytes that were allocated.
    pub cap: usize,
}

// SAFETY: NULL and lengths of 0, the empty buffer.
unsafe impl Zeroable for dcb_buf {}

impl From<Vec<u8>> for dcb_buf {
    /// Hands the vector over as it is, without a copy.
    fn from(bytes: Vec<u8>) -> Self {
        let mut bytes = ManuallyDrop::new(bytes);
        dcb_buf { data: bytes.as_mut_ptr().cast(), len: bytes.len(), cap: bytes.capacity() }
    }
}

/// Frees the contents of `buf` and zeroes it, so that freeing it again is harmless. NULL and empty
/// buffers are ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_buf_free(buf: *mut dcb_buf) {
    // SAFETY: NULL or a buffer that is the caller's, as the header demands.
    let Some(buf) = (unsafe { buf.as_mut() }) else { return };
    let data = std::mem::replace(&mut buf.data, ptr::null_mut());
    let (len, cap) = (std::mem::take(&mut buf.len), std::mem::take(&mut buf.cap));
    if !data.is_null() {
        let _ = contain(|| {
            // SAFETY: the parts of a vector that `from` took apart; `u8` has no drop, so a
            // length that the caller has lowered does no harm.
            drop(unsafe { Vec::from_raw_parts(data.cast::<u8>(), len, cap) });
            Ok(())
        });
    }
}
