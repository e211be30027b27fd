//! The inverted index in memory. The memory store uses it, and the SQLite store for its newest
//! events.
//!
//! It holds a contiguous range of events and, for every term, the positions of the events with that
//! term. A term is a hash, so every hit is checked against the event: no result depends on a hash.
//! The index has no lock of its own; the stores guard it with theirs.

mod postings;
mod prepared;
mod search;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use postings::Terms;

use crate::domain::{PositionRange, SequencedEvent, Term};
use crate::position::Position;
pub use prepared::PreparedEvents;
pub use search::Progress;

/// An inverted index over the events from [`Index::base`] + 1 to [`Index::head`].
#[derive(Debug)]
pub struct Index {
    base: Position,
    events: Vec<Arc<SequencedEvent>>,
    terms: Terms,
    /// The number of bytes that the events take.
    event_bytes: usize,
    /// The bits of a term that the index uses, so that tests can make terms collide.
    #[cfg(test)]
    mask: u64,
}

/// The bytes that an event takes in addition to [`crate::domain::Event::footprint`]: its position
/// and time, the counters of its `Arc`, the pointer to it, and the headers of three allocations.
const EVENT_OVERHEAD: usize =
    size_of::<SequencedEvent>() - size_of::<crate::domain::Event>() + 16 + 8 + 3 * 16;

impl Index {
    /// Returns an empty index whose first event will be at `base` + 1, for some thousands of
    /// events.
    pub fn new(base: Position) -> Self {
        Self::with_shards(base, 1)
    }

    /// Returns an empty index for any number of events: growing it never makes one append slow.
    pub fn unbounded(base: Position) -> Self {
        Self::with_shards(base, 256)
    }

    fn with_shards(base: Position, shards: usize) -> Self {
        Index {
            base,
            events: Vec::new(),
            terms: Terms::new(shards),
            event_bytes: 0,
            #[cfg(test)]
            mask: u64::MAX,
        }
    }

    /// Returns the position before the first event of the index.
    pub fn base(&self) -> Position {
        self.base
    }

    /// Returns the position of the last event, or the base if the index is empty.
    pub fn head(&self) -> Position {
        self.base + self.events.len()
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns whether the index has no events.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns about how many bytes the events and the index over them take.
    pub fn footprint(&self) -> usize {
        self.event_bytes + self.terms.footprint()
    }

    /// Adds the event at `head() + 1`.
    ///
    /// # Panics
    /// Panics if the event is at another position.
    pub fn push(&mut self, event: Arc<SequencedEvent>) {
        let position = self.check_next(&event);
        for term in event.event.terms() {
            self.terms.add(self.filed(term), position);
        }
        let footprint = event.event.footprint();
        self.keep(event, footprint);
    }

    /// Adds the event at `head() + 1`, whose terms and footprint the caller has computed.
    ///
    /// # Panics
    /// Panics if the event is at another position.
    pub fn push_filed(&mut self, event: Arc<SequencedEvent>, terms: &[Term], footprint: usize) {
        debug_assert!(event.event.terms().eq(terms.iter().copied()));
        debug_assert_eq!(event.event.footprint(), footprint);
        let position = self.check_next(&event);
        for &term in terms {
            self.terms.add(self.filed(term), position);
        }
        self.keep(event, footprint);
    }

    fn check_next(&self, event: &SequencedEvent) -> Position {
        assert_eq!(event.position, self.head().next(), "positions have no gap");
        event.position
    }

    fn keep(&mut self, event: Arc<SequencedEvent>, footprint: usize) {
        self.event_bytes += footprint + EVENT_OVERHEAD;
        self.events.push(event);
    }

    /// Returns the event at `position`, if the index has it.
    pub fn get(&self, position: Position) -> Option<&Arc<SequencedEvent>> {
        let offset = (position - self.base).checked_sub(1)?;
        self.events.get(usize::try_from(offset).ok()?)
    }

    /// Returns the position of the event with this id, if the index has it.
    pub fn position_of_id(&self, id: &str) -> Option<Position> {
        let postings = self.terms.get(self.filed(Term::of_id(id)))?;
        postings.iter().find(|&position| self.at(position).event.id() == Some(id))
    }

    /// Returns every term with each of its positions, sorted by term and then by position.
    #[cfg(test)]
    pub fn postings(&self) -> Vec<(Term, Position)> {
        let mut all = Vec::new();
        self.postings_in(PositionRange { after: self.base, through: self.head() }, &mut all);
        all.sort_unstable();
        all
    }

    /// Returns how many postings the index has: pairs of a term and a position.
    pub fn count_postings(&self) -> usize {
        self.terms.count_positions()
    }

    /// Adds every term to `postings`, in any order, with each of its positions in `span`, ascending.
    pub fn postings_in(&self, span: PositionRange, postings: &mut Vec<(Term, Position)>) {
        for (term, own) in self.terms.iter() {
            postings.extend(own.range(span).map(|index| (term, own.get(index))));
        }
    }

    /// Returns the part of `span` that the index has, or `None` if it has none of it.
    fn clip(&self, span: PositionRange) -> Option<PositionRange> {
        let span = PositionRange {
            after: span.after.max(self.base),
            through: span.through.min(self.head()),
        };
        (span.after < span.through).then_some(span)
    }

    /// Returns the event at a position that comes from the index itself.
    fn at(&self, position: Position) -> &Arc<SequencedEvent> {
        &self.events[(position - self.base - 1) as usize]
    }

    /// Returns the term under which the postings file `term`. It differs only in tests of
    /// collisions.
    fn filed(&self, term: Term) -> Term {
        #[cfg(test)]
        let term = Term(term.0 & self.mask);
        term
    }
}
