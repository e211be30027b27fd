//! SQL on a connection, whoever's that is: one statement at a time, rows one by one.

pub mod host;
pub mod row_codec;

use std::ops::ControlFlow;

use crate::error::Result;

/// What is bound to a statement, and what a row has in a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A signed integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// A text; the database may hold bytes that are not UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
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

/// The columns of a row.
pub trait Columns {
    /// The value in a column; NULL where there is no such column.
    fn value(&self, column: usize) -> Value<'_>;
}

/// Columns whose values were decoded before.
impl Columns for Vec<Value<'_>> {
    fn value(&self, column: usize) -> Value<'_> {
        self.get(column).copied().unwrap_or(Value::Null)
    }
}

/// A row of a statement under way.
pub struct Row<'a> {
    columns: &'a dyn Columns,
    /// Whether texts and blobs can be told apart: some drivers make no difference.
    is_typed: bool,
}

impl<'a> Row<'a> {
    /// A row whose texts are texts and whose blobs are blobs.
    pub fn typed(columns: &'a dyn Columns) -> Self {
        Row { columns, is_typed: true }
    }

    /// A row of a driver that may give a text as a blob, or a blob as a text.
    pub fn untyped(columns: &'a dyn Columns) -> Self {
        Row { columns, is_typed: false }
    }

    /// The value in a column; NULL where there is no such column.
    pub fn value(&self, column: usize) -> Value<'a> {
        self.columns.value(column)
    }

    /// The integer in a column, if it is one.
    pub fn integer(&self, column: usize) -> Option<i64> {
        match self.value(column) {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The text in a column, if it is one.
    pub fn text(&self, column: usize) -> Option<&'a str> {
        match self.value(column) {
            Value::Text(text) => str::from_utf8(text).ok(),
            Value::Blob(text) if !self.is_typed => str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The text in a column, if it is one, or that it is NULL.
    pub fn optional_text(&self, column: usize) -> Option<Option<&'a str>> {
        match self.value(column) {
            Value::Null => Some(None),
            _ => self.text(column).map(Some),
        }
    }

    /// The bytes in a column, if it has some.
    pub fn blob(&self, column: usize) -> Option<&'a [u8]> {
        match self.value(column) {
            Value::Blob(blob) => Some(blob),
            Value::Text(blob) if !self.is_typed => Some(blob),
            _ => None,
        }
    }
}
