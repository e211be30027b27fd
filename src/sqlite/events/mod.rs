//! The table `dcb_events`: writing its rows, and reading them by SQL or from pages of the file.
//!
//! Invariant: every row carries a checksum over its texts, its position and its timestamp. A read
//! verifies it, and verifies that no position is missing.

pub mod btree;
pub mod checksum;
mod crc32c;
pub mod page;
pub mod page_reader;
pub mod reader;
pub mod row;
pub mod source;
pub mod write;
