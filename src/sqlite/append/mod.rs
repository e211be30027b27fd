//! Appends to a SQLite store.

pub mod writer;
