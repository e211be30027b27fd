//! Events: as they are given, as they are stored, and as they are looked at.

use super::{EventId, EventType, Tag, Term};
use crate::error::{Error, Result};
use crate::limits::{MAX_DATA_BYTES, MAX_TAGS_PER_EVENT};

/// An event that holds every rule, not yet at a position. One allocation for its text, one for
/// the borders in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Type, data, id, metadata, then the tags, one after the other.
    text: Box<str>,
    /// Where the type, data, id, metadata, and each tag end in `text`.
    ends: Box<[u32]>,
    has_id: bool,
    has_metadata: bool,
}

/// The borders in front of those of the tags.
const FIELDS: usize = 4;

impl Event {
    /// What kind of event it is.
    pub fn event_type(&self) -> &str {
        self.piece(0)
    }

    /// The JSON text of `data`, byte for byte as given; `null` where none was.
    pub fn data(&self) -> &str {
        self.piece(1)
    }

    /// The id that makes the append repeatable, if it was given.
    pub fn id(&self) -> Option<&str> {
        self.has_id.then(|| self.piece(2))
    }

    /// The JSON text of `metadata`, byte for byte as given, if it was.
    pub fn metadata(&self) -> Option<&str> {
        self.has_metadata.then(|| self.piece(3))
    }

    /// The tags, in the order given, each once.
    pub fn tags(&self) -> Tags<'_> {
        Tags(Repr::Packed { text: &self.text, ends: &self.ends[FIELDS - 1..] })
    }

    /// The event as one looks at it at a position.
    pub fn view(&self, position: i64, timestamp_us: i64) -> EventView<'_> {
        EventView {
            position,
            timestamp_us,
            event_type: self.event_type(),
            tags: self.tags(),
            data: self.data(),
            id: self.id(),
            metadata: self.metadata(),
        }
    }

    /// Every term that an index files the event under: its type's, its tags', its id's.
    pub fn terms(&self) -> impl Iterator<Item = Term> + '_ {
        std::iter::once(Term::of_type(self.event_type()))
            .chain(self.tags().iter().map(Term::of_tag))
            .chain(self.id().map(Term::of_id))
    }

    /// About how many bytes it takes in memory.
    pub fn footprint(&self) -> usize {
        self.text.len() + self.ends.len() * 4 + size_of::<Self>()
    }

    fn piece(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.text[start..self.ends[index] as usize]
    }
}

/// Puts an event together from checked parts.
#[derive(Debug)]
pub struct EventBuilder<'a> {
    event_type: EventType<'a>,
    tags: Vec<&'a str>,
    given_tags: usize,
    data: &'a str,
    id: Option<EventId<'a>>,
    metadata: Option<&'a str>,
}

impl<'a> EventBuilder<'a> {
    /// An event of a type, with no tags and `data` null.
    pub fn new(event_type: EventType<'a>) -> Self {
        EventBuilder {
            event_type,
            tags: Vec::new(),
            given_tags: 0,
            data: "null",
            id: None,
            metadata: None,
        }
    }

    /// One more tag; a repeated one counts once.
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

    /// The payload: the text of one JSON value, which the caller has checked to be one.
    pub fn data(&mut self, json: &'a str) -> Result<()> {
        self.data = within_limit(json)?;
        Ok(())
    }

    /// The id that makes the append repeatable.
    pub fn id(&mut self, id: EventId<'a>) {
        self.id = Some(id);
    }

    /// The text of one JSON object, which the caller has checked to be one.
    pub fn metadata(&mut self, json: &'a str) -> Result<()> {
        self.metadata = Some(within_limit(json)?);
        Ok(())
    }

    /// The event.
    pub fn build(&self) -> Event {
        let id = self.id.map_or("", EventId::as_str);
        let metadata = self.metadata.unwrap_or("");
        let fields = [self.event_type.as_str(), self.data, id, metadata];
        let pieces = || fields.iter().chain(&self.tags);
        let mut text = String::with_capacity(pieces().map(|piece| piece.len()).sum());
        let mut ends = Vec::with_capacity(FIELDS + self.tags.len());
        for piece in pieces() {
            text.push_str(piece);
            // The limits of the parts keep the sum far below 4 GiB.
            ends.push(text.len() as u32);
        }
        Event {
            text: text.into(),
            ends: ends.into(),
            has_id: self.id.is_some(),
            has_metadata: self.metadata.is_some(),
        }
    }
}

fn within_limit(json: &str) -> Result<&str> {
    if json.len() > MAX_DATA_BYTES {
        return Err(Error::too_large(format!(
            "{} bytes are over the limit of {MAX_DATA_BYTES}",
            json.len()
        )));
    }
    Ok(json)
}

/// An event at its position.
#[derive(Debug)]
pub struct SequencedEvent {
    /// Where it is in the sequence; the first is 1.
    pub position: i64,
    /// When the store accepted it: microseconds since 1970, UTC.
    pub timestamp_us: i64,
    /// The event itself.
    pub event: Event,
}

impl SequencedEvent {
    /// The event as one looks at it.
    pub fn view(&self) -> EventView<'_> {
        self.event.view(self.position, self.timestamp_us)
    }
}

/// A stored event, wherever its bytes are.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// Where it is in the sequence.
    pub position: i64,
    /// Microseconds since 1970, UTC.
    pub timestamp_us: i64,
    /// Its type.
    pub event_type: &'a str,
    /// Its tags, in the order given.
    pub tags: Tags<'a>,
    /// The JSON text of its data.
    pub data: &'a str,
    /// Its id, if it has one.
    pub id: Option<&'a str>,
    /// The JSON text of its metadata, if it has any.
    pub metadata: Option<&'a str>,
}

impl EventView<'_> {
    /// Bytes of all its texts, by which a batch is bounded.
    pub fn text_len(&self) -> usize {
        self.event_type.len()
            + self.tags.iter().map(str::len).sum::<usize>()
            + self.data.len()
            + self.id.map_or(0, str::len)
            + self.metadata.map_or(0, str::len)
    }

    /// Whether this stored event is the same as `event`, byte for byte, tags in order.
    pub fn is_same_as(&self, event: &Event) -> bool {
        self.event_type == event.event_type()
            && self.data == event.data()
            && self.id == event.id()
            && self.metadata == event.metadata()
            && self.tags.iter().eq(event.tags().iter())
    }
}

/// The tags of a stored event.
#[derive(Debug, Clone, Copy)]
pub struct Tags<'a>(Repr<'a>);

#[derive(Debug, Clone, Copy)]
enum Repr<'a> {
    /// `ends[0]` is where the first tag starts.
    Packed {
        text: &'a str,
        ends: &'a [u32],
    },
    Listed(&'a [&'a str]),
}

impl<'a> Tags<'a> {
    /// Tags that stand in a list.
    pub const fn listed(tags: &'a [&'a str]) -> Self {
        Tags(Repr::Listed(tags))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self.0 {
            Repr::Packed { ends, .. } => ends.len() - 1,
            Repr::Listed(tags) => tags.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tag at `index`, which is below `len`.
    pub fn get(&self, index: usize) -> &'a str {
        match self.0 {
            Repr::Packed { text, ends } => &text[ends[index] as usize..ends[index + 1] as usize],
            Repr::Listed(tags) => tags[index],
        }
    }

    /// The tags, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let tags = *self;
        (0..tags.len()).map(move |index| tags.get(index))
    }

    /// Whether `tag` is among them.
    pub fn contains(&self, tag: &str) -> bool {
        self.iter().any(|own| own == tag)
    }
}
