//! The table of events: how rows are written and read.

pub mod btree;
pub mod checksum;
pub mod page;
pub mod reader;
pub mod source;
pub mod write;
