//! What a store tells of itself, for a person who looks for a cause. No decision rests on it.

use std::path::PathBuf;

/// What is known of an open store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The position of the newest event.
    pub head: i64,
    /// Of a store in a SQLite database.
    pub sqlite: Option<SqliteDiagnosis>,
}

/// What is known of a SQLite store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteDiagnosis {
    /// The file, symbolic links followed; `None`: in memory.
    pub path: Option<PathBuf>,
    /// Whether appends are refused.
    pub read_only: bool,
    /// The version of the file's format.
    pub format: i64,
    /// SQLite's version.
    pub sqlite: String,
    /// Whether that is the library's own copy.
    pub bundled_sqlite: bool,
    /// The name of the locks that guard the file; `None`: there are none.
    pub locks: Option<&'static str>,
    /// Whether another SQLite in this process has the file open; `None`: it cannot be told.
    pub other_sqlite: Option<bool>,
    /// The position up to which events are known to be on the disk; `None`: in memory.
    pub durable: Option<i64>,
    /// The position up to which the index in the file goes.
    pub indexed: i64,
    /// In how many segments it is.
    pub segments: usize,
    /// How long the log's file is; `None`: there is none.
    pub log_bytes: Option<u64>,
    /// Whether the log is at its limit, since somebody outside of this process reads it.
    pub log_held: bool,
    /// Why nothing more becomes durable, if that is so.
    pub failure: Option<String>,
}
