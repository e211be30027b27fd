//! Tests of the JSON parsers and of the JSON results.

mod append;
mod error_paths;
mod limits;
mod options;
mod properties;
mod read;
mod result;

use crate::Error;

/// Asserts that `result` is the error `invalid_argument` with this message.
#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: crate::Result<T>, message: &str) {
    assert_eq!(result.unwrap_err(), Error::invalid(message.to_owned()));
}
