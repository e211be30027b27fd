//! The state of the connection that writes.

use rusqlite::Connection;

use crate::sqlite::append::turns::Turns;
use crate::sqlite::events::reader::EventReader;

/// The one connection of the store that writes, and the state that goes with it.
#[derive(Debug)]
pub struct WriterConnection {
    /// The connection. It has no open transaction while nobody holds the writer's lock.
    pub connection: Connection,
    /// Reads stored events for the checks of an append.
    pub(super) reader: EventReader,
    /// Limits how long this process keeps SQLite's write lock.
    pub(super) turns: Turns,
}

impl WriterConnection {
    /// Returns the connection and its reader of rows, both borrowed.
    pub fn parts(&mut self) -> (&Connection, &mut EventReader) {
        (&self.connection, &mut self.reader)
    }
}
