//! Properties that every store has, whatever it is asked: it does what a list of events with a
//! filter would do, and what its threads do at once could have been done one after the other.

mod histories;
mod length;
mod model;
mod numbers;
mod operations;

use std::sync::Arc;

use dcb::domain::{
    Event, EventBuilder, EventId, EventType, EventView, Query, QueryItem, ReadRequest, ReadState,
    Tag,
};
use dcb::store::BatchLimits;
use dcb::store::options::Options;
use dcb::{CallOptions, Result, Store};
use tempfile::TempDir;

/// A store under test.
struct Subject {
    uri: String,
    store: Arc<dyn Store>,
    /// The same store, opened once more: what one does the other has to see.
    again: Option<Arc<dyn Store>>,
    /// What the uri points into; `None`: nothing that outlives the store.
    dir: Option<TempDir>,
}

impl Subject {
    /// One of each kind, empty.
    fn all() -> Vec<Subject> {
        vec![
            Subject::passing("memory:"),
            Subject::passing("sqlite::memory:"),
            Subject::file(),
            Subject::shared_file(),
        ]
    }

    /// A store that ends with its closing.
    fn passing(uri: &str) -> Subject {
        Subject { uri: uri.into(), store: open(uri), again: None, dir: None }
    }

    fn file() -> Subject {
        let dir = tempfile::tempdir().expect("a directory");
        let uri = format!("sqlite:{}", dir.path().join("x.db").display());
        Subject { store: open(&uri), again: None, dir: Some(dir), uri }
    }

    /// One file, opened twice.
    fn shared_file() -> Subject {
        let mut file = Subject::file();
        file.again = Some(open(&file.uri));
        file
    }

    /// The store, as one or the other has it open.
    fn store(&self, turn: u64) -> &dyn Store {
        match &self.again {
            Some(again) if turn % 2 == 1 => &**again,
            _ => &*self.store,
        }
    }

    /// Closes and opens it again, where it outlives that.
    fn reopen(&mut self) {
        if self.dir.is_some() {
            self.store.close();
            self.store = open(&self.uri);
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.store.close();
        self.again.iter().for_each(|again| again.close());
    }
}

fn open(uri: &str) -> Arc<dyn Store> {
    dcb::open(uri, &Options::default()).expect("a store opens")
}

/// An event with everything that a store keeps but the time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    position: i64,
    event: Event,
}

/// Builds an event of parts that hold the rules.
fn event(event_type: &str, tags: &[&str], data: &str, id: Option<&str>) -> Event {
    let mut event = EventBuilder::new(EventType::new(event_type).expect("a type"));
    for tag in tags {
        event.tag(Tag::new(tag).expect("a tag")).expect("room for a tag");
    }
    event.data(data).expect("data");
    if let Some(id) = id {
        event.id(EventId::new(id).expect("an id"));
    }
    event.build()
}

/// Builds an item of parts that hold the rules.
fn item(types: &[&str], tags: &[&str]) -> QueryItem {
    let mut item = QueryItem::new();
    types
        .iter()
        .for_each(|name| item.or_type(EventType::new(name).expect("a type")).expect("memory"));
    tags.iter().for_each(|name| item.and_tag(Tag::new(name).expect("a tag")).expect("memory"));
    item
}

/// What a view shows, for keeping.
fn keep(view: &EventView<'_>) -> Stored {
    let tags: Vec<_> = view.tags.iter().collect();
    let mut event = EventBuilder::new(EventType::new(view.event_type).expect("a type"));
    for tag in tags {
        event.tag(Tag::new(tag).expect("a tag")).expect("room for a tag");
    }
    event.data(view.data).expect("data");
    if let Some(id) = view.id {
        event.id(EventId::new(id).expect("an id"));
    }
    if let Some(metadata) = view.metadata {
        event.metadata(metadata).expect("metadata");
    }
    Stored { position: view.position, event: event.build() }
}

/// Reads to the end, `batch` by batch: the events, and the position at the end.
fn read(store: &dyn Store, request: ReadRequest, batch: BatchLimits) -> Result<(Vec<Stored>, i64)> {
    let mut reading = ReadState::new(request);
    let mut events = Vec::new();
    loop {
        let before = events.len();
        let mut sink = |view: &EventView<'_>| {
            events.push(keep(view));
            Ok(())
        };
        store.read(&mut reading, batch, &CallOptions::default(), &mut sink)?;
        assert!(events.len() - before <= batch.max_events, "a batch over its bound");
        if events.len() == before {
            assert!(reading.span().is_none(), "an empty batch is the end");
            return Ok((events, reading.position()));
        }
    }
}

/// Everything above `after` that matches, in one batch if the store gives it.
fn read_after(store: &dyn Store, query: &Query, after: i64) -> Result<(Vec<Stored>, i64)> {
    let request = ReadRequest::new(query.clone(), after, None, None, false)?;
    read(store, request, BatchLimits { max_events: 1_000, max_bytes: 1 << 20 })
}
