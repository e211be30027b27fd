//! `dcb_error`: why a call failed, in a struct of the caller's.

use std::ffi::c_char;

use crate::capi::status::{DCB_OK, dcb_status};
use crate::error::Error;

/// Says why a call failed. The caller owns it, usually on the stack; there is nothing to free. A
/// call zeroes it on entry and fills it if it fails. Its size, 256 bytes, never changes.
#[repr(C)]
pub struct dcb_error {
    /// The status that the call returned.
    pub status: dcb_status,
    /// With DCB_CONDITION_FAILED, the index (from 0) of the first condition of the request that
    /// fails. After an append that returned DCB_OK, 1 if it repeated a stored append and 0 if it
    /// stored its events. With another error, SQLite's extended result code, the system's errno or
    /// PostgreSQL's SQLSTATE (five digits of base 36) if one of them is the cause. Otherwise 0.
    pub detail: i32,
    /// With DCB_CONDITION_FAILED and DCB_DUPLICATE_ID, the position of the event that the append
    /// was refused for. Otherwise 0.
    pub position: i64,
    /// One sentence for a person to read, in UTF-8. It is always terminated; if it is too long, it
    /// is truncated between two characters.
    pub message: [c_char; 240],
}

const _: () = assert!(size_of::<dcb_error>() == 256);

/// Zeroes what the caller holds.
///
/// # Safety
/// `err` is NULL or valid for a write.
pub(super) unsafe fn clear(err: *mut dcb_error) {
    if !err.is_null() {
        // SAFETY: valid for a write; zero bytes are a dcb_error.
        unsafe { err.write_bytes(0, 1) };
    }
}

/// Fills what the caller holds, which is zeroed.
///
/// # Safety
/// `err` is NULL or was cleared by [`clear`].
pub(super) unsafe fn report(err: *mut dcb_error, error: &Error) -> dcb_status {
    let status = error.status as dcb_status;
    debug_assert_ne!(status, DCB_OK);
    // SAFETY: NULL or, being cleared, an initialised dcb_error.
    if let Some(err) = unsafe { err.as_mut() } {
        err.status = status;
        err.detail = error.detail;
        err.position = error.position.get();
        // One byte stays zero behind the message.
        let room = err.message.len() - 1;
        for (to, from) in err.message.iter_mut().zip(cut(&error.message, room).bytes()) {
            *to = from as c_char;
        }
    }
    status
}

/// Says of an append that succeeded whether it is a repetition.
///
/// # Safety
/// `err` is NULL or was cleared by [`clear`].
pub(super) unsafe fn note_repetition(err: *mut dcb_error, is_repeated: bool) {
    // SAFETY: NULL or, being cleared, an initialised dcb_error.
    if let Some(err) = unsafe { err.as_mut() } {
        err.detail = i32::from(is_repeated);
    }
}

/// As many whole characters of `text` as fit into `room` bytes.
fn cut(text: &str, room: usize) -> &str {
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::mem::MaybeUninit;

    use super::*;
    use crate::error::Status;
    use crate::position::at;

    #[test]
    fn a_message_is_cut_between_characters_and_terminated() {
        for (message, kept) in
            [("short".to_owned(), 5), ("x".repeat(239), 239), ("x".repeat(240), 239)]
                .into_iter()
                .chain([(format!("{}é", "x".repeat(238)), 238), ("€".repeat(90), 237)])
        {
            let mut err = MaybeUninit::<dcb_error>::uninit();
            let error = Error { position: at(7), ..Error::new(Status::Io, message.clone()) };
            // SAFETY: a dcb_error of our own.
            let err = unsafe {
                clear(err.as_mut_ptr());
                assert_eq!(report(err.as_mut_ptr(), &error.with_detail(5)), 10);
                err.assume_init()
            };
            assert_eq!((err.status, err.detail, err.position), (10, 5, 7));
            // SAFETY: terminated, or the test is about to fail anyway.
            let text = unsafe { CStr::from_ptr(err.message.as_ptr()) }.to_str().unwrap();
            assert_eq!(text, &message[..kept]);
        }
    }
}
