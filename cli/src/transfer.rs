//! Appending many events to a store, in the order in which they come.

use dcb::{
    AppendCondition, AppendRequest, CallOptions, Event, Options, Position, Query, Status, Store,
};

use crate::exit::Failure;
use crate::store::{self, OpenStore};

/// How many events an append has at most. So many are stored by one sync of the disk.
pub const CHUNK_EVENTS: usize = 16_384;
/// How many bytes of events an append has, about.
pub const CHUNK_BYTES: usize = 16 << 20;

/// Opens a store that keeps the timestamps of events, and creates it if it is not there.
pub fn open_to_import(uri: &str) -> Result<OpenStore, Failure> {
    store::open(uri, &Options { import: true, ..Options::default() })
}

/// Events that become one append: all of them have an id or none has, as an append demands.
#[derive(Default)]
pub struct Chunk {
    events: Vec<Event>,
    bytes: usize,
}

impl Chunk {
    /// Returns whether an event cannot be part of the chunk, which then has to be appended first.
    pub fn is_full_for(&self, event: &Event) -> bool {
        self.events.len() >= CHUNK_EVENTS
            || self.bytes >= CHUNK_BYTES
            || self.events.last().is_some_and(|last| last.id().is_some() != event.id().is_some())
    }

    /// Adds an event.
    pub fn push(&mut self, event: Event) {
        self.bytes += event.row_text().len();
        self.events.push(event);
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Appends events to a store that nobody else appends to.
pub struct Appender<'s> {
    store: &'s dyn Store,
    /// The position of the newest event.
    pub head: Position,
}

impl<'s> Appender<'s> {
    /// Returns an appender after the newest event of a store.
    pub fn new(store: &'s dyn Store) -> Result<Self, Failure> {
        let head = store.head(&CallOptions::default())?;
        Ok(Appender { store, head })
    }

    /// Appends a chunk directly after what was appended before. Fails if another program has
    /// appended an event in between.
    pub fn append(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let condition = AppendCondition::new(Query::all(), self.head);
        self.append_if(chunk, vec![condition]).map(|_| ())
    }

    /// Appends a chunk, wherever its events come to stand. Returns whether they were stored already.
    pub fn append_anywhere(&mut self, chunk: Chunk) -> Result<bool, Failure> {
        self.append_if(chunk, Vec::new())
    }

    fn append_if(
        &mut self,
        chunk: Chunk,
        condition: Vec<AppendCondition>,
    ) -> Result<bool, Failure> {
        if chunk.is_empty() {
            return Ok(false);
        }
        let request = AppendRequest::new(chunk.events, condition)?;
        match self.store.append(request, &CallOptions::default()) {
            Ok(appended) => {
                self.head = self.head.max(appended.last);
                Ok(appended.is_repeated)
            }
            Err(error) if error.status == Status::ConditionFailed => Err(Failure::new(format!(
                "another program has appended to the store, at position {}: stop it, and begin again",
                error.position
            ))),
            Err(error) => Err(error.into()),
        }
    }
}
