//! That a database and the log beside it belong together.
//!
//! SQLite takes whatever valid log lies beside a database for its own. One of another store, or
//! one that was copied on an earlier day, would overwrite pages with what never stood there.

use std::fs::{File, metadata};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use crate::domain::SequencedEvent;
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sqlite::connection::{Location, OpenMode, connect};
use crate::sqlite::events::reader::{EventReader, to_owned};
use crate::sqlite::wal::file_ops::beside;

/// The header of a log; one that is no longer holds nothing.
const LOG_HEADER: u64 = 32;

fn has_log(database: &Path) -> bool {
    metadata(beside(database, "-wal")).is_ok_and(|log| log.len() > LOG_HEADER)
}

/// Refuses a database that is missing or empty where there is a log: SQLite would delete the log,
/// and with it what is nowhere else.
pub fn check_empty(database: &Path) -> Result<()> {
    // In this order: whoever makes a database writes it before its log.
    if has_log(database) && metadata(database).map_or(true, |database| database.len() == 0) {
        return Err(Error::new(
            Status::Corrupt,
            "the database is missing or empty, but its log (-wal) is there: put the database back, \
             or move the log away",
        ));
    }
    Ok(())
}

/// Refuses to open a database by itself where there is a log or a journal beside it, which SQLite
/// would pass over then: what is stored may be there alone, or half of what is not in the database.
pub fn check_alone(database: &Path) -> Result<()> {
    // Beside the file itself, wherever the path leads.
    let database = &std::fs::canonicalize(database)?;
    if !has_journal(database)? && !has_log(database) {
        return Ok(());
    }
    Err(Error::invalid(
        "immutable: there is a log (-wal) or a journal beside the file, which would be passed \
         over: open it without immutable, or copy all of it to where it may be written",
    ))
}

/// Whether there is a journal that undoes something: one that SQLite keeps begins with a zero.
fn has_journal(database: &Path) -> Result<bool> {
    let mut first = [0];
    match File::open(beside(database, "-journal")) {
        Ok(mut journal) => Ok(journal.read(&mut first)? == 1 && first[0] != 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a log that is not the database's. `connection` reads both, and writes nothing.
///
/// An event that the database has without its log was in the log, durable, before; so with the
/// log it must be there too, whatever has been appended since.
pub fn check(connection: &Connection, database: &Path) -> Result<()> {
    if !has_log(database) {
        return Ok(());
    }
    // Between the writes of a checkpoint, the database alone need not make sense.
    let Ok(Some(newest)) = newest_alone(database) else { return Ok(()) };
    let found: Result<_> =
        EventReader::default().at(connection, newest.position, to_owned).map_err(Error::from);
    let same = |found: &SequencedEvent| {
        found.event == newest.event && found.timestamp_us == newest.timestamp_us
    };
    match found {
        Ok(found) if same(&found) => Ok(()),
        Err(error) if error.status != Status::Corrupt => Err(error),
        _ => Err(Error::new(
            Status::Corrupt,
            "the log (-wal) beside the database is not the database's, or is an older one: it \
             does not lead to the events that the database has",
        )),
    }
}

/// The newest event that the database shows by itself.
fn newest_alone(database: &Path) -> Result<Option<Arc<SequencedEvent>>> {
    let alone = connect(&Location::File(database.to_owned()), OpenMode::Immutable)?;
    let newest = alone
        .query_row("SELECT max(position) FROM dcb_events", [], |row| row.get::<_, Option<i64>>(0))
        .ok()
        .flatten()
        .map(Position::clamped);
    Ok(newest.map(|newest| EventReader::default().at(&alone, newest, to_owned)).transpose()?)
}
