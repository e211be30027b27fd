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
}

impl PreparedEvents {
    /// Prepares events, which have no positions yet. The error is `no_memory`.
    pub fn new(given: SmallVec<[Event; 1]>) -> Result<Self> {
        let (mut events, mut terms) = (SmallVec::new(), SmallVec::new());
        events
            .try_reserve_exact(given.len())
            .and_then(|()| terms.try_reserve_exact(given.iter().map(count_terms).sum()))
            .map_err(|_| Error::no_memory("the events of the append"))?;
        for event in given {
            terms.extend(event.terms());
            events.push(Arc::new(SequencedEvent {
                position: Position::START,
                timestamp_us: 0,
                event,
            }));
        }
        Ok(PreparedEvents { events, terms })
    }

    /// Returns the events as they were given.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|sequenced| &sequenced.event)
    }

    /// Returns the events with their positions, which are [`Position::START`] before
    /// [`PreparedEvents::place`].
    pub fn sequenced(&self) -> &[Arc<SequencedEvent>] {
        &self.events
    }

    /// Assigns the positions after `head` to the events.
    ///
    /// # Panics
    /// Panics if an index holds an event already.
    pub fn place(&mut self, head: Position, timestamp_us: i64) {
        let mut position = head;
        for event in &mut self.events {
            position = position.next();
            let event = Arc::get_mut(event).expect("no index holds the event yet");
            (event.position, event.timestamp_us) = (position, timestamp_us);
        }
    }

    /// Adds the events after the head of the index to it.
    pub fn add_to(&self, index: &mut Index) {
        let mut terms = &self.terms[..];
        for event in &self.events {
            let (own, rest) = terms.split_at(count_terms(&event.event));
            if event.position == index.head().next() {
                index.push_filed(Arc::clone(event), own);
            }
            terms = rest;
        }
    }
}

fn count_terms(event: &Event) -> usize {
    1 + event.tags().len() + usize::from(event.id().is_some())
}
