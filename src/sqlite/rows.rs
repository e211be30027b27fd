//! Rows of `dcb_events`: how an event becomes one, and how it is read back and checked.

use std::sync::Arc;

use super::database::{Database, Row, Value, Walk};
use crate::domain::{
    Event, EventBuilder, EventId, EventType, EventView, SequencedEvent, Span, Tag, Tags,
};
use crate::error::{Error, Result, Status};

const COLUMNS: &str = "position, type, tags, data, id, metadata, timestamp, checksum";
/// Finds an event by its position.
const FETCH: &str = "SELECT position, type, tags, data, id, metadata, timestamp, checksum \
                     FROM dcb_events WHERE position = ?1";

/// What can be made of an event before its position is known: the columns that are not its own
/// text, made by the caller's thread so that the writer's does not have to.
#[derive(Debug)]
pub struct RowDraft {
    tags: String,
    checksum: u32,
}

impl RowDraft {
    /// The draft of the row of `event`.
    pub fn new(event: &Event) -> Self {
        let mut tags = Vec::with_capacity(2 + event.footprint().min(256));
        tags.push(b'[');
        for (index, tag) in event.tags().iter().enumerate() {
            if index != 0 {
                tags.push(b',');
            }
            // Writing to a Vec cannot fail, nor can a string fail to be JSON.
            let _ = serde_json::to_writer(&mut tags, tag);
        }
        tags.push(b']');
        let tags = String::from_utf8(tags).unwrap_or_default();
        let columns = [
            Some(event.event_type()),
            Some(&tags),
            Some(event.data()),
            event.id(),
            event.metadata(),
        ];
        let room = columns.iter().flatten().map(|text| text.len() + 1).sum::<usize>() + 2;
        let checksum = checksum_of_text(&mut Vec::with_capacity(room), columns);
        RowDraft { tags, checksum }
    }
}

/// CRC-32 of the texts of a row, in the order of its columns: each is led by 1, an absent one is
/// a 0, so that no two rows give the same bytes.
fn checksum_of_text(scratch: &mut Vec<u8>, columns: [Option<&str>; 5]) -> u32 {
    // Put together first: one long sum costs far less than many short ones.
    scratch.clear();
    for column in columns {
        scratch.push(u8::from(column.is_some()));
        scratch.extend_from_slice(column.unwrap_or_default().as_bytes());
    }
    crc32fast::hash(scratch)
}

/// The checksum of a whole row: that of its texts, continued over its two numbers.
fn checksum_of_row(text: u32, position: i64, timestamp_us: i64) -> i64 {
    let mut hasher = crc32fast::Hasher::new_with_initial(text);
    let mut numbers = [0; 16];
    numbers[..8].copy_from_slice(&position.to_le_bytes());
    numbers[8..].copy_from_slice(&timestamp_us.to_le_bytes());
    hasher.update(&numbers);
    hasher.finalize().into()
}

/// Writes the row of `event`.
pub fn insert(connection: &dyn Database, event: &SequencedEvent, draft: &RowDraft) -> Result<()> {
    let body = &event.event;
    let checksum = checksum_of_row(draft.checksum, event.position, event.timestamp_us);
    connection
        .run(
            "INSERT INTO dcb_events \
             (position, type, tags, data, id, metadata, timestamp, checksum) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            &[
                Value::Integer(event.position),
                body.event_type().into(),
                draft.tags.as_str().into(),
                body.data().into(),
                body.id().into(),
                body.metadata().into(),
                Value::Integer(event.timestamp_us),
                Value::Integer(checksum),
            ],
        )
        .map(drop)
}

/// The scratch that decoding rows reuses.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Where each tag stands in the row's `tags`, or, if it is escaped there, in `unescaped`.
    unescaped: Vec<String>,
    /// What the checksum is taken of.
    scratch: Vec<u8>,
}

impl Decoder {
    /// Decodes and checks a row of [`COLUMNS`] and gives it to `then`.
    fn decode<T>(
        &mut self,
        row: &Row<'_>,
        then: impl FnOnce(&EventView<'_>) -> Result<T>,
    ) -> Result<T> {
        let position = row.integer(0).ok_or_else(|| damaged(0))?;
        let text = |column| row.text(column).ok_or_else(|| damaged(position));
        let optional = |column| row.value(column).as_str_or_null().map_err(|_| damaged(position));
        let number = |column| row.integer(column).ok_or_else(|| damaged(position));
        let (event_type, tags, data) = (text(1)?, text(2)?, text(3)?);
        let (id, metadata) = (optional(4)?, optional(5)?);
        let timestamp_us = number(6)?;
        let columns = [Some(event_type), Some(tags), Some(data), id, metadata];
        let texts = checksum_of_text(&mut self.scratch, columns);
        if checksum_of_row(texts, position, timestamp_us) != number(7)? {
            return Err(damaged(position));
        }
        let mut view = EventView {
            position,
            timestamp_us,
            event_type,
            tags: Tags::listed(&[]),
            data,
            id,
            metadata,
        };
        if tags == "[]" {
            return then(&view);
        }
        let inner = tags
            .strip_prefix("[\"")
            .and_then(|rest| rest.strip_suffix("\"]"))
            .ok_or_else(|| damaged(position))?;
        if !inner.contains('\\') {
            // Without escapes a quote can only be a border.
            let mut few = [""; 8];
            let mut count = 0;
            let mut pieces = inner.split('"').step_by(2);
            for slot in &mut few {
                let Some(piece) = pieces.next() else { break };
                *slot = piece;
                count += 1;
            }
            return match pieces.next() {
                None => {
                    view.tags = Tags::listed(&few[..count]);
                    then(&view)
                }
                Some(next) => {
                    let all: Vec<&str> =
                        few.into_iter().chain(std::iter::once(next)).chain(pieces).collect();
                    view.tags = Tags::listed(&all);
                    then(&view)
                }
            };
        }
        self.unescaped = serde_json::from_str(tags).map_err(|_| damaged(position))?;
        let all: Vec<&str> = self.unescaped.iter().map(String::as_str).collect();
        view.tags = Tags::listed(&all);
        then(&view)
    }

    /// Gives `visit` the events in `span` in order, checking that none is missing.
    pub fn scan(
        &mut self,
        connection: &dyn Database,
        span: Span,
        backwards: bool,
        mut visit: impl FnMut(&EventView<'_>) -> Result<Walk>,
    ) -> Result<()> {
        let order = if backwards { "DESC" } else { "ASC" };
        let sql = format!(
            "SELECT {COLUMNS} FROM dcb_events WHERE position > ?1 AND position <= ?2 \
             ORDER BY position {order}"
        );
        let bounds = [Value::Integer(span.low), Value::Integer(span.high)];
        let (mut expected, step) = if backwards { (span.high, -1) } else { (span.low + 1, 1) };
        let mut last = Walk::On;
        connection.query(&sql, &bounds, &mut |row| {
            last = self.decode(row, |view| {
                if view.position != expected {
                    return Err(damaged(expected));
                }
                visit(view)
            })?;
            expected = expected.wrapping_add(step);
            Ok(last)
        })?;
        let past_the_end = if backwards { span.low } else { span.high.wrapping_add(1) };
        if last == Walk::On && expected != past_the_end {
            return Err(damaged(expected));
        }
        Ok(())
    }

    /// Gives `visit` the event at `position`, which the store has.
    pub fn at<T>(
        &mut self,
        connection: &dyn Database,
        position: i64,
        visit: impl FnOnce(&EventView<'_>) -> Result<T>,
    ) -> Result<T> {
        let (mut visit, mut seen) = (Some(visit), None);
        self.fetch(connection, &[position], |view| {
            seen = visit.take().map(|visit| visit(view)).transpose()?;
            Ok(Walk::Stop)
        })?;
        seen.ok_or_else(|| damaged(position))
    }

    /// Gives `visit` the events at `positions`, which the store has, in this order.
    pub fn fetch(
        &mut self,
        connection: &dyn Database,
        positions: &[i64],
        mut visit: impl FnMut(&EventView<'_>) -> Result<Walk>,
    ) -> Result<()> {
        let mut expected = positions.iter();
        let mut last = Walk::On;
        connection.query_each(FETCH, positions, &mut |row| {
            last = self.decode(row, |view| match expected.next() {
                Some(position) if view.position == *position => visit(view),
                Some(position) => Err(damaged(*position)),
                None => Err(damaged(view.position)),
            })?;
            Ok(last)
        })?;
        match expected.next() {
            Some(position) if last == Walk::On => Err(damaged(*position)),
            _ => Ok(()),
        }
    }
}

/// A copy of a stored event that outlives its row.
pub fn to_owned(view: &EventView<'_>) -> Result<Arc<SequencedEvent>> {
    let damage = |_| damaged(view.position);
    let mut builder = EventBuilder::new(EventType::new(view.event_type).map_err(damage)?);
    for tag in view.tags.iter() {
        builder.tag(Tag::new(tag).map_err(damage)?).map_err(damage)?;
    }
    builder.data(view.data).map_err(damage)?;
    if let Some(id) = view.id {
        builder.id(EventId::new(id).map_err(damage)?);
    }
    if let Some(metadata) = view.metadata {
        builder.metadata(metadata).map_err(damage)?;
    }
    Ok(Arc::new(SequencedEvent {
        position: view.position,
        timestamp_us: view.timestamp_us,
        event: builder.build(),
    }))
}

/// The event at `position` is missing or not as it was written.
pub fn damaged(position: i64) -> Error {
    Error::new(
        Status::Corrupt,
        format!("the event at position {position} is missing or is not what was written"),
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::sqlite::connection::{Place, Role, connect};
    use crate::sqlite::schema;

    fn store() -> Connection {
        let mut connection = connect(&Place::Memory, Role::Create).unwrap();
        schema::create(&mut connection, false).unwrap();
        connection
    }

    fn event(position: i64, tags: &[&str], id: Option<&str>) -> SequencedEvent {
        let mut builder = EventBuilder::new(EventType::new("Typé").unwrap());
        for tag in tags {
            builder.tag(Tag::new(tag).unwrap()).unwrap();
        }
        builder.data(r#"{"a" : 1e400}"#).unwrap();
        if let Some(id) = id {
            builder.id(EventId::new(id).unwrap());
            builder.metadata(r#"{ "m":null}"#).unwrap();
        }
        SequencedEvent { position, timestamp_us: 17, event: builder.build() }
    }

    #[test]
    fn a_row_comes_back_as_it_went_in() {
        let connection = store();
        let many: Vec<String> = (0..20).map(|n| format!("k:{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let cases: [&[&str]; 5] =
            [&[], &["a"], &["a:1", "b:\",\"", "c\\d", "\u{1}"], &many, &["é:ü", "x:y:z"]];
        for (index, tags) in cases.into_iter().enumerate() {
            let id = (index % 2 == 0).then_some("id \" \\ \u{7f}");
            let event = event(index as i64 + 1, tags, id);
            insert(&connection, &event, &RowDraft::new(&event.event)).unwrap();
        }
        let mut decoder = Decoder::default();
        for (index, tags) in cases.into_iter().enumerate() {
            let id = (index % 2 == 0).then_some("id \" \\ \u{7f}");
            let wanted = event(index as i64 + 1, tags, id);
            let got = decoder.at(&connection, wanted.position, to_owned).unwrap();
            assert_eq!(got.event, wanted.event);
            assert_eq!((got.position, got.timestamp_us), (wanted.position, 17));
        }
    }

    #[test]
    fn a_changed_row_and_a_missing_row_are_seen() {
        let connection = store();
        for position in 1..=3 {
            let event = event(position, &["a:1"], Some("x"));
            insert(&connection, &event, &RowDraft::new(&event.event)).unwrap();
        }
        let all = Span { low: 0, high: 3 };
        let mut decoder = Decoder::default();
        let mut count = |connection: &Connection, span| {
            let mut count = 0;
            decoder
                .scan(connection, span, false, |_| {
                    count += 1;
                    Ok(Walk::On)
                })
                .map(|()| count)
        };
        assert_eq!(count(&connection, all), Ok(3));
        for change in [
            "UPDATE dcb_events SET data = '{\"a\" : 1e401}' WHERE position = 2",
            "UPDATE dcb_events SET timestamp = 18 WHERE position = 2",
            "UPDATE dcb_events SET id = NULL WHERE position = 2",
            "UPDATE dcb_events SET tags = '[a:1]' WHERE position = 2",
            "UPDATE dcb_events SET type = x'41' WHERE position = 2",
            "DELETE FROM dcb_events WHERE position = 2",
        ] {
            connection.execute_batch("SAVEPOINT s").unwrap();
            connection.execute_batch(change).unwrap();
            assert_eq!(count(&connection, all), Err(damaged(2)), "{change}");
            connection.execute_batch("ROLLBACK TO s; RELEASE s").unwrap();
        }
        assert_eq!(count(&connection, Span { low: 0, high: 4 }), Err(damaged(4)));
    }
}
