//! Checks that a database and the WAL beside it belong together.
//!
//! SQLite uses any valid WAL that is beside a database. The WAL of another store, or one that was
//! copied on an earlier day, would overwrite pages with content that the database never had.

use std::fs::{File, metadata};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use crate::domain::SequencedEvent;
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sqlite::connection::{Location, OpenMode, connect};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::row::to_owned;
use crate::sqlite::wal::file_ops::beside;

/// The size of a WAL's header. A WAL that is no longer than this has no frames.
const LOG_HEADER: u64 = 32;

fn has_log(database: &Path) -> bool {
    metadata(beside(database, "-wal")).is_ok_and(|log| log.len() > LOG_HEADER)
}

/// Fails if the database is missing or empty but its WAL exists. SQLite would delete the WAL, and
/// with it events that are nowhere else.
pub fn check_empty(database: &Path) -> Result<()> {
    // The order matters: a process that creates a database writes the file before its WAL.
    if has_log(database) && metadata(database).map_or(true, |database| database.len() == 0) {
        return Err(Error::new(
            Status::Corrupt,
            "the database is missing or empty, but its log (-wal) is there: put the database back, \
             or move the log away",
        ));
    }
    Ok(())
}

/// Fails if a WAL or a journal is beside a database that is to be opened as immutable. SQLite would
/// ignore it, although it may hold events that the database lacks, or undo half of a transaction.
pub fn check_alone(database: &Path) -> Result<()> {
    // Both are beside the file itself, to which the path may be a symbolic link.
    let database = &std::fs::canonicalize(database)?;
    if !has_journal(database)? && !has_log(database) {
        return Ok(());
    }
    Err(Error::invalid(
        "immutable: there is a log (-wal) or a journal beside the file, which would be passed \
         over: open it without immutable, or copy all of it to where it may be written",
    ))
}

/// Returns whether there is a journal to roll back. One that SQLite keeps for reuse begins with a
/// zero byte.
fn has_journal(database: &Path) -> Result<bool> {
    let mut first = [0];
    match File::open(beside(database, "-journal")) {
        Ok(mut journal) => Ok(journal.read(&mut first)? == 1 && first[0] != 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Fails if the WAL is not the database's. `connection` reads both, and writes nothing.
///
/// A checkpoint copies only events that are durable in the WAL. So the newest event of the database
/// file must also be there if the file is read with its WAL, whatever was appended since.
pub fn check(connection: &Connection, database: &Path) -> Result<()> {
    if !has_log(database) {
        return Ok(());
    }
    // During a checkpoint, the file alone may be inconsistent.
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

/// Returns the newest event that the database file has without its WAL.
fn newest_alone(database: &Path) -> Result<Option<Arc<SequencedEvent>>> {
    let alone = connect(&Location::File(database.to_owned()), OpenMode::Immutable)?;
    let newest = alone
        .query_row("SELECT max(position) FROM main.dcb_events", [], |row| {
            row.get::<_, Option<i64>>(0)
        })
        .ok()
        .flatten()
        .map(Position::clamped);
    Ok(newest.map(|newest| EventReader::default().at(&alone, newest, to_owned)).transpose()?)
}
