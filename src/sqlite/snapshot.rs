//! The snapshot of a transaction.

use crate::error::Result;
use crate::position::Position;
use crate::sql::{Row, SqlConnection, Value};
use crate::sqlite::connection::error::damaged_index;

/// The state of the store that a transaction sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The position of the newest event.
    pub head: Position,
    /// The version of the list of segments.
    pub version: i64,
}

impl Snapshot {
    /// Reads the snapshot of the connection's transaction, or the current one outside of a
    /// transaction.
    pub fn take(connection: &dyn SqlConnection) -> Result<Self> {
        connection.query_row(Self::SQL, &[], Self::of)?.ok_or_else(damaged_index)
    }

    /// The statement that reads a snapshot. SQLite keeps the snapshot while the statement is
    /// stepped.
    pub const SQL: &str = "SELECT (SELECT max(position) FROM main.dcb_events), \
                           (SELECT value FROM main.dcb_meta WHERE key = 'index')";

    /// Decodes the snapshot from the row of [`Snapshot::SQL`].
    pub fn of(row: &Row<'_>) -> Result<Self> {
        let head = match row.value(0) {
            Value::Null => Position::START,
            Value::Integer(head) => Position::new(head).map_err(|_| damaged_index())?,
            _ => return Err(damaged_index()),
        };
        Ok(Snapshot { head, version: row.integer(1).ok_or_else(damaged_index)? })
    }

    /// Returns the schema cookie in the snapshot of the connection's transaction, if it can be read.
    pub fn schema_cookie(connection: &dyn SqlConnection) -> Option<u32> {
        let read = |row: &Row<'_>| Ok(row.integer(0));
        let found = connection.query_row("PRAGMA schema_version", &[], read);
        found.ok().flatten().flatten().map(|cookie| cookie as u32)
    }
}
