//! The table of events: how rows are written and read.

pub mod btree;
pub mod reader;
