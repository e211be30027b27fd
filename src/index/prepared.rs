//! Events prepared for an index before their positions are known.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::domain::{Event, SequencedEvent, Term};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::position::Position;

/// The events of an append, hashed and allocated by the caller's thread, so that this work is not
/// done while a lock is held.
#[derive(Debug)]
pub struct PreparedEvents {
    events: SmallVec<[Arc<SequencedEvent>; 1]>,
    /// The terms of all events, in the order of the events.
    terms: SmallVec<[Term; 4]>,
    /// The size of each event: whoever has the lock need not look at its memory for that.
    sizes: SmallVec<[Size; 1]>,
    /// The times that events were given, one for each event, or nothing if none was.
    given_times: Vec<Option<i64>>,
}

/// What an index has to know of an event besides its terms.
#[derive(Debug)]
struct Size {
    /// The number of its terms.
    terms: usize,
    /// Its [`Event::footprint`].
    footprint: usize,
}

impl PreparedEvents {
    /// Prepares events, which have no positions yet. The error is `no_memory`.
    pub fn new(given: SmallVec<[Event; 1]>) -> Result<Self> {
        let (mut events, mut terms) = (SmallVec::new(), SmallVec::new());
        let mut sizes = SmallVec::new();
        events
            .try_reserve_exact(given.len())
            .and_then(|()| sizes.try_reserve_exact(given.len()))
            .and_then(|()| terms.try_reserve_exact(given.iter().map(count_terms).sum()))
            .map_err(|_| Error::no_memory("the events of the append"))?;
        let mut given_times = Vec::new();
        if given.iter().any(|event| event.given_timestamp_us().is_some()) {
            given_times
                .try_reserve_exact(given.len())
                .map_err(|_| Error::no_memory("the events of the append"))?;
        }
        for mut event in given {
            let time = event.take_given_timestamp_us();
            if given_times.capacity() > 0 {
                given_times.push(time);
            }
            terms.extend(event.terms());
            sizes.push(Size { terms: count_terms(&event), footprint: event.footprint() });
            events.push(Arc::new(SequencedEvent {
                position: Position::START,
                timestamp_us: 0,
                event,
            }));
        }
        Ok(PreparedEvents { events, terms, sizes, given_times })
    }

    /// Returns the events as they were given.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|sequenced| &sequenced.event)
    }

    /// Returns the times that events were given, one for each event, or nothing if none was.
    pub fn given_times(&self) -> &[Option<i64>] {
        &self.given_times
    }

    /// Returns about how many bytes the events take in memory.
    pub fn footprint(&self) -> usize {
        self.sizes.iter().map(|size| size.footprint).sum()
    }

    /// Returns the events with their positions, which are [`Position::START`] before
    /// [`PreparedEvents::place`].
    pub fn sequenced(&self) -> &[Arc<SequencedEvent>] {
        &self.events
    }

    /// Assigns the positions after `head` to the events, and the time to those that were given none.
    ///
    /// # Panics
    /// Panics if an index holds an event already.
    pub fn place(&mut self, head: Position, timestamp_us: i64) {
        let mut position = head;
        for (index, event) in self.events.iter_mut().enumerate() {
            position = position.next();
            let event = Arc::get_mut(event).expect("no index holds the event yet");
            let given = self.given_times.get(index).copied().flatten();
            (event.position, event.timestamp_us) = (position, given.unwrap_or(timestamp_us));
        }
    }

    /// Adds the events after the head of the index to it.
    pub fn add_to(&self, index: &mut Index) {
        let mut terms = &self.terms[..];
        for (event, size) in self.events.iter().zip(&self.sizes) {
            let (own, rest) = terms.split_at(size.terms);
            if event.position == index.head().next() {
                index.push_filed(Arc::clone(event), own, size.footprint);
            }
            terms = rest;
        }
    }
}

fn count_terms(event: &Event) -> usize {
    1 + event.tags().len() + usize::from(event.id().is_some())
}
