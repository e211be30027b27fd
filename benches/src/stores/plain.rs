//! A store on SQLite as one writes it in an afternoon: one connection behind a mutex, one
//! transaction an append, a table of tags.

use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, OptionalExtension, Row, Rows, TransactionBehavior, params};

use super::{Append, Form, Found, Outcome, Subject};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY, type TEXT NOT NULL, tags TEXT NOT NULL, data TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS tags (
        tag TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (tag, position)) WITHOUT ROWID;
";

pub struct Plain(Mutex<Connection>);

impl Plain {
    pub fn open(path: &Path) -> Self {
        let connection = Connection::open(path).expect("a database");
        connection.pragma_update(None, "journal_mode", "WAL").expect("a write-ahead log");
        connection.pragma_update(None, "synchronous", "FULL").expect("durable commits");
        connection.execute_batch(SCHEMA).expect("tables");
        Plain(Mutex::new(connection))
    }

    fn try_append(&self, append: &Append<'_>) -> rusqlite::Result<Outcome> {
        let mut connection = self.0.lock().expect("the connection");
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some((tag, after)) = append.condition {
            let conflict = transaction
                .prepare_cached("SELECT 1 FROM tags WHERE tag = ? AND position > ? LIMIT 1")?
                .query_row(params![tag, after.cast_signed()], |_| Ok(()))
                .optional()?;
            if conflict.is_some() {
                return Ok(Outcome::Refused);
            }
        }
        {
            let mut insert_event = transaction
                .prepare_cached("INSERT INTO events (type, tags, data) VALUES (?, ?, ?)")?;
            let mut insert_tag =
                transaction.prepare_cached("INSERT INTO tags (tag, position) VALUES (?, ?)")?;
            for event in append.events {
                let tags = event.tags.join("\n");
                let position = insert_event.insert(params![event.event_type, tags, event.data])?;
                for tag in &event.tags {
                    insert_tag.execute(params![tag, position])?;
                }
            }
        }
        transaction.commit()?;
        Ok(Outcome::Stored)
    }

    fn try_read(&self, tag: Option<&str>) -> rusqlite::Result<Found> {
        let connection = self.0.lock().expect("the connection");
        let mut found = Found::default();
        let columns = "SELECT e.position, e.type, e.tags, e.data FROM";
        if let Some(tag) = tag {
            let sql = format!(
                "{columns} tags t JOIN events e ON e.position = t.position \
                 WHERE t.tag = ? ORDER BY t.position"
            );
            look_at(&mut found, connection.prepare_cached(&sql)?.query([tag])?)?;
        } else {
            let sql = format!("{columns} events e ORDER BY e.position");
            look_at(&mut found, connection.prepare_cached(&sql)?.query([])?)?;
        }
        Ok(found)
    }
}

fn look_at(found: &mut Found, mut rows: Rows<'_>) -> rusqlite::Result<()> {
    let text = |row: &Row<'_>, column| row.get::<_, String>(column);
    while let Some(row) = rows.next()? {
        found.position = row.get::<_, i64>(0)?.cast_unsigned();
        found.look(text(row, 1)?.as_bytes(), text(row, 3)?.as_bytes());
    }
    Ok(())
}

impl Subject for Plain {
    fn append(&self, append: &Append<'_>) -> Outcome {
        self.try_append(append).expect("an append")
    }

    fn read(&self, tag: Option<&str>, _form: Form) -> Found {
        self.try_read(tag).expect("a read")
    }
}
