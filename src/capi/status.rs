//! `dcb_status`: the outcome of a call.

use std::ffi::{CStr, c_char};

use crate::error::Status;

/// The outcome of a call: one of the constants from DCB_OK to DCB_NO_MEMORY. Their numbers never
/// change. A later version may add statuses, so treat an unknown one as a failure.
pub type dcb_status = i32;

/// "ok": the call succeeded.
pub const DCB_OK: dcb_status = 0;
/// "condition_failed": an append condition failed, and nothing was stored. This is an expected
/// outcome: read, decide and append again. The error's `position` is the lowest position that makes
/// any of the conditions fail, and the next read sees that event. The error's `detail` is the index
/// of the first condition that fails, in the order of the request.
pub const DCB_CONDITION_FAILED: dcb_status = 1;
/// "duplicate_id": an event id of the append is already stored, and the append does not repeat the
/// one that stored it. Nothing was stored. The error's `position` is that of the stored event.
pub const DCB_DUPLICATE_ID: dcb_status = 2;
/// "invalid_argument": the request is invalid, or a pointer is NULL that must not be. The message
/// names the place: "events[2].tags[0]: a tag must not be empty". Nothing was done.
pub const DCB_INVALID_ARGUMENT: dcb_status = 3;
/// "too_large": the request exceeds a DCB_MAX_ limit. The message says which one and where. Nothing
/// was done.
pub const DCB_TOO_LARGE: dcb_status = 4;
/// "busy": a lock could not be acquired in time. Nothing was stored, and the call may be repeated.
pub const DCB_BUSY: dcb_status = 5;
/// "timeout": the timeout of a dcb_wait expired.
pub const DCB_TIMEOUT: dcb_status = 6;
/// "cancelled": the call's dcb_cancel was triggered. Nothing was stored.
pub const DCB_CANCELLED: dcb_status = 7;
/// "read_only": the store was opened read-only, or its file cannot be written. Nothing was stored.
pub const DCB_READ_ONLY: dcb_status = 8;
/// "full": the disk is full or a quota is used up. Nothing was stored.
pub const DCB_FULL: dcb_status = 9;
/// "io": the system could not read, write, sync, lock or open a file. The error's `detail` is its
/// code. The outcome of an append is unknown: append the events again, with the same ids.
pub const DCB_IO: dcb_status = 10;
/// "corrupt": the contents of the file are inconsistent. Restore it from a backup.
pub const DCB_CORRUPT: dcb_status = 11;
/// "unsupported_format": the file is not a database, not a store, or was written by a newer version
/// of the library. Not a byte of it was changed.
pub const DCB_UNSUPPORTED_FORMAT: dcb_status = 12;
/// "closed": the store was closed, or the handle belongs to the parent of this forked process.
pub const DCB_CLOSED: dcb_status = 13;
/// "unavailable": the store cannot be reached at present. The outcome of an append is unknown, as
/// with DCB_IO.
pub const DCB_UNAVAILABLE: dcb_status = 14;
/// "internal": the library has a bug. Please report the message. The outcome of an append is
/// unknown, as with DCB_IO.
pub const DCB_INTERNAL: dcb_status = 15;
/// "no_memory": memory for an input, a result or a part of the file could not be allocated. Nothing
/// was stored.
pub const DCB_NO_MEMORY: dcb_status = 16;

const NAMES: [&CStr; Status::ALL.len()] = [
    c"ok",
    c"condition_failed",
    c"duplicate_id",
    c"invalid_argument",
    c"too_large",
    c"busy",
    c"timeout",
    c"cancelled",
    c"read_only",
    c"full",
    c"io",
    c"corrupt",
    c"unsupported_format",
    c"closed",
    c"unavailable",
    c"internal",
    c"no_memory",
];

/// Returns the name of a status as a static string: "condition_failed". The name of an unknown
/// status is "unknown".
#[unsafe(no_mangle)]
pub extern "C" fn dcb_status_name(status: dcb_status) -> *const c_char {
    let known = usize::try_from(status).ok().and_then(|index| NAMES.get(index));
    known.copied().unwrap_or(c"unknown").as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_names_are_the_core_s() {
        let constants = [
            DCB_OK,
            DCB_CONDITION_FAILED,
            DCB_DUPLICATE_ID,
            DCB_INVALID_ARGUMENT,
            DCB_TOO_LARGE,
            DCB_BUSY,
            DCB_TIMEOUT,
            DCB_CANCELLED,
            DCB_READ_ONLY,
            DCB_FULL,
            DCB_IO,
            DCB_CORRUPT,
            DCB_UNSUPPORTED_FORMAT,
            DCB_CLOSED,
            DCB_UNAVAILABLE,
            DCB_INTERNAL,
            DCB_NO_MEMORY,
        ];
        for (status, (constant, name)) in Status::ALL.iter().zip(constants.iter().zip(NAMES)) {
            assert_eq!(*status as dcb_status, *constant);
            assert_eq!(status.name(), name.to_str().unwrap());
        }
        assert_eq!(Status::ALL.len(), constants.len());
    }
}
