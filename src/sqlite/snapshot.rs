//! What a transaction found when it began.

use crate::error::Result;
use crate::sql::{Row, SqlConnection, Value};
use crate::sqlite::connection::error::damaged_index;

/// What a transaction found when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The position of the newest event.
    pub head: i64,
    /// The version of the list of segments.
    pub version: i64,
}

impl Snapshot {
    /// Takes the snapshot of the connection's transaction; outside of one, of this moment.
    pub fn take(connection: &dyn SqlConnection) -> Result<Self> {
        connection.query_row(Self::SQL, &[], Self::of)?.ok_or_else(damaged_index)
    }

    /// The statement that takes a snapshot, and holds it while it is under way.
    pub const SQL: &str = "SELECT (SELECT max(position) FROM dcb_events), \
                           (SELECT value FROM dcb_meta WHERE key = 'index')";

    /// Takes the snapshot from the row of [`Snapshot::SQL`].
    pub fn of(row: &Row<'_>) -> Result<Self> {
        let head = match row.value(0) {
            Value::Null => 0,
            Value::Integer(head) => head,
            _ => return Err(damaged_index()),
        };
        Ok(Snapshot { head, version: row.integer(1).ok_or_else(damaged_index)? })
    }
}
