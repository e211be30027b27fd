//! What is changed below SQLite: its locks.

pub mod ofd_locks;
