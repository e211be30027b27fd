//! `dcb_status`: the outcome of a call.

use std::ffi::{CStr, c_char};

use crate::error::Status;

/// The outcome of a call: one of the DCB_ constants from DCB_OK to DCB_NO_MEMORY. The numbers
/// never change; a later version of the library may add to them, so treat one that you do not
/// know as a failure.
pub type dcb_status = i32;

/// "ok": the call did what it was asked.
pub const DCB_OK: dcb_status = 0;
/// "condition_failed": an append condition does not hold, and nothing was stored. An expected
/// outcome: read again, decide again, append again. The error's `position` is the lowest one
/// that makes any of the conditions fail; the next read sees that event.
pub const DCB_CONDITION_FAILED: dcb_status = 1;
/// "duplicate_id": an event id of the append is stored already, and the append is not a
/// repetition of the one that stored it. The error's `position` is that of the stored event.
/// Nothing was stored.
pub const DCB_DUPLICATE_ID: dcb_status = 2;
/// "invalid_argument": the request breaks a rule, or a pointer is NULL where it must not be. The
/// message names the place: "events[2].tags[0]: a tag must not be empty". Nothing was done.
pub const DCB_INVALID_ARGUMENT: dcb_status = 3;
/// "too_large": a DCB_MAX_ limit is passed; the message says which one and where. Nothing was
/// done.
pub const DCB_TOO_LARGE: dcb_status = 4;
/// "busy": a lock was not to be had in time. Nothing was stored; trying again is fine.
pub const DCB_BUSY: dcb_status = 5;
/// "timeout": the time of a dcb_wait ran out.
pub const DCB_TIMEOUT: dcb_status = 6;
/// "cancelled": the call's dcb_cancel was triggered. Nothing was stored.
pub const DCB_CANCELLED: dcb_status = 7;
/// "read_only": an append to a store that was opened read-only, or whose file cannot be written.
pub const DCB_READ_ONLY: dcb_status = 8;
/// "full": the disk or a quota is used up. Nothing was stored.
pub const DCB_FULL: dcb_status = 9;
/// "io": the system failed to read, write, sync, lock or open; the error's `detail` is its code.
/// After an append the outcome is unknown: append again with the same ids.
pub const DCB_IO: dcb_status = 10;
/// "corrupt": the file contradicts itself. Restore it from a backup.
pub const DCB_CORRUPT: dcb_status = 11;
/// "unsupported_format": not a database, not a store, or a store of a newer version of the
/// library. Not a byte of the file was changed.
pub const DCB_UNSUPPORTED_FORMAT: dcb_status = 12;
/// "closed": the store was closed, or this process is the child of a fork and the handle is its
/// parent's.
pub const DCB_CLOSED: dcb_status = 13;
/// "unavailable": the store cannot be reached at present. After an append the outcome is
/// unknown, as with DCB_IO.
pub const DCB_UNAVAILABLE: dcb_status = 14;
/// "internal": a bug in the library; please report its message. After an append the outcome is
/// unknown, as with DCB_IO.
pub const DCB_INTERNAL: dcb_status = 15;
/// "no_memory": the memory for an input, a result or a part of the file was refused. Nothing was
/// stored.
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

/// The name of a status, as the documentation gives it: "condition_failed". For a number that
/// this version does not know, "unknown". Never NULL; the text is static. Any thread.
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
