//! The errors of the library, with the statuses of the contract.

use std::borrow::Cow;

use crate::position::{NegativePosition, Position};

/// The result of every fallible operation of the library.
pub type Result<T> = std::result::Result<T, Error>;

/// The status of a call. The numbers are part of the C ABI, so a new status gets a new number and
/// no number changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs)] // each is described in `include/dcb.h`
pub enum Status {
    Ok = 0,
    ConditionFailed = 1,
    DuplicateId = 2,
    InvalidArgument = 3,
    TooLarge = 4,
    Busy = 5,
    Timeout = 6,
    Cancelled = 7,
    ReadOnly = 8,
    Full = 9,
    Io = 10,
    Corrupt = 11,
    UnsupportedFormat = 12,
    Closed = 13,
    Unavailable = 14,
    Internal = 15,
    NoMemory = 16,
}

impl Status {
    /// Every status, in the order of their numbers.
    pub const ALL: [Status; 17] = [
        Status::Ok,
        Status::ConditionFailed,
        Status::DuplicateId,
        Status::InvalidArgument,
        Status::TooLarge,
        Status::Busy,
        Status::Timeout,
        Status::Cancelled,
        Status::ReadOnly,
        Status::Full,
        Status::Io,
        Status::Corrupt,
        Status::UnsupportedFormat,
        Status::Closed,
        Status::Unavailable,
        Status::Internal,
        Status::NoMemory,
    ];

    /// Returns the name that documents, the conformance tests and the bindings use, such as
    /// `condition_failed`.
    pub const fn name(self) -> &'static str {
        // The C interface makes C strings of these names, so none may contain a NUL.
        match self {
            Status::Ok => "ok",
            Status::ConditionFailed => "condition_failed",
            Status::DuplicateId => "duplicate_id",
            Status::InvalidArgument => "invalid_argument",
            Status::TooLarge => "too_large",
            Status::Busy => "busy",
            Status::Timeout => "timeout",
            Status::Cancelled => "cancelled",
            Status::ReadOnly => "read_only",
            Status::Full => "full",
            Status::Io => "io",
            Status::Corrupt => "corrupt",
            Status::UnsupportedFormat => "unsupported_format",
            Status::Closed => "closed",
            Status::Unavailable => "unavailable",
            Status::Internal => "internal",
            Status::NoMemory => "no_memory",
        }
    }
}

/// The error of a call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", status.name())]
pub struct Error {
    /// The kind of failure, which is never [`Status::Ok`].
    pub status: Status,
    /// With `condition_failed` the index of the first condition that fails, in the order of the
    /// request; else SQLite's extended result code, the system's `errno` or PostgreSQL's SQLSTATE (its
    /// five characters as digits of base 36), where one is the cause.
    pub detail: i32,
    /// The position that a failed condition or a duplicate id names, or [`Position::START`] for
    /// other errors.
    pub position: Position,
    /// One sentence for a person: what was wrong, where, and what to do. It begins in lower case
    /// and has no full stop.
    pub message: Cow<'static, str>,
}

impl Error {
    /// Returns an error with a status and a message.
    pub fn new(status: Status, message: impl Into<Cow<'static, str>>) -> Self {
        Error { status, detail: 0, position: Position::START, message: message.into() }
    }

    /// Returns the error of a request that breaks a rule.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::InvalidArgument, message)
    }

    /// Returns the error of a failed allocation of `what`.
    pub fn no_memory(what: &str) -> Self {
        Self::new(Status::NoMemory, format!("no memory for {what}"))
    }

    /// Returns the error of a request that exceeds a limit.
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::TooLarge, message)
    }

    /// An append condition is not met: `position` is the lowest that makes any of them fail. The
    /// first that fails is the first of all, unless [`of_condition`](Error::of_condition) says so.
    pub fn condition_failed(position: Position) -> Self {
        Error {
            position,
            ..Self::new(
                Status::ConditionFailed,
                format!("the append condition failed: the event at position {position} matches"),
            )
        }
    }

    /// The same `condition_failed`, where the first condition that fails is the one at `index`.
    pub fn of_condition(self, index: usize) -> Self {
        // A request has no more than MAX_CONDITIONS_PER_APPEND.
        self.with_detail(i32::try_from(index).unwrap_or(i32::MAX))
    }

    /// An event id is stored already, and the append is not a repetition of that one.
    pub fn duplicate_id(position: Position, message: impl Into<Cow<'static, str>>) -> Self {
        Error { position, ..Self::new(Status::DuplicateId, message) }
    }

    /// Returns the error with a code of the system or of SQLite.
    pub fn with_detail(self, detail: i32) -> Self {
        Error { detail, ..self }
    }

    /// Returns the error with a message that begins with the place in the request, such as
    /// `events[2].tags[0]`.
    pub fn at(self, place: &str) -> Self {
        if place.is_empty() {
            return self;
        }
        Error { message: format!("{place}: {}", self.message).into(), ..self }
    }
}

/// Converts a negative number in place of a position to `invalid_argument`.
impl From<NegativePosition> for Error {
    fn from(error: NegativePosition) -> Self {
        Error::invalid(error.to_string())
    }
}

/// Converts the error of a system call to `io`, `full` (the disk or the quota is) or `no_memory`.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let status = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Status::Full,
            std::io::ErrorKind::OutOfMemory => Status::NoMemory,
            _ => Status::Io,
        };
        Error::new(status, error.to_string()).with_detail(error.raw_os_error().unwrap_or(0))
    }
}
