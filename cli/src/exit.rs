//! The exit statuses, and how a failure is told.

use std::process::ExitCode;

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    message: String,
}

impl Failure {
    /// Prints the failure to stderr and returns its exit status.
    pub fn report(&self) -> ExitCode {
        eprintln!("dcb: {}", self.message);
        ExitCode::FAILURE
    }
}

impl From<dcb::Error> for Failure {
    fn from(error: dcb::Error) -> Self {
        Failure { message: error.to_string() }
    }
}
