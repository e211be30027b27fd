//! Mapping SQLite's errors to the library's statuses.

use std::io;

use rusqlite::{Connection, ErrorCode, ffi};

use crate::error::{Error, Status};

/// Returns the error for a lock that was not acquired before the deadline.
pub fn busy() -> Error {
    Error::new(
        Status::Busy,
        "timed out waiting for a lock on the database: retry, or allow more time",
    )
    .with_detail(rusqlite::ffi::SQLITE_BUSY)
}

/// Returns whether `error` says that another connection holds a lock.
pub fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

/// Converts an error of a host's connection, given as an extended result code of its SQLite. Code 0
/// means that the host failed for a reason without a code.
pub fn of_code(code: i32, message: &str) -> Error {
    let status = match code {
        0 => Status::Unavailable,
        rusqlite::ffi::SQLITE_INTERRUPT => Status::Cancelled,
        rusqlite::ffi::SQLITE_MISUSE => Status::InvalidArgument,
        _ => {
            let error = rusqlite::ffi::Error::new(code);
            return from_sqlite(rusqlite::Error::SqliteFailure(error, Some(message.into())));
        }
    };
    Error::new(status, message.to_owned()).with_detail(code)
}

/// Converts an error of the library's own SQLite, with the extended result code as its detail.
pub fn from_sqlite(error: rusqlite::Error) -> Error {
    let code = error.sqlite_error().map_or(0, |inner| inner.extended_code);
    let status = match error.sqlite_error_code() {
        Some(ErrorCode::OutOfMemory) => Status::NoMemory,
        _ if code == rusqlite::ffi::SQLITE_IOERR_NOMEM => Status::NoMemory,
        // The WAL-index could not grow, for which there is no other cause in practice.
        _ if code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => Status::Full,
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => Status::Busy,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Status::ReadOnly,
        Some(ErrorCode::DiskFull) => Status::Full,
        Some(
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::NoLargeFileSupport,
        ) => Status::Io,
        Some(ErrorCode::DatabaseCorrupt) => Status::Corrupt,
        Some(ErrorCode::NotADatabase) => Status::UnsupportedFormat,
        // The library's own statements get these only if the schema or a row is not as the library
        // wrote it: the largest event is far below the length that SQLite rejects.
        Some(
            ErrorCode::ConstraintViolation
            | ErrorCode::Unknown
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig,
        ) => Status::Corrupt,
        None => Status::Corrupt,
        Some(_) => Status::Internal,
    };
    let message = match &error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => format!("the database reported: {text}"),
        other => format!("the database reported: {other}"),
    };
    Error::new(status, message).with_detail(code)
}

/// Returns the error for an index that differs from what was written.
pub fn damaged_index() -> Error {
    Error::new(
        Status::Corrupt,
        "the index is damaged, though the events may be intact: see the page on the file format \
         for how to rebuild it",
    )
}

/// Adds the reason that the system gave SQLite last. A full disk is `full`, whatever SQLite made of
/// it.
pub fn with_system_reason(error: Error, connection: &Connection) -> Error {
    // SAFETY: the connection is open.
    let reason = unsafe { ffi::sqlite3_system_errno(connection.handle()) };
    with_reason(error, reason)
}

/// As [`with_system_reason`], with the reason as `errno`; 0: there is none.
pub fn with_reason(error: Error, reason: i32) -> Error {
    let is_of_the_system =
        matches!(error.detail & 0xff, ffi::SQLITE_CANTOPEN | ffi::SQLITE_IOERR | ffi::SQLITE_FULL);
    if reason == 0 || !is_of_the_system {
        return error;
    }
    let is_full = matches!(reason, libc::ENOSPC | libc::EDQUOT);
    let status = if is_full { Status::Full } else { error.status };
    let reason = io::Error::from_raw_os_error(reason);
    Error { status, message: format!("{}: {reason}", error.message).into(), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_reported_as_full() {
        let error = Error::new(Status::Io, "x").with_detail(ffi::SQLITE_IOERR_SHMSIZE);
        let full = with_reason(error.clone(), libc::ENOSPC);
        assert_eq!((full.status, full.detail), (Status::Full, ffi::SQLITE_IOERR_SHMSIZE));
        assert_eq!(with_reason(error.clone(), 0), error);
        assert_eq!(with_reason(error, libc::EIO).status, Status::Io);
    }
}
