//! The exit statuses, and how a failure is told.

use std::io;
use std::process::ExitCode;

/// Why a command ends before it is done, as its exit status says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The reader of stdout has gone, which is no failure.
    BrokenPipe = 0,
    /// Something failed.
    Failure = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// An append condition failed.
    ConditionFailed = 3,
    /// The event or the store does not exist.
    NotFound = 4,
}

/// A command that did not do all that it was told.
#[derive(Debug)]
pub struct Failure {
    /// What the exit status says.
    pub reason: Reason,
    /// What the library calls the error, if it is one of its own.
    pub status: Option<dcb::Status>,
    message: String,
}

impl Failure {
    /// Returns a failure of the kind that has no exit status of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { reason: Reason::Failure, status: None, message: message.into() }
    }

    /// Returns the failure of arguments that are wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { reason: Reason::Usage, status: None, message: message.into() }
    }

    /// Returns the failure to find an event or a store.
    pub fn not_found(message: impl Into<String>) -> Self {
        Failure { reason: Reason::NotFound, status: None, message: message.into() }
    }

    /// Returns the failure with the place before its message.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        Failure { message: format!("{place}: {}", self.message), ..self }
    }

    /// Returns the failure with another line after its message.
    #[must_use]
    pub fn and(self, line: &str) -> Self {
        Failure { message: format!("{}\n{line}", self.message), ..self }
    }

    /// Prints the failure to stderr and returns its exit status.
    pub fn report(&self) -> ExitCode {
        if self.reason != Reason::BrokenPipe {
            eprintln!("dcb: {}", self.message);
        }
        ExitCode::from(self.reason as u8)
    }
}

impl From<dcb::Error> for Failure {
    fn from(error: dcb::Error) -> Self {
        let reason = match error.status {
            dcb::Status::ConditionFailed => Reason::ConditionFailed,
            dcb::Status::InvalidArgument | dcb::Status::TooLarge => Reason::Usage,
            _ => Reason::Failure,
        };
        Failure { reason, status: Some(error.status), message: error.to_string() }
    }
}

/// Takes an error to be one of stdout. Where another file is meant, [`Failure::at`] names it.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => {
                Failure { reason: Reason::BrokenPipe, status: None, message: String::new() }
            }
            _ => Failure::new(error.to_string()),
        }
    }
}
