//! A row of `dcb_events`: decoding it, verifying its checksum, and viewing it as an event.

use std::ops::Range;
use std::sync::Arc;

use crate::domain::{EventView, PackedText, SequencedEvent, Tags};
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
    /// A row of format 1 as its checksum covers it.
    covered: Vec<u8>,
    /// The texts of a row that SQL returned.
    text: Vec<u8>,
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
    /// The texts of the row, from `type` to `metadata`, concatenated.
    text: &'a str,
    /// The length of each text plus 1, or 0 for a column that is NULL.
    sizes: [u32; 5],
    /// The memory that the text is in, if it may be shared.
    memory: Option<&'a Arc<Vec<u8>>>,
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
        let Scratch { unescaped, covered, text, .. } = self;
        text.clear();
        // What a large event took is given back.
        text.shrink_to(MAX_KEPT_TEXT);
        covered.clear();
        covered.shrink_to(MAX_KEPT_TEXT);
        let mut sizes = [0; 5];
        for (column, size) in (1..).zip(&mut sizes) {
            let part = row.optional_text(column).ok_or_else(|| damaged(position))?;
            let Some(part) = part else { continue };
            text.extend_from_slice(part.as_bytes());
            let len = u32::try_from(part.len()).ok().and_then(|len| len.checked_add(1));
            *size = len.ok_or_else(|| damaged(position))?;
        }
        let number = |column| row.integer(column).ok_or_else(|| damaged(position));
        let record = RowRecord {
            position: position.get(),
            text,
            sizes,
            timestamp_us: number(6)?,
            checksum: number(7)?,
        };
        verify(&record, covered, None, unescaped).ok_or_else(|| damaged(position))
    }

    /// Verifies a row that was read from a page, whose text may be shared in `memory`. Returns `None`
    /// if it is not what was written.
    #[inline(always)]
    pub fn verify_record<'a>(
        &'a mut self,
        record: &RowRecord<'a>,
        memory: Option<&'a Arc<Vec<u8>>>,
    ) -> Option<EventRow<'a>> {
        self.count();
        verify(record, &mut self.covered, memory, &mut self.unescaped)
    }
}

/// How many bytes of each buffer are kept for the next row that SQL returns.
const MAX_KEPT_TEXT: usize = 64 * 1024;

#[inline(always)]
fn verify<'a>(
    record: &RowRecord<'a>,
    covered: &mut Vec<u8>,
    memory: Option<&'a Arc<Vec<u8>>>,
    unescaped: &'a mut Vec<String>,
) -> Option<EventRow<'a>> {
    let RowRecord { text, sizes, timestamp_us, .. } = *record;
    if sizes[..3].contains(&0) {
        return None;
    }
    let position = Position::new(record.position).ok()?;
    let text = match checksum::verify(record, covered)? {
        // SAFETY: every ASCII text is UTF-8.
        true => unsafe { str::from_utf8_unchecked(text) },
        false => simdutf8::basic::from_utf8(text).ok()?,
    };
    Some(EventRow { position, timestamp_us, text, sizes, memory, unescaped })
}

impl EventRow<'_> {
    /// Decodes the tags and calls `then` with the event.
    #[inline(always)]
    pub fn with_view<T>(self, then: impl FnOnce(&EventView<'_>) -> Result<T>) -> Result<T> {
        let EventRow { position, timestamp_us, text, memory, .. } = self;
        let mut rest = text;
        let mut next = |size: u32| -> Result<Option<&str>> {
            let Some(len) = size.checked_sub(1) else { return Ok(None) };
            let part;
            (part, rest) = rest.split_at_checked(len as usize).ok_or_else(|| damaged(position))?;
            Ok(Some(part))
        };
        let [event_type, json, data, id, metadata] = self.sizes;
        let event_type = next(event_type)?.unwrap_or_default();
        let json = next(json)?.unwrap_or_default();
        let (data, id, metadata) = (next(data)?, next(id)?, next(metadata)?);
        let start = event_type.len();
        let (mut few, all);
        few = [""; 8];
        let count = plain_tags(text, start..start + json.len(), &mut few);
        let (tags, packed) = match count.and_then(|count| few.get(..count)) {
            Some(tags) => (tags, Some(PackedText { text, memory })),
            None => {
                let is_packed;
                (all, is_packed) =
                    other_tags(json, self.unescaped).ok_or_else(|| damaged(position))?;
                (&all[..], is_packed.then_some(PackedText { text, memory }))
            }
        };
        then(&EventView {
            position,
            timestamp_us,
            event_type,
            tags: Tags::listed(tags),
            data: data.unwrap_or_default(),
            id,
            metadata,
            packed,
        })
    }
}

/// Returns the tags of a JSON array that [`plain_tags`] leaves to others, and whether they are parts
/// of it.
#[cold]
fn other_tags<'a>(json: &'a str, unescaped: &'a mut Vec<String>) -> Option<(Vec<&'a str>, bool)> {
    if !json.contains('\\') && json.starts_with("[\"") && json.ends_with("\"]") {
        return Some((json.split('"').skip(1).step_by(2).collect(), true));
    }
    *unescaped = serde_json::from_str(json).ok()?;
    Some((unescaped.iter().map(String::as_str).collect(), false))
}

/// Finds the tags in the JSON array that is at `json` in `text`, and returns how many there are.
/// Returns `None` if they are more than `tags` has room for, if one has an escape (only without
/// escapes is every quote a delimiter), or if it is not an array of strings.
#[inline(always)]
fn plain_tags<'a>(text: &'a str, json: Range<usize>, tags: &mut [&'a str]) -> Option<usize> {
    let bytes = text.as_bytes();
    let array = bytes.get(json.clone())?;
    if array == b"[]" {
        return Some(0);
    }
    if !array.starts_with(b"[\"") || !array.ends_with(b"\"]") {
        return None;
    }
    let (mut count, mut start, mut is_inside, mut at) = (0, 0, false, json.start);
    while at < json.end {
        let rest = bytes.get(at..)?;
        let (mut quotes, mut escapes) = match rest.first_chunk() {
            Some(block) => (bytes_equal_to(b'"', block), bytes_equal_to(b'\\', block)),
            None => {
                let mut block = [0; 16];
                block.get_mut(..rest.len())?.copy_from_slice(rest);
                (bytes_equal_to(b'"', &block), bytes_equal_to(b'\\', &block))
            }
        };
        // A block may have bytes behind the array.
        let len = json.end - at;
        if len < 16 {
            let own = (1 << len) - 1;
            (quotes, escapes) = (quotes & own, escapes & own);
        }
        if escapes != 0 {
            return None;
        }
        while quotes != 0 {
            let quote = at + quotes.trailing_zeros() as usize;
            quotes &= quotes - 1;
            if is_inside {
                *tags.get_mut(count)? = text.get(start..quote)?;
                count += 1;
            }
            (start, is_inside) = (quote + 1, !is_inside);
        }
        at += 16;
    }
    (!is_inside).then_some(count)
}

/// Returns which bytes of a block equal `byte`: bit 0 stands for the first.
#[cfg(target_arch = "x86_64")]
#[inline]
fn bytes_equal_to(byte: u8, block: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let (words, _) = block.as_chunks::<8>();
    let [low, high] = [words[0], words[1]].map(i64::from_le_bytes);
    // SAFETY: every x86_64 has SSE2.
    let found = unsafe {
        let equal = _mm_cmpeq_epi8(_mm_set_epi64x(high, low), _mm_set1_epi8(byte.cast_signed()));
        _mm_movemask_epi8(equal)
    };
    found.cast_unsigned()
}

/// Returns which bytes of a block equal `byte`: bit 0 stands for the first.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn bytes_equal_to(byte: u8, block: &[u8; 16]) -> u32 {
    (0..).zip(block).fold(0, |found, (index, own)| found | u32::from(*own == byte) << index)
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
            before in "[a-z\"\\\\é]{0,20}",
            behind in "[a-z\"\\\\é]{0,20}",
        ) {
            let json = serde_json::to_string(&tags).unwrap();
            let text = format!("{before}{json}{behind}");
            let mut few = [""; 8];
            let found = plain_tags(&text, before.len()..before.len() + json.len(), &mut few);
            if tags.len() > few.len() || tags.iter().any(|tag| tag.contains(['"', '\\'])) {
                prop_assert_eq!(found, None);
            } else {
                prop_assert_eq!(found, Some(tags.len()));
                for (own, tag) in few.iter().zip(&tags) {
                    prop_assert_eq!(own, tag);
                }
            }
        }

        /// Whatever is in place of the JSON, tags that are found are those that it says.
        #[test]
        fn what_is_no_list_of_plain_tags_is_left_to_the_parser(
            json in "[a\",\\[\\]\\\\é]{0,40}",
            behind in "[\"\\]]{0,20}",
        ) {
            let text = format!("{json}{behind}");
            let mut few = [""; 8];
            if let Some(count) = plain_tags(&text, 0..json.len(), &mut few) {
                let split: Vec<&str> = json.split('"').skip(1).step_by(2).collect();
                prop_assert_eq!(&few[..count], &split[..]);
            }
        }
    }
}
