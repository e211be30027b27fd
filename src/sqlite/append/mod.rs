//! Appends to a SQLite store.

pub mod connection;
pub mod group;
pub mod turns;
pub mod writer;
