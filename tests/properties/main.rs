//! Properties of every store: it does what a list of events with a filter would do, and concurrent
//! calls are linearizable.

#[path = "../ends/mod.rs"]
mod ends;
mod histories;
mod length;
mod model;
mod numbers;
mod operations;
mod outcomes;

use std::sync::Arc;

use dcb::domain::{
    Event, EventBuilder, EventId, EventType, EventView, Query, QueryItem, ReadRequest, ReadState,
    Tag,
};
use dcb::store::BatchLimits;
use dcb::store::options::Options;
use dcb::{CallOptions, Direction, Result, Store};
use model::at;
use tempfile::TempDir;

/// A store under test.
struct Subject {
    uri: String,
    store: Arc<dyn Store>,
    /// The option `cache_bytes` of `store`.
    cache_bytes: Option<i64>,
    /// The same store, opened a second time, for a store that two openings share.
    again: Option<Arc<dyn Store>>,
    /// The folder of the store's file, or `None` for a store in memory.
    dir: Option<TempDir>,
}

impl Subject {
    /// Returns an empty store of each kind.
    fn all() -> Vec<Subject> {
        vec![
            Subject::in_memory("memory:"),
            Subject::in_memory("sqlite::memory:"),
            Subject::file(0),
            Subject::shared_file(),
        ]
    }

    /// Returns a store whose events are gone when it is closed.
    fn in_memory(uri: &str) -> Subject {
        Subject {
            uri: uri.into(),
            store: open(uri, None),
            cache_bytes: None,
            again: None,
            dir: None,
        }
    }

    /// Returns a store in a file whose reads cache at most so many bytes.
    fn file(cache_bytes: i64) -> Subject {
        let dir = tempfile::tempdir().expect("a directory");
        let uri = format!("sqlite:{}", dir.path().join("x.db").display());
        let cache_bytes = Some(cache_bytes);
        Subject { store: open(&uri, cache_bytes), cache_bytes, again: None, dir: Some(dir), uri }
    }

    /// Returns a store in a file that is opened twice. One of them has a cache that is soon full.
    fn shared_file() -> Subject {
        let mut file = Subject::file(256 * 1024);
        file.again = Some(open(&file.uri, None));
        file
    }

    /// Returns one of the openings of the store, in turn.
    fn store(&self, turn: u64) -> &dyn Store {
        match &self.again {
            Some(again) if turn % 2 == 1 => &**again,
            _ => &*self.store,
        }
    }

    /// Closes the store and opens it again, if it is in a file.
    fn reopen(&mut self) {
        if self.dir.is_some() {
            self.store.close();
            self.store = open(&self.uri, self.cache_bytes);
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.store.close();
        self.again.iter().for_each(|again| again.close());
    }
}

fn open(uri: &str, cache_bytes: Option<i64>) -> Arc<dyn Store> {
    dcb::open(uri, &Options { cache_bytes, ..Options::default() }).expect("a store opens")
}

/// A stored event without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    position: i64,
    event: Event,
}

/// Builds an event from valid parts.
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

/// Builds a query item from valid parts.
fn item(types: &[&str], tags: &[&str]) -> QueryItem {
    let mut item = QueryItem::new();
    types
        .iter()
        .for_each(|name| item.or_type(EventType::new(name).expect("a type")).expect("memory"));
    tags.iter().for_each(|name| item.and_tag(Tag::new(name).expect("a tag")).expect("memory"));
    item
}

/// Copies the event that a view shows.
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
    Stored { position: view.position.get(), event: event.build() }
}

/// Reads to the end in batches. Returns the events and the position at the end.
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
            return Ok((events, reading.position().get()));
        }
    }
}

/// Looks up the event with this id.
fn find(store: &dyn Store, id: &str) -> Result<Option<Stored>> {
    let found = store.find(EventId::new(id)?, &CallOptions::default())?;
    Ok(found.map(|found| keep(&found.view())))
}

/// Returns every matching event above `after`, and the position at the end of the read.
fn read_after(store: &dyn Store, query: &Query, after: i64) -> Result<(Vec<Stored>, i64)> {
    let request = ReadRequest::new(query.clone(), at(after), None, None, Direction::Forward);
    read(store, request, BatchLimits { max_events: 1_000, max_bytes: 1 << 20 })
}
