//! [`SqlConnection`] for the library's own connections, through `rusqlite`.

use std::ops::ControlFlow;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use crate::error::Result;
use crate::sql::{Columns, ROWS_PER_INSERT, Row, SqlConnection, Value, insert_of_rows};
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
        // Beginning and ending a statement costs about as much as inserting a row. A caller rolls its
        // transaction back after any error. With FAIL, SQLite copies no pages for the case that it
        // has to undo the first rows of a statement.
        let mut groups = values.chunks_exact(width * ROWS_PER_INSERT);
        if groups.len() > 0 {
            let sql = insert_of_rows(sql, width, ROWS_PER_INSERT);
            let sql = sql.replacen("INSERT INTO", "INSERT OR FAIL INTO", 1);
            let mut statement = self.prepare_cached(&sql).map_err(from_sqlite)?;
            for rows in &mut groups {
                statement.execute(bound(rows)).map_err(from_sqlite)?;
            }
        }
        if !groups.remainder().is_empty() {
            let mut statement = self.prepare_cached(sql).map_err(from_sqlite)?;
            for row in groups.remainder().chunks(width) {
                statement.execute(bound(row)).map_err(from_sqlite)?;
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that are inserted together are those that are inserted one by one.
    #[test]
    fn rows_are_inserted_whatever_their_number() {
        for count in [0, 1, 15, 16, 17, 31, 32, 33, 100] {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch("CREATE TABLE a (b INTEGER PRIMARY KEY, c, d)").unwrap();
            let text = |row: i64| format!("é{row}");
            let texts: Vec<_> = (0..count).map(text).collect();
            let values: Vec<_> = (0..count)
                .zip(&texts)
                .flat_map(|(row, text)| [Value::Integer(row), text.as_str().into(), Value::Null])
                .collect();
            let sql = "INSERT INTO a (b, c, d) VALUES (?1, ?2, ?3)";
            connection.run_each(sql, 3, &values).unwrap();
            let mut row = 0;
            let visit = &mut |found: &Row<'_>| {
                assert_eq!((found.integer(0), found.text(1)), (Some(row), Some(&*text(row))));
                assert_eq!(found.value(2), Value::Null);
                row += 1;
                Ok(ControlFlow::Continue(()))
            };
            SqlConnection::query(&connection, "SELECT * FROM a ORDER BY b", &[], visit).unwrap();
            assert_eq!(row, count);
            // A row that is there already is an error.
            assert_eq!(connection.run_each(sql, 3, &values).is_err(), count > 0);
        }
    }
}
