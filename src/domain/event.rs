//! Events: as they are given, as they are stored, and as they are looked at.

use super::{EventId, EventType, Tag, Term};
use crate::error::{Error, Result};
use crate::limits::{MAX_DATA_BYTES, MAX_TAGS_PER_EVENT};

/// An event that holds every rule, not yet at a position. All its text is one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The type, the tags, data, id, metadata, one after the other: what a query looks at is in
    /// the first cache lines.
    text: Box<str>,
    /// Where each of them ends in `text`.
    ends: Ends,
    has_id: bool,
    has_metadata: bool,
}

/// The borders beside those of the tags, and those of them that come behind the tags.
const FIELDS: usize = 4;
const FIELDS_BEHIND: usize = 3;

/// Borders in a text. In place for an event with few tags: to look at an event in a large store
/// is to wait for memory, once for each allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ends {
    Few { len: u8, ends: [u32; FIELDS + 4] },
    Many(Box<[u32]>),
}

impl Ends {
    /// `all` gives `len` of them.
    fn new(len: usize, all: impl Iterator<Item = u32>) -> Self {
        let mut ends = [0; FIELDS + 4];
        if len > ends.len() {
            return Ends::Many(all.collect());
        }
        ends.iter_mut().zip(all).for_each(|(end, given)| *end = given);
        Ends::Few { len: len as u8, ends }
    }

    fn as_slice(&self) -> &[u32] {
        match self {
            Ends::Few { len, ends } => &ends[..usize::from(*len)],
            Ends::Many(ends) => ends,
        }
    }

    /// Bytes that it takes beside itself.
    fn apart(&self) -> usize {
        match self {
            Ends::Few { .. } => 0,
            Ends::Many(ends) => size_of_val(&**ends),
        }
    }
}

impl Event {
    /// What kind of event it is.
    pub fn event_type(&self) -> &str {
        &self.text[..self.ends.as_slice()[0] as usize]
    }

    /// The JSON text of `data`, byte for byte as given; `null` where none was.
    pub fn data(&self) -> &str {
        self.behind_tags(0)
    }

    /// The id that makes the append repeatable, if it was given.
    pub fn id(&self) -> Option<&str> {
        self.has_id.then(|| self.behind_tags(1))
    }

    /// The JSON text of `metadata`, byte for byte as given, if it was.
    pub fn metadata(&self) -> Option<&str> {
        self.has_metadata.then(|| self.behind_tags(2))
    }

    /// The tags, in the order given, each once.
    pub fn tags(&self) -> Tags<'_> {
        let ends = self.ends.as_slice();
        Tags(Repr::Packed { text: &self.text, ends: &ends[..ends.len() - FIELDS_BEHIND] })
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
        self.text.len() + self.ends.apart() + size_of::<Self>()
    }

    /// One of the fields that come behind the tags.
    fn behind_tags(&self, index: usize) -> &str {
        let ends = self.ends.as_slice();
        let index = ends.len() - FIELDS_BEHIND + index;
        &self.text[ends[index - 1] as usize..ends[index] as usize]
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
        let event_type = self.event_type.as_str();
        let id = self.id.map_or("", EventId::as_str);
        let behind_tags = [self.data, id, self.metadata.unwrap_or("")];
        let pieces = || std::iter::once(&event_type).chain(&self.tags).chain(&behind_tags);
        let mut text = String::with_capacity(pieces().map(|piece| piece.len()).sum());
        pieces().for_each(|piece| text.push_str(piece));
        let mut end = 0;
        let ends = pieces().map(|piece| {
            end += piece.len();
            // The limits of the parts keep the sum far below 4 GiB.
            end as u32
        });
        Event {
            text: text.into(),
            ends: Ends::new(FIELDS + self.tags.len(), ends),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_gives_back_its_parts() {
        let tags: Vec<_> = (0..MAX_TAGS_PER_EVENT).map(|tag| format!("é:{tag}")).collect();
        for count in [0, 1, 3, 4, 5, 6, MAX_TAGS_PER_EVENT] {
            for (id, metadata) in [(None, None), (Some("1"), None), (None, Some("{}"))] {
                let mut builder = EventBuilder::new(EventType::new("Né").unwrap());
                for tag in &tags[..count] {
                    builder.tag(Tag::new(tag).unwrap()).unwrap();
                }
                builder.data("[\"é\"]").unwrap();
                id.iter().for_each(|id| builder.id(EventId::new(id).unwrap()));
                metadata.iter().for_each(|metadata| builder.metadata(metadata).unwrap());
                let event = builder.build();
                let view = event.view(7, 8);
                assert_eq!((view.position, view.timestamp_us), (7, 8));
                assert_eq!((view.event_type, view.data), ("Né", "[\"é\"]"));
                assert_eq!((view.id, view.metadata), (id, metadata));
                assert!(view.tags.iter().eq(&tags[..count]), "{count}");
                assert!(view.is_same_as(&event));
            }
        }
    }
}
