//! A connection as the store's statements use it: one statement at a time, rows one by one.

pub mod host;
pub mod row_codec;

use std::ops::ControlFlow;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params_from_iter};

use crate::error::Result;
use crate::sqlite::connection::error::from_sqlite;
use crate::sqlite::wal::wal_index::DatabaseFile;

/// What is bound to a statement, and what a row has in a column.
pub use rusqlite::types::ValueRef as Value;

/// Runs statements.
pub trait SqlConnection {
    /// Gives `visit` the rows of a statement, until it stops.
    fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()>;

    /// The same, of a statement that ends in `WHERE column = ?1` and is run for each of `keys`,
    /// which ascend or descend.
    fn query_each(
        &self,
        sql: &str,
        keys: &[i64],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()>;

    /// Runs a statement without rows; gives how many it has changed.
    fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<usize>;

    /// Runs `sql`, an INSERT of one row of `width` values, for each row of `values`.
    fn run_each(&self, sql: &str, width: usize, values: &[Value<'_>]) -> Result<()>;

    /// Whether no transaction is open: none was begun, or the database has ended it by itself.
    fn is_autocommit(&self) -> bool;

    /// Whether all that is looked at now is of one moment.
    fn is_in_snapshot(&self) -> bool;

    /// The database file, to read pages of it without SQLite; `None` where that cannot be done.
    fn database_file(&self) -> Option<DatabaseFile<'_>> {
        None
    }
}

impl dyn SqlConnection + '_ {
    /// What `read` makes of the first row; `None` where there is no row.
    pub fn query_row<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let (mut read, mut found) = (Some(read), None);
        self.query(sql, values, &mut |row| {
            if let Some(read) = read.take() {
                found = Some(read(row)?);
            }
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }
}

/// A row of a statement under way.
pub struct Row<'a>(Columns<'a>);

enum Columns<'a> {
    Own(&'a rusqlite::Row<'a>),
    /// Whether bytes are text or a blob is not to be relied on: some drivers make no difference.
    Packed(&'a [Value<'a>]),
}

impl<'a> Row<'a> {
    /// Of our own SQLite.
    pub fn of(row: &'a rusqlite::Row<'a>) -> Self {
        Row(Columns::Own(row))
    }

    /// Of the host's.
    pub fn packed(columns: &'a [Value<'a>]) -> Self {
        Row(Columns::Packed(columns))
    }

    /// What is in a column; NULL where there is no such column.
    pub fn value(&self, column: usize) -> Value<'a> {
        match self.0 {
            Columns::Own(row) => row.get_ref(column).unwrap_or(Value::Null),
            Columns::Packed(columns) => columns.get(column).copied().unwrap_or(Value::Null),
        }
    }

    /// The integer in a column, if it is one.
    pub fn integer(&self, column: usize) -> Option<i64> {
        self.value(column).as_i64().ok()
    }

    /// The text in a column, if it is one.
    pub fn text(&self, column: usize) -> Option<&'a str> {
        match (&self.0, self.value(column)) {
            (_, Value::Text(text)) | (Columns::Packed(_), Value::Blob(text)) => {
                std::str::from_utf8(text).ok()
            }
            _ => None,
        }
    }

    /// The same, where it may also be NULL.
    pub fn optional_text(&self, column: usize) -> Option<Option<&'a str>> {
        match self.value(column) {
            Value::Null => Some(None),
            _ => self.text(column).map(Some),
        }
    }

    /// The bytes in a column, if it has some.
    pub fn blob(&self, column: usize) -> Option<&'a [u8]> {
        match (&self.0, self.value(column)) {
            (_, Value::Blob(blob)) | (Columns::Packed(_), Value::Text(blob)) => Some(blob),
            _ => None,
        }
    }
}

fn bound<'a>(values: &'a [Value<'a>]) -> impl rusqlite::Params + 'a {
    params_from_iter(values.iter().map(|value| ToSqlOutput::Borrowed(*value)))
}

impl SqlConnection for Connection {
    fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut statement = self.prepare_cached(sql).map_err(from_sqlite)?;
        let mut rows = statement.query(bound(values)).map_err(from_sqlite)?;
        while let Some(row) = rows.next().map_err(from_sqlite)? {
            if visit(&Row::of(row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn query_each(
        &self,
        sql: &str,
        keys: &[i64],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut statement = self.prepare_cached(sql).map_err(from_sqlite)?;
        for key in keys {
            let mut rows = statement.query([key]).map_err(from_sqlite)?;
            while let Some(row) = rows.next().map_err(from_sqlite)? {
                if visit(&Row::of(row))?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<usize> {
        self.prepare_cached(sql)
            .and_then(|mut statement| statement.execute(bound(values)))
            .map_err(from_sqlite)
    }

    fn run_each(&self, sql: &str, width: usize, values: &[Value<'_>]) -> Result<()> {
        let mut statement = self.prepare_cached(sql).map_err(from_sqlite)?;
        for values in values.chunks(width) {
            statement.execute(bound(values)).map_err(from_sqlite)?;
        }
        Ok(())
    }

    fn is_autocommit(&self) -> bool {
        Connection::is_autocommit(self)
    }

    fn is_in_snapshot(&self) -> bool {
        // In a transaction, or under a statement under way, which is one too.
        !self.is_autocommit() || self.is_busy()
    }

    fn database_file(&self) -> Option<DatabaseFile<'_>> {
        DatabaseFile::of(self)
    }
}
