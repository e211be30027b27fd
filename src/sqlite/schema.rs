//! What a store's file holds, and how one tells that a file is one. `docs/file-format.md` is the
//! page for readers of the file.

use std::ops::ControlFlow;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, Result, Status};
use crate::sql::{SqlConnection, Value};
use crate::sqlite::connection::error::from_sqlite;
use crate::sqlite::connection::transaction::Transaction;

/// The version of the format; a file with a higher one is not touched.
pub const FORMAT: i64 = 1;

/// `dcb1` in ASCII: set on files that the library created.
const APPLICATION_ID: i64 = 0x6463_6231;

/// Everything that is ours in the file: name and definition, as `sqlite_schema` gives it back.
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

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A store of this format.
    Store,
    /// A database without anything in it, of one page at most.
    Empty,
    /// A database of somebody else's, without a store in it: with tables, with the mark of another
    /// program, or with pages that had something in them.
    Foreign,
}

/// Tells what the database is, writing nothing.
pub fn detect(connection: &dyn SqlConnection) -> Result<FileKind> {
    let mut objects: Vec<(String, String)> = Vec::new();
    connection
        .query("SELECT name, coalesce(sql, '') FROM sqlite_schema", &[], &mut |row| {
            let text = |column| row.text(column).map(str::to_owned);
            let object = text(0).zip(text(1));
            objects
                .push(object.ok_or_else(|| unsupported_schema("it has a name that is no text"))?);
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
    let format = "SELECT value FROM dcb_meta WHERE key = 'format'";
    let format =
        connection.query_row(format, &[], |row| Ok(row.integer(0))).map_err(unsupported)?;
    match format.flatten() {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => {
            return Err(Error::new(
                Status::UnsupportedFormat,
                format!("the file has format {newer}, this library knows format {FORMAT}"),
            ));
        }
        _ => return Err(unsupported_schema("it names no format")),
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

/// The same outside of a transaction. All that is looked at is of one moment: somebody may be
/// making a store in the database.
pub fn detect_at_once(connection: &Connection) -> Result<FileKind> {
    let moment = Transaction::begin(connection)?;
    detect(moment.0)
}

/// Makes a store in the database, in one transaction. Does nothing if there is one by now.
pub fn create(connection: &mut Connection, adopted: bool) -> Result<()> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(from_sqlite)?;
    create_within(&*transaction, adopted)?;
    transaction.commit().map_err(from_sqlite)
}

/// The same in a transaction that has the write lock.
pub fn create_within(connection: &dyn SqlConnection, adopted: bool) -> Result<()> {
    match detect(connection)? {
        FileKind::Store => return Ok(()),
        // Somebody else's since it was judged for the first time.
        FileKind::Foreign if !adopted => return Err(no_store()),
        FileKind::Empty | FileKind::Foreign => {}
    }
    for (_, sql) in OBJECTS {
        connection.run(sql, &[])?;
    }
    connection.run(
        "INSERT INTO dcb_meta (key, value) VALUES ('format', ?1), ('index', 0), ('segments', 0)",
        &[Value::Integer(FORMAT)],
    )?;
    if !adopted {
        connection.run(&format!("PRAGMA application_id = {APPLICATION_ID}"), &[])?;
        connection.run(&format!("PRAGMA user_version = {FORMAT}"), &[])?;
    }
    Ok(())
}

/// The database is not a store's.
pub fn no_store() -> Error {
    Error::new(
        Status::UnsupportedFormat,
        "the file is a database without a store in it (the option adopt takes a store in)",
    )
}

/// A file that cannot be judged is not a store's; what the system refused stays what it is.
fn unsupported(error: Error) -> Error {
    match error.status {
        Status::Corrupt | Status::UnsupportedFormat => Error {
            status: Status::UnsupportedFormat,
            message: format!("not a database that the library can read: {}", error.message).into(),
            ..error
        },
        _ => error,
    }
}

fn unsupported_schema(why: &str) -> Error {
    Error::new(
        Status::UnsupportedFormat,
        format!("the file's tables are not those of a store: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::connection::{Location, OpenMode, connect};

    #[test]
    fn a_database_of_somebody_elses_takes_a_store_in_only_when_it_is_adopted() {
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
