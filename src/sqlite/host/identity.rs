//! Which database a connection of the host is on: by its path, or by a mark if it is in memory.

use std::ffi::OsStr;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::commit::deadline::Deadline;
use crate::error::Result;
use crate::sql::{SqlConnection, Value};
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::connection::transaction::{begin_immediate, commit};
use crate::sqlite::host::connection::HostConnection;

/// Returns the file of the connection's main database, as its SQLite names it, or `None` if it has
/// none.
pub fn path_of(connection: &dyn SqlConnection) -> Result<Option<PathBuf>> {
    let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    Ok(connection.query_row(sql, &[], |row| Ok(path_in(row.value(0))))?.flatten())
}

/// The path that SQLite names; `None`: the database has no file.
fn path_in(value: Value<'_>) -> Option<PathBuf> {
    // A path is bytes, of which not all are text.
    match value {
        Value::Text(path) | Value::Blob(path) if !path.is_empty() => {
            Some(PathBuf::from(OsStr::from_bytes(path)))
        }
        _ => None,
    }
}

/// Marks a database in memory, which has no path, so that it is distinguished from others.
pub fn mark_in_memory(connection: &HostConnection<'_>, deadline: &Deadline) -> Result<i64> {
    begin_immediate(connection, deadline)?;
    let new = RandomState::new().hash_one(0_u8).cast_signed();
    let sql = "INSERT OR IGNORE INTO main.dcb_meta (key, value) VALUES ('memory', ?1)";
    connection.run(sql, &[Value::Integer(new)])?;
    commit(connection)?;
    mark_of(connection)?.ok_or_else(damaged_index)
}

/// Returns the mark of a database in memory, if it has one.
pub fn mark_of(connection: &dyn SqlConnection) -> Result<Option<i64>> {
    let sql = "SELECT value FROM main.dcb_meta WHERE key = 'memory'";
    Ok(connection.query_row(sql, &[], |row| Ok(row.integer(0)))?.flatten())
}
