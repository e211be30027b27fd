//! The schema of a store's file, and detecting whether a file is a store.
//!
//! Every statement names the tables with their database, `main`: on a connection of a host's, a
//! temporary table of the same name would come first, and what it takes is never stored.
//!
//! Invariant: a file is a store only if each object whose name starts with `dcb_` is defined
//! exactly as here. `docs/file-format.md` documents the tables for programs that read the file.

use std::ops::ControlFlow;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, Result, Status};
use crate::sql::{SqlConnection, Value};
use crate::sqlite::connection::error::from_sqlite;
use crate::sqlite::connection::transaction::Transaction;

/// The version of the file format. A file with a higher version is not opened.
///
/// A file of version 1 is opened too: its rows have other checksums (`events/checksum.rs`). Opening
/// it to write raises its version, so that a library which knows version 1 only refuses the file, and
/// does not take its new rows for damaged ones.
pub const FORMAT: i64 = 2;

/// The oldest version that is opened.
const OLDEST_FORMAT: i64 = 1;

/// The application id of files that the library created: `dcb1` in ASCII.
const APPLICATION_ID: i64 = 0x6463_6231;

/// The objects of a store: their names and definitions, as `sqlite_schema` returns them.
const OBJECTS: &[(&str, &str)] = &[
    ("dcb_meta", "CREATE TABLE dcb_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID"),
    (
        "dcb_events",
        "CREATE TABLE dcb_events (\
         position INTEGER PRIMARY KEY, \
         type TEXT NOT NULL, \
         tags TEXT NOT NULL, \
         data TEXT NOT NULL, \
         id TEXT, \
         metadata TEXT, \
         timestamp INTEGER NOT NULL, \
         checksum INTEGER NOT NULL)",
    ),
    (
        "dcb_events_no_update",
        "CREATE TRIGGER dcb_events_no_update BEFORE UPDATE ON dcb_events \
         BEGIN SELECT RAISE(ABORT, 'dcb: an event never changes'); END",
    ),
    (
        "dcb_events_no_delete",
        "CREATE TRIGGER dcb_events_no_delete BEFORE DELETE ON dcb_events \
         BEGIN SELECT RAISE(ABORT, 'dcb: an event is never deleted'); END",
    ),
    (
        "dcb_segments",
        "CREATE TABLE dcb_segments (\
         segment INTEGER PRIMARY KEY, \
         state INTEGER NOT NULL, \
         low INTEGER NOT NULL, \
         high INTEGER NOT NULL, \
         terms INTEGER NOT NULL)",
    ),
    (
        "dcb_postings",
        "CREATE TABLE dcb_postings (\
         segment INTEGER NOT NULL, \
         term INTEGER NOT NULL, \
         position INTEGER NOT NULL, \
         block BLOB NOT NULL, \
         PRIMARY KEY (segment, term, position))",
    ),
    (
        "dcb_filters",
        "CREATE TABLE dcb_filters (\
         segment INTEGER NOT NULL, \
         part INTEGER NOT NULL, \
         bits BLOB NOT NULL, \
         PRIMARY KEY (segment, part))",
    ),
];

/// The kind of a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A store in a format that the library reads.
    Store,
    /// A database without anything in it, of one page at most.
    Empty,
    /// A database of somebody else's, without a store in it: with tables, with the mark of another
    /// program, or with pages that had something in them.
    Foreign,
}

/// Detects the kind of the database, without writing to it.
pub fn detect(connection: &dyn SqlConnection) -> Result<FileKind> {
    let mut objects: Vec<(String, String)> = Vec::new();
    connection
        .query("SELECT name, coalesce(sql, '') FROM sqlite_schema", &[], &mut |row| {
            let text = |column| row.text(column).map(str::to_owned);
            let object = text(0).zip(text(1));
            objects.push(
                object.ok_or_else(|| unsupported_schema("a name in the schema is not text"))?,
            );
            Ok(ControlFlow::Continue(()))
        })
        .map_err(unsupported)?;
    let ours = |name: &str| name.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("dcb_"));
    if !objects.iter().any(|(name, _)| ours(name)) {
        let is_at_most = |pragma: &str, most: i64| -> Result<bool> {
            let value = connection.query_row(pragma, &[], |row| Ok(row.integer(0)));
            let value = value.map_err(unsupported)?.flatten();
            Ok(value.is_some_and(|value| (0..=most).contains(&value)))
        };
        let empty = objects.is_empty()
            && is_at_most("PRAGMA application_id", 0)?
            && is_at_most("PRAGMA user_version", 0)?
            && is_at_most("PRAGMA page_count", 1)?;
        return Ok(if empty { FileKind::Empty } else { FileKind::Foreign });
    }
    match format_of(connection).map_err(unsupported)? {
        Some(OLDEST_FORMAT..=FORMAT) => {}
        Some(newer) if newer > FORMAT => {
            return Err(Error::new(
                Status::UnsupportedFormat,
                format!(
                    "the file has format {newer}, but this library supports format {FORMAT}: use a \
                     newer library"
                ),
            ));
        }
        _ => return Err(unsupported_schema("dcb_meta names no format")),
    }
    for (name, sql) in OBJECTS {
        if !objects.iter().any(|(own, own_sql)| own == name && own_sql == sql) {
            return Err(unsupported_schema(&format!("{name} is missing or altered")));
        }
    }
    if let Some((name, _)) = objects
        .iter()
        .find(|(name, _)| ours(name) && !OBJECTS.iter().any(|(known, _)| known == name))
    {
        let shown: String = name.chars().take(40).collect();
        return Err(unsupported_schema(&format!("{} is not of this format", shown.escape_debug())));
    }
    Ok(FileKind::Store)
}

/// Returns the version of a store's format, if the store names one.
pub fn format_of(connection: &dyn SqlConnection) -> Result<Option<i64>> {
    let sql = "SELECT value FROM main.dcb_meta WHERE key = 'format'";
    Ok(connection.query_row(sql, &[], |row| Ok(row.integer(0)))?.flatten())
}

/// Raises the version of a store's format to [`FORMAT`], in one transaction.
pub fn upgrade(connection: &mut Connection) -> Result<()> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(from_sqlite)?;
    upgrade_within(&*transaction)?;
    transaction.commit().map_err(from_sqlite)
}

/// Does what [`upgrade`] does, in a transaction that holds the write lock.
pub fn upgrade_within(connection: &dyn SqlConnection) -> Result<()> {
    if format_of(connection)?.is_none_or(|format| format >= FORMAT) {
        return Ok(());
    }
    connection.run(
        "UPDATE main.dcb_meta SET value = ?1 WHERE key = 'format'",
        &[Value::Integer(FORMAT)],
    )?;
    let number = |pragma: &str| connection.query_row(pragma, &[], |row| Ok(row.integer(0)));
    // In a database that was adopted, both numbers are the other program's.
    if number("PRAGMA main.application_id")?.flatten() == Some(APPLICATION_ID) {
        connection.run(&format!("PRAGMA main.user_version = {FORMAT}"), &[])?;
    }
    Ok(())
}

/// Detects the kind of the database in a transaction of its own: another process may be creating a
/// store in it.
pub fn detect_in_transaction(connection: &Connection) -> Result<FileKind> {
    let transaction = Transaction::begin(connection)?;
    detect(transaction.0)
}

/// Creates a store in the database, in one transaction. Does nothing if there is one already.
pub fn create(connection: &mut Connection, adopted: bool) -> Result<()> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(from_sqlite)?;
    create_within(&*transaction, adopted)?;
    transaction.commit().map_err(from_sqlite)
}

/// Creates a store as [`create`] does, in a transaction that holds the write lock.
pub fn create_within(connection: &dyn SqlConnection, adopted: bool) -> Result<()> {
    match detect(connection)? {
        FileKind::Store => return Ok(()),
        // Another program has created its tables since the file was checked first.
        FileKind::Foreign if !adopted => return Err(no_store()),
        FileKind::Empty | FileKind::Foreign => {}
    }
    for (_, sql) in OBJECTS {
        connection.run(sql, &[])?;
    }
    connection.run(
        "INSERT INTO main.dcb_meta (key, value) \
         VALUES ('format', ?1), ('index', 0), ('segments', 0)",
        &[Value::Integer(FORMAT)],
    )?;
    if !adopted {
        connection.run(&format!("PRAGMA application_id = {APPLICATION_ID}"), &[])?;
        connection.run(&format!("PRAGMA user_version = {FORMAT}"), &[])?;
    }
    Ok(())
}

/// Returns the error for a database of another program that may not be adopted.
pub fn no_store() -> Error {
    Error::new(
        Status::UnsupportedFormat,
        "the file is a database without a store: to create a store in it, use the option adopt",
    )
}

/// Reports a file whose kind cannot be detected as `unsupported_format`. Errors of the operating
/// system keep their status.
fn unsupported(error: Error) -> Error {
    match error.status {
        Status::Corrupt | Status::UnsupportedFormat => Error {
            status: Status::UnsupportedFormat,
            message: format!(
                "the file is not a database that the library can read: {}",
                error.message
            )
            .into(),
            ..error
        },
        _ => error,
    }
}

fn unsupported_schema(why: &str) -> Error {
    Error::new(
        Status::UnsupportedFormat,
        format!("the tables of the file are not those of a store: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::connection::{Location, OpenMode, connect};

    #[test]
    fn a_foreign_database_gets_a_store_only_with_adopt() {
        let mut connection = connect(&Location::Memory, OpenMode::Create).unwrap();
        connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert_eq!(create(&mut connection, false), Err(no_store()));
        assert_eq!(detect(&connection), Ok(FileKind::Foreign));
        assert_eq!(create(&mut connection, true), Ok(()));
        assert_eq!(detect(&connection), Ok(FileKind::Store));
        let own = |name| connection.query_row(name, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!([own("PRAGMA application_id"), own("PRAGMA user_version")], [0, 0]);
    }
}
