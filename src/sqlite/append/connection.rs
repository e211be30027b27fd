//! The connection that writes.

use rusqlite::Connection;

use crate::sqlite::append::turns::Turns;
use crate::sqlite::events::reader::EventReader;

/// The one connection that writes, and what its holder knows.
#[derive(Debug)]
pub struct WriterConnection {
    /// The connection; no transaction is open while nobody holds the core.
    pub connection: Connection,
    pub(super) decoder: EventReader,
    pub(super) turns: Turns,
}

impl WriterConnection {
    /// The connection, and scratch for its rows.
    pub fn parts(&mut self) -> (&Connection, &mut EventReader) {
        (&self.connection, &mut self.decoder)
    }
}
