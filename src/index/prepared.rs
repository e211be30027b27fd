//! Events with all that can be made of them before their positions are known.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::domain::{Event, SequencedEvent, Term};
use crate::error::{Error, Result};
use crate::index::Index;

/// The events of an append, hashed and allocated by the caller's thread, so that nobody waits
/// for that under a lock.
#[derive(Debug)]
pub struct PreparedEvents {
    events: SmallVec<[Arc<SequencedEvent>; 1]>,
    /// Those of all events, one after the other.
    terms: SmallVec<[Term; 4]>,
}

impl PreparedEvents {
    /// Events without positions; `no_memory`.
    pub fn new(given: SmallVec<[Event; 1]>) -> Result<Self> {
        let (mut events, mut terms) = (SmallVec::new(), SmallVec::new());
        events
            .try_reserve_exact(given.len())
            .and_then(|()| terms.try_reserve_exact(given.iter().map(count_terms).sum()))
            .map_err(|_| Error::no_memory("so many events"))?;
        for event in given {
            terms.extend(event.terms());
            events.push(Arc::new(SequencedEvent { position: 0, timestamp_us: 0, event }));
        }
        Ok(PreparedEvents { events, terms })
    }

    /// The events as they were given.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|sequenced| &sequenced.event)
    }

    /// The events, at their positions once they were placed.
    pub fn sequenced(&self) -> &[Arc<SequencedEvent>] {
        &self.events
    }

    /// Gives the events the positions after `head`. No index holds them yet.
    ///
    /// # Panics
    /// If one does.
    pub fn place(&mut self, head: i64, timestamp_us: i64) {
        for (event, position) in self.events.iter_mut().zip(head + 1..) {
            let event = Arc::get_mut(event).expect("no index holds it yet");
            (event.position, event.timestamp_us) = (position, timestamp_us);
        }
    }

    /// Adds to the index those of the events that come after its head.
    pub fn add_to(&self, index: &mut Index) {
        let mut terms = &self.terms[..];
        for event in &self.events {
            let (own, rest) = terms.split_at(count_terms(&event.event));
            if event.position == index.head() + 1 {
                index.push_filed(Arc::clone(event), own);
            }
            terms = rest;
        }
    }
}

fn count_terms(event: &Event) -> usize {
    1 + event.tags().len() + usize::from(event.id().is_some())
}
