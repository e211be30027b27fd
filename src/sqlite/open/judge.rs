//! What a file is, before it is opened: a store, somebody else's database, empty, or what a crash has
//! left of one of these.

use std::io::Read as _;

use rusqlite::Connection;

use crate::commit::deadline::Deadline;
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sql::SqlConnection;
use crate::sqlite::connection::error::with_system_reason;
use crate::sqlite::connection::transaction::retry;
use crate::sqlite::connection::{Location, OpenMode, connect, connect_to_bytes, real_path};
use crate::sqlite::open::wal_match;
use crate::sqlite::schema::{FileKind, detect_in_transaction};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::wal::file_ops::beside;
use crate::sqlite::wal::wal_index::is_all_zero;

/// Judges a file without changing a byte of it.
///
/// Returns the connection that it used as well. While that connection is open, SQLite does not close
/// the file. On a close, the lock hooks lock all of it for a moment, which another SQLite without a
/// busy timeout that is just opening it would see as busy.
pub fn judge_unchanged(
    place: &Location,
    deadline: &Deadline,
) -> Result<(FileKind, Option<Connection>)> {
    // Connecting already reads, so it may find the journal as well.
    let judged = retry(deadline, || {
        let connection = connect(place, OpenMode::Read)?;
        let judgement = detect_in_transaction(&connection)
            .map_err(|error| with_system_reason(error, &connection))?;
        if let (FileKind::Store, Location::File(path)) = (judgement, place) {
            wal_match::check(&connection, &real_path(&connection, path))?;
        }
        Ok((judgement, Some(connection)))
    });
    match judged {
        // A crash has interrupted the very first transaction, and the next writer would roll it
        // back: that must not delete anything but an unfinished store.
        Err(error) if would_be_undone(&error, place) => {
            if is_of_creation(place) {
                Ok((FileKind::Empty, None))
            } else {
                Err(unfinished())
            }
        }
        other => other,
    }
}

/// Returns whether `error` is due to a journal beside the file that undoes all of it.
pub fn would_be_undone(error: &Error, place: &Location) -> bool {
    error.detail == rusqlite::ffi::SQLITE_READONLY_ROLLBACK && undoes_all(place)
}

/// Returns whether a crash while the library created a store can have left this file, whose journal
/// undoes all of it: any sectors of one page without a table, or a store without an event. Anything
/// else is a part of something, such as an interrupted copy.
pub fn is_of_creation(place: &Location) -> bool {
    let Location::File(path) = place else { return false };
    let looks_so = || -> Result<bool> {
        let len = std::fs::metadata(path)?.len();
        // Only the first sector of that page has a byte that is not zero, and it may be missing.
        if len <= MAX_FIRST_PAGE && is_all_zero(&connect_to_bytes(path)?, len as usize) {
            return Ok(true);
        }
        // An immutable connection ignores the journal. The file is read through SQLite only: opening
        // and closing it otherwise would drop the locks that another SQLite in the process has on it.
        let connection = connect(place, OpenMode::Immutable)?;
        let pages = (&connection as &dyn SqlConnection)
            .query_row("PRAGMA page_count", &[], |row| Ok(row.integer(0)))?
            .flatten();
        let is_one_page = len <= MAX_FIRST_PAGE && pages.is_some_and(|pages| pages <= 1);
        Ok(is_one_page
            || detect_in_transaction(&connection)? == FileKind::Store
                && Snapshot::take(&connection)?.head == Position::START)
    };
    looks_so().unwrap_or(false)
}

/// The largest page that SQLite chooses by itself (`SQLITE_MAX_DEFAULT_PAGE_SIZE`).
const MAX_FIRST_PAGE: u64 = 8_192;

/// Returns the error for a file of one byte, which SQLite treats as an empty one.
pub fn no_database() -> Error {
    Error::new(Status::UnsupportedFormat, "not a database: the file has a single byte")
}

/// Returns the error for a file whose very first transaction was interrupted.
pub fn unfinished() -> Error {
    Error::new(
        Status::UnsupportedFormat,
        "the file is an unfinished copy: its journal (-journal) undoes all that is in it; make the \
         copy again, or delete both files",
    )
}

/// Returns whether the journal beside a file says that the file was empty before.
///
/// No event of the file was acknowledged then: before that, the folder is synced, after which the
/// journal does not come back.
fn undoes_all(place: &Location) -> bool {
    const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let Location::File(path) = place else { return false };
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let mut header = [0; 20];
    let read = std::fs::File::open(beside(&path, "-journal"))
        .and_then(|mut journal| journal.read_exact(&mut header));
    // https://sqlite.org/fileformat2.html#the_rollback_journal: at 16 the pages of before.
    read.is_ok() && header[..8] == MAGIC && header[16..] == [0; 4]
}
