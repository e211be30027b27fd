//! SQLite's write-ahead log as a file: syncing it, reading its index, telling one from another.

pub mod database_name;
pub mod file_id;
pub mod file_ops;
pub mod host_wal;
pub mod owner_access;
pub mod wal_file;
pub mod wal_index;
