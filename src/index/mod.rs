//! The index in memory: the memory store's, and the SQLite store's for its recent events.
//!
//! It holds a contiguous run of events and, for every term, the positions of the events that have
//! it. A term is a hash, so every hit is checked against the event: no answer rests on a hash.

mod postings;
mod prepared;
mod search;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use postings::Terms;

use crate::domain::{PositionRange, SequencedEvent, Term};
pub use prepared::PreparedEvents;
pub use search::Progress;

/// An inverted index over the events from [`Index::base`] + 1 to [`Index::head`].
#[derive(Debug)]
pub struct Index {
    base: i64,
    events: Vec<Arc<SequencedEvent>>,
    terms: Terms,
    /// Bytes of the events held.
    event_bytes: usize,
    /// Which bits of a term count, so that tests can make terms collide.
    #[cfg(test)]
    mask: u64,
}

/// What an event takes beside [`crate::domain::Event::footprint`]: its place in the sequence,
/// the counters of its `Arc`, the pointer to it, and the heads of three allocations.
const EVENT_OVERHEAD: usize =
    size_of::<SequencedEvent>() - size_of::<crate::domain::Event>() + 16 + 8 + 3 * 16;

impl Index {
    /// An empty index whose first event will be the one at `base` + 1, for some thousand events.
    pub fn new(base: i64) -> Self {
        Self::with_shards(base, 1)
    }

    /// The same, for any number of events: adding one never takes long.
    pub fn unbounded(base: i64) -> Self {
        Self::with_shards(base, 256)
    }

    fn with_shards(base: i64, shards: usize) -> Self {
        Index {
            base,
            events: Vec::new(),
            terms: Terms::new(shards),
            event_bytes: 0,
            #[cfg(test)]
            mask: u64::MAX,
        }
    }

    /// The position before the first event held.
    pub fn base(&self) -> i64 {
        self.base
    }

    /// The position of the last event held; the base where none is.
    pub fn head(&self) -> i64 {
        self.base + self.events.len() as i64
    }

    /// How many events are held.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event is held.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// About how many bytes the events and the index over them take.
    pub fn footprint(&self) -> usize {
        self.event_bytes + self.terms.footprint()
    }

    /// Adds the event at `head() + 1`.
    ///
    /// # Panics
    /// If the event is at another position.
    pub fn push(&mut self, event: Arc<SequencedEvent>) {
        let position = self.check_next(&event);
        for term in event.event.terms() {
            self.terms.add(self.filed(term), position);
        }
        self.keep(event);
    }

    /// As [`Index::push`], where the terms of the event are known already.
    pub fn push_filed(&mut self, event: Arc<SequencedEvent>, terms: &[Term]) {
        debug_assert!(event.event.terms().eq(terms.iter().copied()));
        let position = self.check_next(&event);
        for &term in terms {
            self.terms.add(self.filed(term), position);
        }
        self.keep(event);
    }

    fn check_next(&self, event: &SequencedEvent) -> i64 {
        assert_eq!(event.position, self.head() + 1, "positions have no gap");
        event.position
    }

    fn keep(&mut self, event: Arc<SequencedEvent>) {
        self.event_bytes += event.event.footprint() + EVENT_OVERHEAD;
        self.events.push(event);
    }

    /// The event at `position`, if it is held.
    pub fn get(&self, position: i64) -> Option<&Arc<SequencedEvent>> {
        let offset = position.checked_sub(self.base)?.checked_sub(1)?;
        self.events.get(usize::try_from(offset).ok()?)
    }

    /// The position of the event with this id, if it is held.
    pub fn position_of_id(&self, id: &str) -> Option<i64> {
        let postings = self.terms.get(self.filed(Term::of_id(id)))?;
        postings.iter().find(|&position| self.at(position).event.id() == Some(id))
    }

    /// Every term with every position that it is filed at, sorted by term, then by position.
    #[cfg(test)]
    pub fn postings(&self) -> Vec<(Term, i64)> {
        let mut all: Vec<_> = self
            .terms
            .iter()
            .flat_map(|(term, postings)| postings.iter().map(move |position| (term, position)))
            .collect();
        all.sort_unstable();
        all
    }

    /// The events in `span`, which is held.
    pub fn range(&self, span: PositionRange) -> Vec<Arc<SequencedEvent>> {
        let index = |position: i64| usize::try_from(position - self.base).unwrap_or(0);
        self.events[index(span.after)..index(span.through)].to_vec()
    }

    /// The part of `span` that is held; `None` if there is none.
    fn clip(&self, span: PositionRange) -> Option<PositionRange> {
        let span = PositionRange {
            after: span.after.max(self.base),
            through: span.through.min(self.head()),
        };
        (span.after < span.through).then_some(span)
    }

    /// The event at a position that the index itself gave.
    fn at(&self, position: i64) -> &Arc<SequencedEvent> {
        &self.events[(position - self.base - 1) as usize]
    }

    /// The term that the postings know `term` by: itself, but in tests of collisions.
    fn filed(&self, term: Term) -> Term {
        #[cfg(test)]
        let term = Term(term.0 & self.mask);
        term
    }
}
