//! Connections to the database, and SQLite's errors in the terms of the contract.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::commit::deadline::Patience;
use crate::error::{Error, Result, Status};
use crate::sql::Database;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
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
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A database of its own in memory, with one connection.
    Memory,
}

/// How long a thread sleeps between two tries for SQLite's lock: flat, so that nobody who came
/// early is left behind by somebody who came late.
const LOCK_POLL: Duration = Duration::from_micros(500);

/// Opens a connection. Its busy handler is off: whoever uses it waits by [`retry_busy`].
pub fn connect(place: &Place, role: Role) -> Result<Connection> {
    let access = match role {
        Role::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        Role::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Role::Read | Role::Immutable => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    crate::sqlite::vfs::ofd_locks::install();
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = match place {
        Place::Memory => Connection::open_in_memory_with_flags(flags),
        Place::File(path) if role == Role::Immutable => {
            Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        Place::File(path) => Connection::open_with_flags(verbatim(path), flags),
    }
    .map_err(from_sqlite)?;
    // SQLite opens a file for reading where it may not write, or could not just now: every append
    // of this store would be refused.
    let writes = matches!(role, Role::Create | Role::Write);
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

fn configure(connection: &Connection, role: Role) -> rusqlite::Result<()> {
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
    if matches!(role, Role::Read | Role::Immutable) {
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

/// Undoes a transaction that could not be undone when it ended: even that takes memory. Else the
/// connection would go on seeing the database as it was then, and keep the lock that it had.
pub fn end_left_over(connection: &dyn Database) -> Result<()> {
    if connection.is_autocommit() { Ok(()) } else { connection.run("ROLLBACK", &[]).map(drop) }
}

/// A transaction, which is undone when this is dropped, unless it has ended.
pub struct Moment<'a>(pub &'a dyn Database);

impl<'a> Moment<'a> {
    /// Begins one that reads.
    pub fn begin(connection: &'a dyn Database) -> Result<Self> {
        end_left_over(connection)?;
        connection.run("BEGIN", &[])?;
        Ok(Moment(connection))
    }
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        // If this fails, whoever uses the connection next does it.
        let _ = end_left_over(self.0);
    }
}

/// Runs `attempt` until it meets no lock, as long as `patience` lasts.
pub fn retry_busy<T>(
    patience: &Patience,
    mut attempt: impl FnMut() -> rusqlite::Result<T>,
) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if is_busy(&error) => wait_for_lock(patience)?,
            other => return other.map_err(from_sqlite),
        }
    }
}

/// As [`retry_busy`], of what says `busy` itself.
pub fn retry<T>(patience: &Patience, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if error.status == Status::Busy => wait_for_lock(patience)?,
            other => return other,
        }
    }
}

/// Sleeps until the next try for a lock is due; `busy` or `cancelled` when there is to be none.
pub fn wait_for_lock(patience: &Patience) -> Result<()> {
    patience.check_cancel()?;
    if patience.is_over() {
        return Err(busy());
    }
    std::thread::sleep(patience.nap(Some(LOCK_POLL)).unwrap_or(LOCK_POLL));
    Ok(())
}

/// A lock was not had in time.
pub fn busy() -> Error {
    Error::new(Status::Busy, "another writer held the database for longer than the time given")
        .with_detail(rusqlite::ffi::SQLITE_BUSY)
}

/// Whether `error` says that a lock is held by somebody else.
pub fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

/// An extended result code of the host's SQLite in the terms of the contract. Other codes are the
/// host's own: 0, it has failed for a reason that has no code.
pub fn of_code(code: i32, message: &str) -> Error {
    let status = match code {
        0 => Status::Unavailable,
        rusqlite::ffi::SQLITE_INTERRUPT => Status::Cancelled,
        rusqlite::ffi::SQLITE_MISUSE => Status::InvalidArgument,
        _ => {
            let error = rusqlite::ffi::Error::new(code);
            return from_sqlite(rusqlite::Error::SqliteFailure(error, Some(message.into())));
        }
    };
    Error::new(status, message.to_owned()).with_detail(code)
}

/// SQLite's error in the terms of the contract, `detail` its extended code.
pub fn from_sqlite(error: rusqlite::Error) -> Error {
    let code = error.sqlite_error().map_or(0, |inner| inner.extended_code);
    let status = match error.sqlite_error_code() {
        Some(ErrorCode::OutOfMemory) => Status::NoMemory,
        _ if code == rusqlite::ffi::SQLITE_IOERR_NOMEM => Status::NoMemory,
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => Status::Busy,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Status::ReadOnly,
        Some(ErrorCode::DiskFull) => Status::Full,
        Some(
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::NoLargeFileSupport,
        ) => Status::Io,
        Some(ErrorCode::DatabaseCorrupt) => Status::Corrupt,
        Some(ErrorCode::NotADatabase) => Status::UnsupportedFormat,
        // What our own statements can meet only where the schema or a row is not as we made it: the
        // largest event is far below the length that SQLite refuses.
        Some(
            ErrorCode::ConstraintViolation
            | ErrorCode::Unknown
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig,
        ) => Status::Corrupt,
        None => Status::Corrupt,
        Some(_) => Status::Internal,
    };
    let message = match &error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => format!("the database answered: {text}"),
        other => format!("the database answered: {other}"),
    };
    Error::new(status, message).with_detail(code)
}
