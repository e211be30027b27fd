//! A row of `dcb_events`: decoding it, verifying its checksum, and viewing it as an event.

use std::sync::Arc;

use memchr::memchr2_iter;

use crate::domain::{EventView, SequencedEvent, Tags};
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sql::Row;
use crate::sqlite::events::checksum::{checksum_of_row, checksum_of_text};
use crate::sqlite::events::page::RowRecord;

/// The buffers that rows are verified and decoded with.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The tags of a row that stores them with escapes.
    unescaped: Vec<String>,
    /// The encoded texts over which the checksum is computed.
    summed: Vec<u8>,
}

/// A row whose texts are valid UTF-8.
#[derive(Debug, Clone, Copy)]
pub struct EventRow<'a> {
    pub position: Position,
    event_type: &'a str,
    tags: &'a str,
    data: &'a str,
    id: Option<&'a str>,
    metadata: Option<&'a str>,
    timestamp_us: i64,
    checksum: i64,
}

impl<'a> EventRow<'a> {
    /// Decodes a row that SQL returned, with these columns: position, type, tags, data, id,
    /// metadata, timestamp, checksum.
    pub fn of_row(row: &Row<'a>) -> Result<Self> {
        let position = row.integer(0).and_then(|number| Position::new(number).ok());
        let position = position.ok_or_else(|| damaged(Position::START))?;
        let text = |column| row.text(column).ok_or_else(|| damaged(position));
        let optional = |column| row.optional_text(column).ok_or_else(|| damaged(position));
        let number = |column| row.integer(column).ok_or_else(|| damaged(position));
        Ok(EventRow {
            position,
            event_type: text(1)?,
            tags: text(2)?,
            data: text(3)?,
            id: optional(4)?,
            metadata: optional(5)?,
            timestamp_us: number(6)?,
            checksum: number(7)?,
        })
    }

    /// Decodes a row that was read from a page. Returns `None` if a text is not valid.
    pub fn of_raw(raw: &RowRecord<'a>) -> Option<Self> {
        let mut rest = str::from_utf8(raw.text).ok()?;
        let mut next = |length| {
            let text;
            (text, rest) = rest.split_at_checked(length)?;
            Some(text)
        };
        let [event_type, tags, data, id, metadata] = raw.lengths;
        let (event_type, tags, data) = (next(event_type?)?, next(tags?)?, next(data?)?);
        let id = id.map(&mut next);
        let metadata = metadata.map(&mut next);
        if id == Some(None) || metadata == Some(None) {
            return None;
        }
        Some(EventRow {
            position: Position::new(raw.position).ok()?,
            event_type,
            tags,
            data,
            id: id.flatten(),
            metadata: metadata.flatten(),
            timestamp_us: raw.timestamp_us,
            checksum: raw.checksum,
        })
    }

    /// Returns the row if its checksum matches.
    pub fn verified(self, scratch: &mut Scratch) -> Result<Self> {
        let columns =
            [Some(self.event_type), Some(self.tags), Some(self.data), self.id, self.metadata];
        let texts = checksum_of_text(&mut scratch.summed, columns);
        if checksum_of_row(texts, self.position.get(), self.timestamp_us) != self.checksum {
            return Err(damaged(self.position));
        }
        Ok(self)
    }

    /// Decodes the tags and calls `then` with the event.
    pub fn with_view<T>(
        &self,
        scratch: &mut Scratch,
        then: impl FnOnce(&EventView<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut view = EventView {
            position: self.position,
            timestamp_us: self.timestamp_us,
            event_type: self.event_type,
            tags: Tags::listed(&[]),
            data: self.data,
            id: self.id,
            metadata: self.metadata,
        };
        if self.tags == "[]" {
            return then(&view);
        }
        let inner = self
            .tags
            .strip_prefix("[\"")
            .and_then(|rest| rest.strip_suffix("\"]"))
            .ok_or_else(|| damaged(self.position))?;
        let mut few = [""; 8];
        match plain_tags(inner, &mut few) {
            Some(count) if count <= few.len() => {
                view.tags = Tags::listed(&few[..count]);
                return then(&view);
            }
            Some(_) => {
                let all: Vec<&str> = inner.split('"').step_by(2).collect();
                view.tags = Tags::listed(&all);
                return then(&view);
            }
            None => {}
        }
        scratch.unescaped = serde_json::from_str(self.tags).map_err(|_| damaged(self.position))?;
        let all: Vec<&str> = scratch.unescaped.iter().map(String::as_str).collect();
        view.tags = Tags::listed(&all);
        then(&view)
    }
}

/// Splits tags without escapes into `tags`, as far as there is room, and returns how many there
/// are. Returns `None` if a tag has an escape: only without escapes is every quote a delimiter.
fn plain_tags<'a>(inner: &'a str, tags: &mut [&'a str]) -> Option<usize> {
    let (mut count, mut start, mut is_inside) = (0, 0, true);
    let found = memchr2_iter(b'"', b'\\', inner.as_bytes());
    for at in found.chain([inner.len()]) {
        if inner.as_bytes().get(at) == Some(&b'\\') {
            return None;
        }
        if is_inside {
            if let Some(tag) = tags.get_mut(count) {
                *tag = &inner[start..at];
            }
            count += 1;
        }
        start = at + 1;
        is_inside = !is_inside;
    }
    Some(count)
}

/// Copies a stored event out of its row.
pub fn to_owned(view: &EventView<'_>) -> Result<Arc<SequencedEvent>> {
    view.to_owned().map(Arc::new).map_err(|_| damaged(view.position))
}

/// Returns the error for an event that is missing or is not as it was written.
pub fn damaged(position: Position) -> Error {
    Error::new(
        Status::Corrupt,
        format!("the event at position {position} is missing or is not what was written"),
    )
}
