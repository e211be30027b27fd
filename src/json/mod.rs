//! The JSON documents: requests, options, results and diagnoses.
//!
//! A request is parsed in one pass by the fast path. If that gives up, the slow path parses it
//! again and reports what is wrong. The payloads (`data` and `metadata`) are only checked to be
//! valid JSON and kept byte for byte. Everything else must have exactly the documented form.

mod append;
mod condition;
mod depth;
mod diagnosis;
mod event;
mod fast_path;
mod integer;
mod options;
mod path;
mod query;
mod read;
mod read_result;
mod timestamp;
mod visitor;

#[cfg(test)]
mod tests;

pub use append::parse_append;
pub use diagnosis::diagnosis;
pub use options::parse_options;
pub use read::parse_read;
pub use read_result::ReadResult;
