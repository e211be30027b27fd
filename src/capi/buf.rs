//! `dcb_buf`: bytes that the caller owns.

use std::ffi::c_char;
use std::mem::ManuallyDrop;
use std::ptr;

use crate::capi::boundary::Zeroable;
use crate::capi::panic::contain;

/// Bytes that the library has allocated and the caller owns, until dcb_buf_free. Not terminated:
/// use `len`. Pass in an empty one ({0}) or one that was freed: a call overwrites what is there.
/// Do not change `data` or `cap`.
#[repr(C)]
pub struct dcb_buf {
    /// The bytes; NULL in an empty buffer.
    pub data: *mut c_char,
    /// How many there are.
    pub len: usize,
    /// How many were allocated.
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

/// Frees what the buffer holds and zeroes it, so that freeing it again is harmless. NULL and
/// empty buffers are ignored. Any thread; not while another one reads the buffer.
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
