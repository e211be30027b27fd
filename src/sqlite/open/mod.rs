//! Opening a SQLite store.

pub mod wal_match;
