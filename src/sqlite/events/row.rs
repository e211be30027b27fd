//! A row of `dcb_events`: decoding it, verifying its checksum, and viewing it as an event.

use std::sync::Arc;

use crate::domain::{EventView, SequencedEvent, Tags};
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sql::Row;
use crate::sqlite::events::checksum;
use crate::sqlite::events::page::RowRecord;

/// The buffers that rows are verified and decoded with.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The tags of a row that stores them with escapes.
    unescaped: Vec<String>,
    /// The row that was verified last, as its checksum covers it: its texts as in
    /// [`Event::row_text`](crate::domain::Event::row_text), then its numbers.
    covered: Vec<u8>,
    /// How many events were read, from the file or the cache.
    #[cfg(test)]
    pub count: u64,
}

/// A row whose checksum matches.
#[derive(Debug)]
pub struct EventRow<'a> {
    /// The row's position.
    pub position: Position,
    timestamp_us: i64,
    /// The texts as in [`Event::row_text`](crate::domain::Event::row_text).
    text: &'a str,
    /// The offsets in `text` at which each column ends.
    ends: [usize; 5],
    unescaped: &'a mut Vec<String>,
}

impl Scratch {
    /// Counts an event that was read, for the tests.
    pub fn count(&mut self) {
        #[cfg(test)]
        {
            self.count += 1;
        }
    }

    /// Verifies a row that SQL returned, with these columns: position, type, tags, data, id,
    /// metadata, timestamp, checksum.
    pub fn verify_row(&mut self, row: &Row<'_>) -> Result<EventRow<'_>> {
        let position = row.integer(0).and_then(|number| Position::new(number).ok());
        let position = position.ok_or_else(|| damaged(Position::START))?;
        let (mut text, mut lengths) = (Vec::new(), [None; 5]);
        for (column, length) in (1..).zip(&mut lengths) {
            let part = row.optional_text(column).ok_or_else(|| damaged(position))?;
            text.extend_from_slice(part.unwrap_or_default().as_bytes());
            *length = part.map(str::len);
        }
        let number = |column| row.integer(column).ok_or_else(|| damaged(position));
        let record = RowRecord {
            position: position.get(),
            text: &text,
            lengths,
            timestamp_us: number(6)?,
            checksum: number(7)?,
        };
        self.verify_record(&record).ok_or_else(|| damaged(position))
    }

    /// Verifies a row that was read from a page. Returns `None` if it is not what was written.
    pub fn verify_record(&mut self, record: &RowRecord<'_>) -> Option<EventRow<'_>> {
        self.count();
        let [Some(_), Some(_), Some(_), _, _] = record.lengths else { return None };
        let Scratch { unescaped, covered, .. } = self;
        let position = Position::new(record.position).ok()?;
        let numbers = checksum::numbers(record.position, record.timestamp_us);
        let size = record.text.len() + record.lengths.len() + numbers.len();
        if covered.len() < size {
            covered.resize(size, 0);
        }
        let covered = &mut covered[..size];
        let (mut ends, mut at, mut rest) = ([0; 5], 0, record.text);
        for (length, end) in record.lengths.iter().zip(&mut ends) {
            let text;
            (text, rest) = rest.split_at_checked(length.unwrap_or(0))?;
            *covered.get_mut(at)? = u8::from(length.is_some());
            at += 1;
            covered.get_mut(at..at + text.len())?.copy_from_slice(text);
            at += text.len();
            *end = at;
        }
        covered.get_mut(at..)?.copy_from_slice(&numbers);
        if checksum::of_covered(covered) != record.checksum {
            return None;
        }
        let text = str::from_utf8(&covered[..at]).ok()?;
        Some(EventRow { position, timestamp_us: record.timestamp_us, text, ends, unescaped })
    }
}

impl EventRow<'_> {
    /// Decodes the tags and calls `then` with the event.
    pub fn with_view<T>(self, then: impl FnOnce(&EventView<'_>) -> Result<T>) -> Result<T> {
        let position = self.position;
        // The bytes around a text are ASCII, so no cut is inside a character.
        let cut = |start: usize, end: usize| {
            self.text.get(start + 1..end).ok_or_else(|| damaged(position))
        };
        let optional = |start: usize, end: usize| match self.text.as_bytes().get(start) {
            Some(0) => Ok(None),
            _ => cut(start, end).map(Some),
        };
        let [type_end, tags_end, data_end, id_end, metadata_end] = self.ends;
        let mut view = EventView {
            position,
            timestamp_us: self.timestamp_us,
            event_type: cut(0, type_end)?,
            tags: Tags::listed(&[]),
            data: cut(tags_end, data_end)?,
            id: optional(data_end, id_end)?,
            metadata: optional(id_end, metadata_end)?,
            packed: Some(self.text),
        };
        let json = cut(type_end, tags_end)?;
        if json == "[]" {
            return then(&view);
        }
        let inner = json
            .strip_prefix("[\"")
            .and_then(|rest| rest.strip_suffix("\"]"))
            .ok_or_else(|| damaged(position))?;
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
        *self.unescaped = serde_json::from_str(json).map_err(|_| damaged(position))?;
        let all: Vec<&str> = self.unescaped.iter().map(String::as_str).collect();
        view.tags = Tags::listed(&all);
        view.packed = None;
        then(&view)
    }
}

/// Splits tags without escapes into `tags`, as far as there is room, and returns how many there
/// are. Returns `None` if a tag has an escape: only without escapes is every quote a delimiter.
fn plain_tags<'a>(inner: &'a str, tags: &mut [&'a str]) -> Option<usize> {
    const ALL: u64 = u64::from_ne_bytes([1; 8]);
    const LOW_BITS: u64 = 0x7f * ALL;
    // Sets the highest bit of each byte of a word that equals `byte`, and no other bit.
    let equal = |word: u64, byte: u8| {
        let zero = word ^ (u64::from(byte) * ALL);
        !(((zero & LOW_BITS) + LOW_BITS) | zero | LOW_BITS)
    };
    let (mut count, mut start, mut is_inside) = (0, 0, true);
    let mut cut = |at: usize| {
        if is_inside {
            if let Some(tag) = tags.get_mut(count) {
                *tag = &inner[start..at];
            }
            count += 1;
        }
        start = at + 1;
        is_inside = !is_inside;
    };
    let (words, rest) = inner.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    for (number, word) in words.iter().chain([&last]).enumerate() {
        let word = u64::from_le_bytes(*word);
        if equal(word, b'\\') != 0 {
            return None;
        }
        let mut quotes = equal(word, b'"');
        while quotes != 0 {
            cut(number * 8 + quotes.trailing_zeros() as usize / 8);
            quotes &= quotes - 1;
        }
    }
    cut(inner.len());
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_are_split_as_their_json_says(
            tags in prop::collection::vec("[a-z,\\[:\"\\\\é]{1,12}", 1..12),
        ) {
            let json = serde_json::to_string(&tags).unwrap();
            let inner = &json[2..json.len() - 2];
            let mut few = [""; 8];
            let found = plain_tags(inner, &mut few);
            if tags.iter().any(|tag| tag.contains(['"', '\\'])) {
                prop_assert_eq!(found, None);
            } else {
                prop_assert_eq!(found, Some(tags.len()));
                for (own, tag) in few.iter().zip(&tags) {
                    prop_assert_eq!(own, tag);
                }
            }
        }
    }
}
