//! Tephra: a segmented log with an immutable inverted index and a writer thread that commits
//! in groups.

use std::path::Path;

use tephra::{
    AppendCondition, AppendError, Event, EventType, Position, Query, QueryItem, SegmentConfig,
    SegmentSet, Tag, Tags, WriteCoordinator, WriteHandle, WriterConfig,
};

use super::{Append, Form, Found, Outcome, Subject};
use crate::load;

/// The size of its own documentation's example.
const SEGMENT_BYTES: usize = 256 * 1024 * 1024;

pub struct Tephra {
    handle: WriteHandle,
    /// Joins the writer thread when it is dropped.
    _coordinator: WriteCoordinator,
}

impl Tephra {
    pub fn open(folder: &Path) -> Self {
        let set = SegmentSet::open(folder, SegmentConfig::new(SEGMENT_BYTES)).expect("a log");
        let (coordinator, handle) =
            WriteCoordinator::start(set, WriterConfig::default()).expect("a writer");
        Tephra { handle, _coordinator: coordinator }
    }
}

fn tagged<'a>(names: impl IntoIterator<Item = &'a str>) -> Tags {
    Tags::new(names.into_iter().map(|name| Tag::new(name).expect("a tag"))).expect("tags")
}

fn query(tag: &str) -> Query {
    Query::item(QueryItem::with_tags(tagged([tag])))
}

fn event(event: &load::Event) -> Event {
    let event_type = EventType::new(event.event_type).expect("a type");
    let tags = tagged(event.tags.iter().map(String::as_str));
    Event::new(&event_type, &tags, event.data.as_bytes()).expect("an event")
}

impl Subject for Tephra {
    fn append(&self, append: &Append<'_>) -> Outcome {
        let events = append.events.iter().map(event).collect();
        let condition = append
            .condition
            .map(|(tag, after)| AppendCondition::new(query(tag)).after(Position::new(after)));
        match self.handle.append(events, condition) {
            Ok(_) => Outcome::Stored,
            Err(AppendError::Conflict { .. }) => Outcome::Refused,
            Err(error) => panic!("Tephra: {error}"),
        }
    }

    fn read(&self, tag: Option<&str>, _form: Form) -> Found {
        let query = tag.map_or_else(Query::all, query);
        let mut reads = self.handle.read(&query, Position::ZERO, None);
        let mut found = Found { position: reads.watermark().get(), ..Found::default() };
        while let Some(event) = reads.next() {
            let event = event.expect("an event").event;
            found.look(event.event_type().as_bytes(), event.data());
        }
        found
    }
}
