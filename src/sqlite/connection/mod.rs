//! Opening and configuring the library's own connections to the database.
//!
//! Invariant: a connection runs no code from the file's schema, never waits inside SQLite for a
//! lock, and never checkpoints on its own while the store is open.

pub mod error;
pub mod native;
pub mod transaction;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use crate::error::{Error, Result, Status};
use crate::sqlite::connection::error::{from_sqlite, with_reason, with_system_reason};

/// What a connection may do with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Reads and writes, and creates the file if there is none.
    Create,
    /// Reads and writes a file that exists.
    Write,
    /// Reads only.
    Read,
    /// Reads only, and keeps an index of the WAL in its own memory while nobody shares one: for a
    /// disk that has no space for it.
    ReadWithOwnIndex,
    /// Reads only, and never touches the log: nobody writes the file.
    Immutable,
}

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A database in this file.
    File(PathBuf),
    /// A private database in memory, with one connection.
    Memory,
}

/// Opens and configures a connection. Its busy handler is off, so callers wait with
/// [`transaction::retry_busy`].
pub fn connect(location: &Location, mode: OpenMode) -> Result<Connection> {
    let access = match mode {
        OpenMode::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        OpenMode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        OpenMode::Read | OpenMode::ReadWithOwnIndex | OpenMode::Immutable => {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        }
    };
    crate::sqlite::vfs::ofd_locks::install();
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = match location {
        Location::Memory => Connection::open_in_memory_with_flags(flags).map_err(from_sqlite),
        Location::File(path) if mode == OpenMode::Immutable => {
            open(uri(path, "immutable=1"), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        Location::File(path) if mode == OpenMode::ReadWithOwnIndex => {
            open(uri(path, "readonly_shm=1"), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        Location::File(path) => open(verbatim(path).into_os_string().into_vec(), flags),
    }?;
    // SQLite opens a file for reading where it may not write, or could not just now: every append
    // of this store would be refused.
    let writes = matches!(mode, OpenMode::Create | OpenMode::Write);
    if writes && connection.is_readonly("main").map_err(from_sqlite)? {
        return Err(Error::new(
            Status::ReadOnly,
            "the file cannot be opened for writing: to only read it, use the option read_only",
        )
        .with_detail(rusqlite::ffi::SQLITE_READONLY));
    }
    configure(&connection, mode)
        .map_err(|error| with_system_reason(from_sqlite(error), &connection))?;
    Ok(connection)
}

/// Opens a connection to a file of any content, through which only `wal_index.rs` reads: SQL may
/// fail. The file's journal and locks are passed over.
pub fn connect_to_bytes(path: &Path) -> Result<Connection> {
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    crate::sqlite::vfs::ofd_locks::install();
    open(uri(path, "immutable=1"), access | OpenFlags::SQLITE_OPEN_URI)
}

/// Returns the path by which SQLite names the file, its WAL and its index: symbolic links are resolved.
pub fn real_path(connection: &Connection, path: &Path) -> PathBuf {
    connection.path().filter(|own| !own.is_empty()).map_or_else(|| path.to_owned(), PathBuf::from)
}

/// Opens a connection. An error has the system's reason, which SQLite keeps with a connection that
/// it could not open.
fn open(name: impl Into<Vec<u8>>, flags: OpenFlags) -> Result<Connection> {
    let name =
        CString::new(name).map_err(|_| Error::invalid("a path must not contain a NUL byte"))?;
    let mut handle = ptr::null_mut();
    // SAFETY: the name is terminated; `handle` is valid for a write.
    let code =
        unsafe { ffi::sqlite3_open_v2(name.as_ptr(), &raw mut handle, flags.bits(), ptr::null()) };
    if code == ffi::SQLITE_OK {
        // SAFETY: an open connection that nobody else has.
        return unsafe { Connection::from_handle_owned(handle) }.map_err(from_sqlite);
    }
    // SAFETY: SQLite gives a handle even then, or NULL without memory, which these functions take;
    // its message is valid until the handle is closed.
    let (reason, message) = unsafe {
        let message = CStr::from_ptr(ffi::sqlite3_errmsg(handle)).to_string_lossy().into_owned();
        let reason = if handle.is_null() { 0 } else { ffi::sqlite3_system_errno(handle) };
        ffi::sqlite3_close(handle);
        (reason, message)
    };
    let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message));
    Err(with_reason(from_sqlite(error), reason))
}

fn configure(connection: &Connection, role: OpenMode) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    // The file may come from an untrusted source: nothing in its schema may run because it is
    // opened.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    // Otherwise SQLite may prepare a statement again whenever another value is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "temp_store", "memory")?;
    if !matches!(role, OpenMode::Create | OpenMode::Write) {
        // Who only reads never checkpoints, not even as the last to leave.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", READ_CACHE_KIB)?;
    } else {
        // Maintenance checkpoints, so that no commit has to.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "cache_size", WRITE_CACHE_KIB)?;
    }
    Ok(())
}

/// The page cache of a connection that reads. Negative numbers are KiB in SQLite's pragma.
const READ_CACHE_KIB: i32 = -4096;
/// The page cache of the connection that writes.
const WRITE_CACHE_KIB: i32 = -8192;

/// Returns the path in a form that SQLite takes literally: with a folder in front, neither
/// `:memory:` nor `file:` is special.
fn verbatim(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

fn uri(path: &Path, parameter: &str) -> String {
    let mut uri = String::from("file:");
    for byte in verbatim(path).to_string_lossy().bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(byte as char);
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?" + parameter
}
