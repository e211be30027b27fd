//! A stored event at its position, and a view of one.

use std::sync::Arc;

use crate::domain::{Event, EventBuilder, EventId, EventType, Tag, Tags};
use crate::error::Result;
use crate::position::Position;

/// An event at its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencedEvent {
    /// The position in the sequence; the first event has position 1.
    pub position: Position,
    /// The time at which the store accepted the event, in microseconds since 1970 (UTC).
    pub timestamp_us: i64,
    /// The event itself.
    pub event: Event,
}

impl SequencedEvent {
    /// Returns the event to append to another store, with the time that it has in this one. That
    /// store has to be opened with the option `import`.
    pub fn into_import(self) -> Event {
        self.event.with_time(self.timestamp_us)
    }

    /// Returns a view of the event.
    pub fn view(&self) -> EventView<'_> {
        self.event.view(self.position, self.timestamp_us)
    }
}

/// A view of a stored event, wherever its bytes are.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// The position in the sequence.
    pub position: Position,
    /// The time at which the store accepted the event, in microseconds since 1970 (UTC).
    pub timestamp_us: i64,
    /// The event's type.
    pub event_type: &'a str,
    /// The event's tags, in the order given.
    pub tags: Tags<'a>,
    /// The JSON text of the event's data.
    pub data: &'a str,
    /// The event's id, if it has one.
    pub id: Option<&'a str>,
    /// The JSON text of the event's metadata, if it has any.
    pub metadata: Option<&'a str>,
    /// A text that all of these are parts of, if there is one, so that one copy copies them all.
    pub packed: Option<PackedText<'a>>,
}

/// A text that has all texts of an event.
#[derive(Debug, Clone, Copy)]
pub struct PackedText<'a> {
    /// The text.
    pub text: &'a str,
    /// The memory that the text is in, if a reader may share it: as long as it does, the memory
    /// stays as it is, and the text needs no copy.
    pub memory: Option<&'a Arc<Vec<u8>>>,
}

impl<'a> PackedText<'a> {
    /// Returns the text for readers that copy it.
    pub const fn of(text: &'a str) -> Self {
        PackedText { text, memory: None }
    }
}

impl EventView<'_> {
    /// Returns the number of bytes of all texts of the event. A batch is bounded by their sum.
    pub fn text_len(&self) -> usize {
        self.event_type.len()
            + self.tags.iter().map(str::len).sum::<usize>()
            + self.data.len()
            + self.id.map_or(0, str::len)
            + self.metadata.map_or(0, str::len)
    }

    /// Returns a copy that outlives the view. The error is that of a rule which the event breaks.
    pub fn to_owned(&self) -> Result<SequencedEvent> {
        let mut builder = EventBuilder::new(EventType::new(self.event_type)?);
        for tag in self.tags.iter() {
            builder.tag(Tag::new(tag)?)?;
        }
        builder.data(self.data)?;
        if let Some(id) = self.id {
            builder.id(EventId::new(id)?);
        }
        if let Some(metadata) = self.metadata {
            builder.metadata(metadata)?;
        }
        Ok(SequencedEvent {
            position: self.position,
            timestamp_us: self.timestamp_us,
            event: builder.build(),
        })
    }

    /// Returns whether this stored event equals `event` byte for byte, with its tags in the same
    /// order.
    pub fn is_same_as(&self, event: &Event) -> bool {
        self.event_type == event.event_type()
            && self.data == event.data()
            && self.id == event.id()
            && self.metadata == event.metadata()
            && self.tags.iter().eq(event.tags().iter())
    }
}
