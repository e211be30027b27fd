//! [`SqlConnection`] for the library's own connections, through `rusqlite`.

use std::ops::ControlFlow;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use crate::error::Result;
use crate::sql::{Columns, Row, SqlConnection, Value};
use crate::sqlite::connection::error::from_sqlite;

impl Columns for rusqlite::Row<'_> {
    fn value(&self, column: usize) -> Value<'_> {
        match self.get_ref(column) {
            Ok(ValueRef::Integer(number)) => Value::Integer(number),
            Ok(ValueRef::Real(number)) => Value::Real(number),
            Ok(ValueRef::Text(text)) => Value::Text(text),
            Ok(ValueRef::Blob(blob)) => Value::Blob(blob),
            Ok(ValueRef::Null) | Err(_) => Value::Null,
        }
    }
}

/// Converts the values into parameters of a statement.
pub fn bound<'a>(values: &'a [Value<'a>]) -> impl rusqlite::Params + 'a {
    params_from_iter(values.iter().map(|value| {
        ToSqlOutput::Borrowed(match *value {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(number),
            Value::Real(number) => ValueRef::Real(number),
            Value::Text(text) => ValueRef::Text(text),
            Value::Blob(blob) => ValueRef::Blob(blob),
        })
    }))
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
            if visit(&Row::typed(row))?.is_break() {
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
                if visit(&Row::typed(row))?.is_break() {
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
        // A statement that is being stepped holds a snapshot too.
        !self.is_autocommit() || self.is_busy()
    }
}
