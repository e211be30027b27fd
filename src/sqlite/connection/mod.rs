//! Connections to the database, and SQLite's errors in the terms of the contract.

pub mod error;
pub mod native;
pub mod transaction;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Result, Status};
use crate::sqlite::connection::error::from_sqlite;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Writes; creates the file if there is none.
    Create,
    /// Writes to a file that exists.
    Write,
    /// Reads only.
    Read,
    /// Reads only, and never touches the log: nobody writes the file.
    Immutable,
}

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file.
    File(PathBuf),
    /// A database of its own in memory, with one connection.
    Memory,
}

/// Opens a connection. Its busy handler is off: whoever uses it waits by [`retry_busy`].
pub fn connect(place: &Location, role: OpenMode) -> Result<Connection> {
    let access = match role {
        OpenMode::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        OpenMode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        OpenMode::Read | OpenMode::Immutable => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    crate::sqlite::vfs::ofd_locks::install();
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = match place {
        Location::Memory => Connection::open_in_memory_with_flags(flags),
        Location::File(path) if role == OpenMode::Immutable => {
            Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        Location::File(path) => Connection::open_with_flags(verbatim(path), flags),
    }
    .map_err(from_sqlite)?;
    // SQLite opens a file for reading where it may not write, or could not just now: every append
    // of this store would be refused.
    let writes = matches!(role, OpenMode::Create | OpenMode::Write);
    if writes && connection.is_readonly("main").map_err(from_sqlite)? {
        return Err(Error::new(
            Status::ReadOnly,
            "the file could not be opened for writing: to read it only, use the option read_only",
        )
        .with_detail(rusqlite::ffi::SQLITE_READONLY));
    }
    configure(&connection, role).map_err(from_sqlite)?;
    Ok(connection)
}

fn configure(connection: &Connection, role: OpenMode) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    // The file may come from anywhere: nothing in its schema runs because we opened it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    // Otherwise binding another value may have a statement planned anew, each time it runs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "temp_store", "memory")?;
    if matches!(role, OpenMode::Read | OpenMode::Immutable) {
        // Who only reads never checkpoints, not even as the last to leave.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", READ_CACHE_KIB)?;
    } else {
        // Maintenance checkpoints; a commit never stops to do it.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "cache_size", WRITE_CACHE_KIB)?;
    }
    Ok(())
}

/// Page caches: negative numbers are KiB in SQLite's pragma.
const READ_CACHE_KIB: i32 = -4096;
const WRITE_CACHE_KIB: i32 = -8192;

/// The path as SQLite takes it literally: with a folder in front, neither `:memory:` nor `file:`
/// has a meaning of its own.
fn verbatim(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in verbatim(path).to_string_lossy().bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(byte as char);
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}
