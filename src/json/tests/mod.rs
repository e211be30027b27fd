//! What the documents' modules promise together.

mod append;
mod error_paths;
mod limits;
mod options;
mod properties;
mod read;
mod result;

use crate::Error;

/// Asserts that `result` is an error of invalid arguments that says `message`.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: crate::Result<T>, message: &str) {
    assert_eq!(result.unwrap_err(), Error::invalid(message.to_owned()));
}
