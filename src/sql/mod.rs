//! SQL on a connection of the library or of the host program. Nothing here depends on a database or
//! its driver.

pub mod host;
pub mod row_codec;

use std::ops::ControlFlow;

use crate::error::Result;
use crate::position::Position;

/// A value that is bound to a statement or found in a column of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// SQL's NULL.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// A text. A database may hold text that is not valid UTF-8.
    Text(&'a [u8]),
    /// A string of bytes.
    Blob(&'a [u8]),
}

impl From<Position> for Value<'_> {
    fn from(position: Position) -> Self {
        Value::Integer(position.get())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text.as_bytes())
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Value::Null, Value::from)
    }
}

/// A connection that runs SQL statements.
pub trait SqlConnection {
    /// Calls `visit` with each row of a statement, until it breaks off.
    fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()>;

    /// Calls `visit` with the rows of a statement for each of `keys`, which ascend or descend. The
    /// statement ends in `WHERE column = ?1`.
    fn query_each(
        &self,
        sql: &str,
        keys: &[i64],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()>;

    /// Runs a statement without rows. Returns the number of rows that it has changed.
    fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<usize>;

    /// Runs `sql`, an INSERT of one row of `width` values, for each row of `values`. After an error,
    /// some of the rows may be there: the caller rolls the transaction back.
    fn run_each(&self, sql: &str, width: usize, values: &[Value<'_>]) -> Result<()>;

    /// Returns whether no transaction is open. The database may have ended one by itself.
    fn is_autocommit(&self) -> bool;

    /// Returns whether all statements see the same snapshot of the database.
    fn is_in_snapshot(&self) -> bool;
}

impl dyn SqlConnection + '_ {
    /// Returns the result of `read` for the first row, or `None` if there is no row.
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

/// The most rows that one statement inserts.
pub const ROWS_PER_INSERT: usize = 16;

/// Returns `sql`, an INSERT of one row of `width` values, as an INSERT of `count` rows, whose
/// parameters have no numbers: some drivers bind numbered ones several times as slowly.
pub fn insert_of_rows(sql: &str, width: usize, count: usize) -> String {
    let Some((into, _)) = sql.split_once(" VALUES ") else { return sql.to_owned() };
    let row = format!("({})", vec!["?"; width].join(","));
    format!("{into} VALUES {}", vec![row; count].join(","))
}

/// The columns of a row.
pub trait Columns {
    /// Returns the value in a column, or NULL if there is no such column.
    fn value(&self, column: usize) -> Value<'_>;
}

/// A row whose values have been decoded.
impl Columns for Vec<Value<'_>> {
    fn value(&self, column: usize) -> Value<'_> {
        self.get(column).copied().unwrap_or(Value::Null)
    }
}

/// A row of a running statement.
pub struct Row<'a> {
    columns: &'a dyn Columns,
    /// Whether the driver distinguishes texts from blobs.
    is_typed: bool,
}

impl<'a> Row<'a> {
    /// Returns a row of a driver that distinguishes texts from blobs.
    pub fn typed(columns: &'a dyn Columns) -> Self {
        Row { columns, is_typed: true }
    }

    /// Returns a row of a driver that may return a text as a blob, or a blob as a text.
    pub fn untyped(columns: &'a dyn Columns) -> Self {
        Row { columns, is_typed: false }
    }

    /// Returns the value in a column, or NULL if there is no such column.
    pub fn value(&self, column: usize) -> Value<'a> {
        self.columns.value(column)
    }

    /// Returns the integer in a column, or `None` if the value is not an integer.
    pub fn integer(&self, column: usize) -> Option<i64> {
        match self.value(column) {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// Returns the text in a column, or `None` if the value is not a text.
    pub fn text(&self, column: usize) -> Option<&'a str> {
        match self.value(column) {
            Value::Text(text) => str::from_utf8(text).ok(),
            Value::Blob(text) if !self.is_typed => str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// Returns the text in a column, `Some(None)` if the value is NULL, or `None` if it is neither.
    pub fn optional_text(&self, column: usize) -> Option<Option<&'a str>> {
        match self.value(column) {
            Value::Null => Some(None),
            _ => self.text(column).map(Some),
        }
    }

    /// Returns the bytes in a column, or `None` if the value is not a blob.
    pub fn blob(&self, column: usize) -> Option<&'a [u8]> {
        match self.value(column) {
            Value::Blob(blob) => Some(blob),
            Value::Text(blob) if !self.is_typed => Some(blob),
            _ => None,
        }
    }
}
