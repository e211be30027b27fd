//! The C surface: one file for each C type, and `boundary`, which every call goes through.
//!
//! The doc comments of what is exported here are the text of `include/dcb.h` and, in `host` and
//! `host_functions`, of `include/dcb_host.h`, so they address a C programmer. The preamble of
//! `dcb.h` (`cbindgen.toml`) says once for all functions what a valid pointer is.

// The header's examples are JSON and tables, and its brackets are no links.
#![allow(rustdoc::invalid_rust_codeblocks, rustdoc::broken_intra_doc_links)]
// The names are those of C.
#![allow(non_camel_case_types)]
// The header says what every function demands of its pointers.
#![allow(clippy::missing_safety_doc)]

pub mod backup;
mod boundary;
pub mod buf;
pub mod call;
pub mod cancel;
pub mod cursor;
pub mod error;
pub mod event;
mod event_batch;
#[cfg(feature = "testing")]
pub mod failpoints;
mod fork;
pub mod host;
pub mod host_functions;
pub mod limits;
mod panic;
pub mod postgres_transaction;
mod read_ahead;
pub mod status;
pub mod store;
#[cfg(test)]
mod tests;
pub mod version;
