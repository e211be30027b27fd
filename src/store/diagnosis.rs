//! What a store reports about itself, for a person who investigates a problem. No program should
//! base a decision on it.

use std::path::PathBuf;

use crate::position::Position;

/// The state of an open store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The position of the newest event.
    pub head: Position,
    /// The state of the SQLite database, if the store is in one.
    pub sqlite: Option<SqliteDiagnosis>,
    /// The state of the schema on a PostgreSQL server, if the store is in one.
    pub postgres: Option<PostgresDiagnosis>,
}

/// The state of a store in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresDiagnosis {
    /// The name of the schema.
    pub schema: String,
    /// Whether the store refuses appends.
    pub read_only: bool,
    /// The version of the schema.
    pub format: i64,
    /// The version of the functions in it. [`Store::upgrade`](crate::Store::upgrade) replaces older ones.
    pub revision: i64,
    /// The version of the server.
    pub server: String,
    /// Whether the server syncs what it commits. Without that, a crash of its machine loses events.
    pub fsync: bool,
    /// Whether the server that answers reads is a standby.
    pub standby: bool,
    /// By how many milliseconds a standby is behind: the server that answers reads, or the slowest
    /// one that follows it. `None` where there is none, or where the role may not see it. A standby
    /// that has received nothing new is 0 behind.
    pub lag_ms: Option<i64>,
    /// The tables of the schema, by name.
    pub tables: Vec<TableSize>,
}

/// The size of a table on a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSize {
    /// The name of the table in its schema.
    pub name: String,
    /// The bytes of its rows and indexes.
    pub bytes: i64,
}

/// The state of a SQLite store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteDiagnosis {
    /// The path of the file, with symbolic links resolved, or `None` for a database in memory.
    pub path: Option<PathBuf>,
    /// Whether the store refuses appends.
    pub read_only: bool,
    /// The version of the file format.
    pub format: i64,
    /// The version of SQLite.
    pub sqlite: String,
    /// Whether the store uses the SQLite that is bundled with the library.
    pub bundled_sqlite: bool,
    /// The kind of locks that guard the file, or `None` if there are none.
    pub locks: Option<&'static str>,
    /// Whether another copy of SQLite in this process has the file open, or `None` if the store
    /// cannot find out.
    pub other_sqlite: Option<bool>,
    /// The position up to which events are known to be durable, or `None` for a database in memory.
    pub durable: Option<Position>,
    /// The position up to which the index in the file covers the events.
    pub indexed: Position,
    /// The number of segments of the index.
    pub segments: usize,
    /// The size of the WAL file in bytes, or `None` if there is none.
    pub log_bytes: Option<u64>,
    /// Whether the WAL is at its limit because a reader outside of this process holds it.
    pub log_held: bool,
    /// The reason why nothing more becomes durable, if there is one.
    pub failure: Option<String>,
}
