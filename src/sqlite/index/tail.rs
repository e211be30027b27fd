//! The tail: the newest events of the store, indexed in memory.
//!
//! Invariant: the events in the tail are consecutive and committed. One lock guards them, and no
//! call of SQLite is made while it is held.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use crate::domain::{Direction, PositionRange, SequencedEvent, Term};
use crate::index::{Index, PreparedEvents};
use crate::position::Position;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::row::to_owned;
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::snapshot::Snapshot;

/// The tail holds at most this many events.
pub const TAIL_EVENTS: usize = if cfg!(any(test, feature = "testing")) { 128 } else { 16_384 };
/// The tail holds at most about this many bytes.
pub const TAIL_BYTES: usize = 16 * 1024 * 1024;
/// A generation is full at this many events.
const GENERATION_EVENTS: usize = TAIL_EVENTS / 4;
/// A generation is full at this many bytes, whatever the number of its events.
const GENERATION_BYTES: usize = TAIL_BYTES / 4;

/// The recent events, which every connection of the process shares.
///
/// They are held in generations: removing one event from an index costs as much as adding it did,
/// while dropping a whole index costs next to nothing.
#[derive(Debug)]
pub struct Tail(RwLock<Generations>);

/// The generations of the tail, from the oldest to the newest; there is always at least one.
#[derive(Debug)]
pub struct Generations(VecDeque<Index>);

impl Generations {
    fn new(base: Position) -> Self {
        Generations(VecDeque::from([Index::new(base)]))
    }

    /// Returns the position before the first event held.
    pub fn base(&self) -> Position {
        self.0.front().map_or(Position::START, Index::base)
    }

    /// Returns the position of the last event held, or the base if there is none.
    pub fn head(&self) -> Position {
        self.0.back().map_or(Position::START, Index::head)
    }

    /// Returns how many events are held.
    pub fn len(&self) -> usize {
        self.0.iter().map(Index::len).sum()
    }

    /// Returns about how many bytes the events take.
    pub fn footprint(&self) -> usize {
        self.0.iter().map(Index::footprint).sum()
    }

    /// Returns every term of the events in `span`, in any order, with each of its positions. The
    /// tail must hold these events.
    pub fn postings(&self, span: PositionRange) -> Vec<(Term, Position)> {
        let holds_some = |index: &&Index| index.head() > span.after && index.base() < span.through;
        let own = || self.0.iter().filter(holds_some);
        let mut postings = Vec::with_capacity(own().map(Index::count_postings).sum());
        own().for_each(|index| index.postings_in(span, &mut postings));
        postings
    }

    /// Returns the generation that holds the event at `position`, if one does.
    pub fn generation_of(&self, position: Position) -> Option<&Index> {
        self.0.iter().rev().find(|index| index.base() < position && position <= index.head())
    }

    /// Returns the generation that takes the next event.
    fn newest(&mut self) -> &mut Index {
        let head = self.head();
        let is_full = |index: &Index| {
            index.len() >= GENERATION_EVENTS || index.footprint() >= GENERATION_BYTES
        };
        if self.0.back().is_none_or(is_full) {
            self.0.push_back(Index::new(head));
        }
        self.0.back_mut().expect("there is always one")
    }
}

impl Tail {
    /// Creates an empty tail that starts after `base`.
    pub fn new(base: Position) -> Self {
        Tail(RwLock::new(Generations::new(base)))
    }

    /// Calls `look` with the events, under the lock: `look` must not call SQLite.
    pub fn read<T>(&self, look: impl FnOnce(&Generations) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds committed events, and skips those that the tail has already.
    pub fn extend<'a>(&self, batches: impl IntoIterator<Item = &'a PreparedEvents>) {
        let mut generations = self.write();
        for prepared in batches {
            prepared.add_to(generations.newest());
        }
    }

    /// Drops the oldest generations that the segments cover, while the tail is above half its
    /// bounds.
    pub fn trim(&self, indexed: Position) {
        loop {
            let mut generations = self.write();
            let Some(oldest) = generations.0.front() else { return };
            let is_due = oldest.head() <= indexed
                && (generations.len() - oldest.len() >= TAIL_EVENTS / 2
                    || generations.footprint() > TAIL_BYTES / 2);
            let dropped = if is_due { generations.0.pop_front() } else { None };
            if let (Some(last), true) = (&dropped, generations.0.is_empty()) {
                generations.0.push_back(Index::new(last.head()));
            }
            // The events are freed after the lock is released.
            drop(generations);
            if dropped.is_none() {
                return;
            }
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Generations> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the events that other processes have appended, up to the snapshot of the connection's
    /// transaction. If they are more than the tail may hold, it keeps only the newest.
    pub fn catch_up<'s>(
        &self,
        source: impl Into<Source<'s>>,
        reader: &mut EventReader,
        snapshot: Snapshot,
        indexed: Position,
    ) -> ReadResult<()> {
        let own_head = self.read(Generations::head);
        if own_head >= snapshot.head {
            return Ok(());
        }
        let low = own_head.max(indexed).max(snapshot.head.saturating_sub(TAIL_EVENTS as u64));
        let span = PositionRange { after: low, through: snapshot.head };
        let events = newest_in(source, reader, span)?;
        let base = snapshot.head.saturating_sub(events.len() as u64);
        let mut generations = self.write();
        if generations.head() < base {
            *generations = Generations::new(base);
        }
        for event in events {
            if event.position == generations.head().next() {
                generations.newest().push(event);
            }
        }
        drop(generations);
        // A process that writes no segments trims the tail only here.
        self.trim(indexed);
        Ok(())
    }
}

/// Returns the events of `span` in ascending order: all of them, or the newest if they are more than
/// memory may hold.
pub fn newest_in<'s>(
    source: impl Into<Source<'s>>,
    reader: &mut EventReader,
    span: PositionRange,
) -> ReadResult<Vec<Arc<SequencedEvent>>> {
    let (mut events, mut bytes) = (Vec::new(), 0);
    reader.scan(source, span, Direction::Backward, |view| {
        bytes += view.text_len();
        if bytes > TAIL_BYTES {
            return Ok(ControlFlow::Break(()));
        }
        events.push(to_owned(view)?);
        Ok(ControlFlow::Continue(()))
    })?;
    events.reverse();
    Ok(events)
}
