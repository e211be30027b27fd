//! The JSON documents: requests in, results out.
//!
//! A request is read in one pass, the quick way or, where that gives up, the long way, which says
//! what is wrong. What is passed on (`data`, `metadata`) is never taken apart, only checked to be
//! JSON and kept byte for byte; everything else has one shape and no other.

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
