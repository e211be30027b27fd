//! An event to append, and its builder.

use std::convert::Infallible;

use crate::domain::{EventId, EventType, EventView, PackedText, Tag, Tags, Term};
use crate::error::{Error, Result};
use crate::limits::{MAX_DATA_BYTES, MAX_TAGS_PER_EVENT};
use crate::position::Position;

/// A valid event without a position. All of its text is one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The columns of the event's row: type, tags as JSON, data, id, metadata. A column begins with
    /// the byte 1, or is the single byte 0 if it is absent, so no two rows have the same text. The
    /// columns that a query examines come first, for the sake of the cache. If the JSON of the tags
    /// has escapes, the plain tags follow the row.
    text: Box<str>,
    /// The offsets in `text` at which each column ends, followed by those at which each tag ends.
    ends: Ends,
    /// The time that the event is to be stored with, or [`NO_TIME`].
    time: i64,
}

/// The time of an event whose time the store sets. No time that can be given has this value.
const NO_TIME: i64 = i64::MIN;

// The columns of a row, in order.
const TYPE: usize = 0;
const TAGS: usize = 1;
const DATA: usize = 2;
const ID: usize = 3;
const METADATA: usize = 4;
const COLUMNS: usize = 5;
/// The number of offsets that an event with few tags has.
const FEW: usize = COLUMNS + 4;

/// The separator of two tags in their JSON. The first tag has a prefix of the same length.
const BETWEEN_TAGS: &str = "\",\"";

/// Offsets in a text. An event with few tags holds them in place, since every further allocation is
/// another cache miss when an event of a large store is examined.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ends {
    Few { len: u8, ends: [u32; FEW] },
    Many(Box<[u32]>),
}

impl Ends {
    /// Returns `len` offsets, all 0.
    fn new(len: usize) -> Self {
        match len {
            ..=FEW => Ends::Few { len: len as u8, ends: [0; FEW] },
            _ => Ends::Many(vec![0; len].into()),
        }
    }

    fn as_slice(&self) -> &[u32] {
        match self {
            Ends::Few { len, ends } => &ends[..usize::from(*len)],
            Ends::Many(ends) => ends,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u32] {
        match self {
            Ends::Few { len, ends } => &mut ends[..usize::from(*len)],
            Ends::Many(ends) => ends,
        }
    }

    /// Returns the number of bytes that the offsets take on the heap.
    fn heap_bytes(&self) -> usize {
        match self {
            Ends::Few { .. } => 0,
            Ends::Many(ends) => size_of_val(&**ends),
        }
    }
}

impl Event {
    /// Returns the type.
    pub fn event_type(&self) -> &str {
        &self.text[1..self.ends.as_slice()[TYPE] as usize]
    }

    /// Returns the JSON text of the data, byte for byte as given, or `null` if none was given.
    pub fn data(&self) -> &str {
        self.column(DATA).unwrap_or("null")
    }

    /// Returns the id, which makes the append idempotent, if the event has one.
    pub fn id(&self) -> Option<&str> {
        self.column(ID)
    }

    /// Returns the JSON text of the metadata, byte for byte as given, if the event has any.
    pub fn metadata(&self) -> Option<&str> {
        self.column(METADATA)
    }

    /// Returns the time that the event is to be stored with, in microseconds since 1970 (UTC), if one
    /// was given. A stored event has its time in [`SequencedEvent`](crate::domain::SequencedEvent).
    pub fn given_timestamp_us(&self) -> Option<i64> {
        (self.time != NO_TIME).then_some(self.time)
    }

    /// Returns the event with the time that an import gives it: `micros`, or the nearest time that
    /// documents can show.
    pub(super) fn with_time(self, micros: i64) -> Self {
        Event { time: micros.clamp(TIMES.start, TIMES.end - 1), ..self }
    }

    /// Takes the time that the event is to be stored with out of it, so that it equals the event
    /// without one.
    pub(crate) fn take_given_timestamp_us(&mut self) -> Option<i64> {
        let given = self.given_timestamp_us();
        self.time = NO_TIME;
        given
    }

    /// Returns the tags in the order given, each once.
    pub fn tags(&self) -> Tags<'_> {
        let (columns, ends) = self.ends.as_slice().split_at(COLUMNS);
        let row_end = columns[METADATA] as usize;
        let (before, between) = match self.text.len() == row_end {
            true => (columns[TYPE] as usize, BETWEEN_TAGS.len()),
            false => (row_end, 0),
        };
        Tags::packed(&self.text, before, between, ends)
    }

    /// Returns the tags as a JSON array.
    pub fn tags_json(&self) -> &str {
        self.column(TAGS).unwrap_or("[]")
    }

    /// Returns the columns of the event's row in order. A column begins with the byte 1; an absent
    /// one is the byte 0.
    pub fn row_text(&self) -> &str {
        &self.text[..self.ends.as_slice()[METADATA] as usize]
    }

    /// Returns a view of the event at a position.
    pub fn view(&self, position: Position, timestamp_us: i64) -> EventView<'_> {
        EventView {
            position,
            timestamp_us,
            event_type: self.event_type(),
            tags: self.tags(),
            data: self.data(),
            id: self.id(),
            metadata: self.metadata(),
            packed: Some(PackedText::of(&self.text)),
        }
    }

    /// Returns every term that an index files the event under: those of its type, tags and id.
    pub fn terms(&self) -> impl Iterator<Item = Term> + '_ {
        std::iter::once(Term::of_type(self.event_type()))
            .chain(self.tags().iter().map(Term::of_tag))
            .chain(self.id().map(Term::of_id))
    }

    /// Returns about how many bytes the event takes in memory.
    pub fn footprint(&self) -> usize {
        self.text.len() + self.ends.heap_bytes() + size_of::<Self>()
    }

    /// Returns a column after the type, or `None` if it is absent.
    fn column(&self, index: usize) -> Option<&str> {
        let ends = self.ends.as_slice();
        let (start, end) = (ends[index - 1] as usize, ends[index] as usize);
        (self.text.as_bytes()[start] != 0).then(|| &self.text[start + 1..end])
    }
}

/// Builds an event from checked parts.
#[derive(Debug)]
pub struct EventBuilder<'a> {
    event_type: EventType<'a>,
    tags: Vec<&'a str>,
    given_tags: usize,
    data: &'a str,
    id: Option<EventId<'a>>,
    metadata: Option<&'a str>,
    time: i64,
}

impl<'a> EventBuilder<'a> {
    /// Returns a builder for an event of a type, without tags and with `null` as its data.
    pub fn new(event_type: EventType<'a>) -> Self {
        EventBuilder {
            event_type,
            tags: Vec::new(),
            given_tags: 0,
            data: "null",
            id: None,
            metadata: None,
            time: NO_TIME,
        }
    }

    /// Adds a tag. A repeated tag is kept once, but counts towards the limit.
    pub fn tag(&mut self, tag: Tag<'a>) -> Result<()> {
        self.given_tags += 1;
        if self.given_tags > MAX_TAGS_PER_EVENT {
            return Err(Error::too_large(format!(
                "more than {MAX_TAGS_PER_EVENT} tags on an event"
            )));
        }
        if !self.tags.contains(&tag.as_str()) {
            self.tags.push(tag.as_str());
        }
        Ok(())
    }

    /// Sets the payload to the text of one JSON value. The caller has checked that it is valid.
    pub fn data(&mut self, json: &'a str) -> Result<()> {
        self.data = within_limit(json)?;
        Ok(())
    }

    /// Sets the id, which makes the append idempotent.
    pub fn id(&mut self, id: EventId<'a>) {
        self.id = Some(id);
    }

    /// Sets the metadata to the text of one JSON object. The caller has checked that it is valid.
    pub fn metadata(&mut self, json: &'a str) -> Result<()> {
        self.metadata = Some(within_limit(json)?);
        Ok(())
    }

    /// Sets the time that the event is stored with, in microseconds since 1970 (UTC). It must be in
    /// the years 1 to 9999. Only a store that was opened with the option `import` accepts it.
    pub fn timestamp_us(&mut self, micros: i64) -> Result<()> {
        if !TIMES.contains(&micros) {
            return Err(Error::invalid("a timestamp must be in the years 1 to 9999"));
        }
        self.time = micros;
        Ok(())
    }

    /// Returns the event. Aborts the process if memory is exhausted.
    pub fn build(&self) -> Event {
        let Ok(event) = self.written(|size| Ok::<_, Infallible>(String::with_capacity(size)));
        event
    }

    /// Returns the event, or the error `no_memory`.
    pub fn try_build(&self) -> Result<Event> {
        self.written(|size| {
            let mut text = String::new();
            text.try_reserve_exact(size).map_err(|_| Error::no_memory("an event"))?;
            Ok(text)
        })
    }

    fn written<E>(
        &self,
        room: impl FnOnce(usize) -> std::result::Result<String, E>,
    ) -> std::result::Result<Event, E> {
        let escaped = if self.tags.iter().all(|tag| is_plain(tag)) {
            None
        } else {
            // A string cannot fail to be JSON.
            Some(serde_json::to_string(&self.tags).unwrap_or_default())
        };
        let id = self.id.map(EventId::as_str);
        let tags: usize = self.tags.iter().map(|tag| tag.len()).sum();
        let tags_json = match &escaped {
            Some(json) => json.len() + tags,
            None => tags + "[]".len() + (self.tags.len() * BETWEEN_TAGS.len()).saturating_sub(1),
        };
        let others =
            [self.event_type.as_str(), self.data, id.unwrap_or(""), self.metadata.unwrap_or("")];
        let others: usize = others.iter().map(|text| text.len()).sum();
        let size = COLUMNS + others + tags_json;
        let mut text = room(size)?;
        let mut ends = Ends::new(COLUMNS + self.tags.len());
        let (columns, tag_ends) = ends.as_mut_slice().split_at_mut(COLUMNS);
        // The limits on the parts keep the length far below 4 GiB.
        let end = |text: &String| text.len() as u32;

        text.push(PRESENT);
        text.push_str(self.event_type.as_str());
        columns[TYPE] = end(&text);
        text.push(PRESENT);
        match &escaped {
            Some(json) => text.push_str(json),
            None => {
                text.push('[');
                let mut quote = false;
                for (tag, tag_end) in self.tags.iter().zip(&mut *tag_ends) {
                    if quote {
                        text.push_str(BETWEEN_TAGS);
                    } else {
                        text.push('"');
                        quote = true;
                    }
                    text.push_str(tag);
                    *tag_end = end(&text);
                }
                if quote {
                    text.push('"');
                }
                text.push(']');
            }
        }
        columns[TAGS] = end(&text);
        for (column, piece) in [(DATA, Some(self.data)), (ID, id), (METADATA, self.metadata)] {
            text.push(if piece.is_some() { PRESENT } else { ABSENT });
            text.push_str(piece.unwrap_or_default());
            columns[column] = end(&text);
        }
        if escaped.is_some() {
            for (tag, tag_end) in self.tags.iter().zip(tag_ends) {
                text.push_str(tag);
                *tag_end = end(&text);
            }
        }
        debug_assert_eq!(text.len(), size);
        Ok(Event { text: text.into(), ends, time: self.time })
    }
}

/// The times that documents can show: those of the years 1 to 9999.
const TIMES: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// The first byte of a column that has a value.
const PRESENT: char = '\u{1}';
/// The only byte of a column that has none.
const ABSENT: char = '\0';

/// Returns whether a JSON string can hold the text without escapes.
fn is_plain(text: &str) -> bool {
    // Examines every byte, without an early exit, so that the compiler vectorizes the loop.
    !text
        .bytes()
        .fold(false, |escapes, byte| escapes | (byte < b' ' || byte == b'"' || byte == b'\\'))
}

fn within_limit(json: &str) -> Result<&str> {
    if json.len() > MAX_DATA_BYTES {
        return Err(Error::too_large(format!(
            "{} bytes exceed the limit of {MAX_DATA_BYTES}",
            json.len()
        )));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::at;

    #[test]
    fn an_event_returns_the_parts_it_was_built_from() {
        let plain: Vec<_> = (0..MAX_TAGS_PER_EVENT).map(|tag| format!("é:{tag}")).collect();
        let mut escaped = plain.clone();
        escaped[0].push_str("\n\"\\\u{1}");
        for (tags, count) in [&plain, &escaped]
            .into_iter()
            .flat_map(|tags| [0, 1, 3, 4, 5, 6, MAX_TAGS_PER_EVENT].map(|count| (tags, count)))
        {
            for (id, metadata) in [(None, None), (Some("1"), None), (None, Some("{}"))] {
                let mut builder = EventBuilder::new(EventType::new("Né").unwrap());
                for tag in &tags[..count] {
                    builder.tag(Tag::new(tag).unwrap()).unwrap();
                }
                builder.data("[\"é\"]").unwrap();
                id.iter().for_each(|id| builder.id(EventId::new(id).unwrap()));
                metadata.iter().for_each(|metadata| builder.metadata(metadata).unwrap());
                let event = builder.build();
                let view = event.view(at(7), 8);
                assert_eq!((view.position, view.timestamp_us), (at(7), 8));
                assert_eq!((view.event_type, view.data), ("Né", "[\"é\"]"));
                assert_eq!((view.id, view.metadata), (id, metadata));
                assert!(view.tags.iter().eq(&tags[..count]), "{count}");
                assert_eq!((view.tags.len(), view.tags.is_empty()), (count, count == 0));
                assert!(view.is_same_as(&event));
                let json = serde_json::to_string(&tags[..count]).unwrap();
                assert_eq!(event.tags_json(), json);
                let mut row = format!("\u{1}Né\u{1}{json}\u{1}[\"é\"]");
                for column in [id, metadata] {
                    row += &column.map_or("\0".to_owned(), |text| format!("\u{1}{text}"));
                }
                assert_eq!(event.row_text(), row);
            }
        }
    }
}
