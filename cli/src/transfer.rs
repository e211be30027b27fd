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
        match self.append_if(chunk.events, vec![condition]) {
            Ok(_) => Ok(()),
            Err(error) if error.status == Status::ConditionFailed => Err(Failure::new(format!(
                "another program has appended to the store, at position {}: stop it, and begin again",
                error.position
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends the events of a chunk, wherever they come to stand, except those that are stored
    /// already, by their ids. Returns how many those are.
    pub fn append_anywhere(&mut self, chunk: Chunk) -> Result<u64, Failure> {
        let (mut left, mut repeated) = (vec![chunk.events], 0);
        while let Some(events) = left.pop() {
            let count = events.len();
            // An append does not mix events that are stored with others, so it may be split.
            let has_ids = events.first().is_some_and(|first| first.id().is_some());
            let copy = if has_ids { events.clone() } else { Vec::new() };
            match self.append_if(events, Vec::new()) {
                Ok(true) => repeated += count as u64,
                Ok(false) => {}
                Err(error) if error.status == Status::DuplicateId && count > 1 => {
                    let (first, second) = copy.split_at(count / 2);
                    left.extend([second.to_vec(), first.to_vec()]);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(repeated)
    }

    /// Returns whether the events were stored already.
    fn append_if(
        &mut self,
        events: Vec<Event>,
        condition: Vec<AppendCondition>,
    ) -> dcb::Result<bool> {
        if events.is_empty() {
            return Ok(false);
        }
        let request = AppendRequest::new(events, condition)?;
        let appended = self.store.append(request, &CallOptions::default())?;
        self.head = self.head.max(appended.last);
        Ok(appended.is_repeated)
    }
}
