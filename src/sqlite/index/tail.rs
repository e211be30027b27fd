//! The recent events, in memory.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use crate::domain::{PositionRange, SequencedEvent};
use crate::index::{Index, PreparedEvents};
use crate::sqlite::events::reader::{EventReader, to_owned};
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::snapshot::Snapshot;

/// The newest events are held in memory up to so many,
pub const TAIL_EVENTS: usize = if cfg!(any(test, feature = "testing")) { 128 } else { 16_384 };
/// and up to so many bytes.
pub const TAIL_BYTES: usize = 16 * 1024 * 1024;
/// Events in a generation, which is dropped as a whole, and bytes after which another one begins.
const GENERATION: usize = TAIL_EVENTS / 4;
const GENERATION_BYTES: usize = TAIL_BYTES / 4;

/// The recent events, in memory. Every connection of the process shows them.
///
/// They are held by generations: taking an event out of an index costs as much as filing it did,
/// dropping an index as a whole next to nothing.
#[derive(Debug)]
pub struct Tail(RwLock<Generations>);

/// The recent events, to look at.
#[derive(Debug)]
pub struct Generations(VecDeque<Index>);

impl Generations {
    fn new(base: i64) -> Self {
        Generations(VecDeque::from([Index::new(base)]))
    }

    /// The position before the first event held.
    pub fn base(&self) -> i64 {
        self.0.front().map_or(0, Index::base)
    }

    /// The position of the last event held; the base where none is.
    pub fn head(&self) -> i64 {
        self.0.back().map_or(0, Index::head)
    }

    /// How many events are held.
    pub fn len(&self) -> usize {
        self.0.iter().map(Index::len).sum()
    }

    /// About how many bytes they take.
    pub fn footprint(&self) -> usize {
        self.0.iter().map(Index::footprint).sum()
    }

    /// The events in `span`, which is held.
    pub fn range(&self, span: PositionRange) -> Vec<Arc<SequencedEvent>> {
        let clip = |index: &Index| PositionRange {
            after: span.after.clamp(index.base(), index.head()),
            through: span.through.clamp(index.base(), index.head()),
        };
        self.0.iter().flat_map(|index| index.range(clip(index))).collect()
    }

    /// The generation that holds the event at `position`, if one does.
    pub fn of(&self, position: i64) -> Option<&Index> {
        self.0.iter().rev().find(|index| index.base() < position && position <= index.head())
    }

    /// The generation that takes the next event.
    fn youngest(&mut self) -> &mut Index {
        let head = self.head();
        let is_full =
            |index: &Index| index.len() >= GENERATION || index.footprint() >= GENERATION_BYTES;
        if self.0.back().is_none_or(is_full) {
            self.0.push_back(Index::new(head));
        }
        self.0.back_mut().expect("there is always one")
    }
}

impl Tail {
    /// A tail that begins after `base`.
    pub fn new(base: i64) -> Self {
        Tail(RwLock::new(Generations::new(base)))
    }

    /// Looks at the events. The lock is for memory work only: no SQLite call under it.
    pub fn read<T>(&self, look: impl FnOnce(&Generations) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds events that are committed; those that it has already are passed over.
    pub fn extend<'a>(&self, batches: impl IntoIterator<Item = &'a PreparedEvents>) {
        let mut generations = self.write();
        for filed in batches {
            filed.add_to(generations.youngest());
        }
    }

    /// Drops the oldest events that the segments cover, as far as the bounds ask for it.
    pub fn trim(&self, indexed: i64) {
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
            // The events go outside of the lock.
            drop(generations);
            if dropped.is_none() {
                return;
            }
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Generations> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the tail up to the snapshot of the connection's transaction, where others have
    /// appended: the bounds hold even where they have appended very much.
    pub fn catch_up<'s>(
        &self,
        source: impl Into<Source<'s>>,
        decoder: &mut EventReader,
        snapshot: Snapshot,
        indexed: i64,
    ) -> ReadResult<()> {
        let own_head = self.read(Generations::head);
        if own_head >= snapshot.head {
            return Ok(());
        }
        let low = own_head.max(indexed).max(snapshot.head.saturating_sub(TAIL_EVENTS as i64));
        let span = PositionRange { after: low, through: snapshot.head };
        let (mut events, mut bytes) = (Vec::new(), 0);
        decoder.scan(source, span, true, |view| {
            bytes += view.text_len();
            if bytes > TAIL_BYTES {
                return Ok(ControlFlow::Break(()));
            }
            events.push(to_owned(view)?);
            Ok(ControlFlow::Continue(()))
        })?;
        events.reverse();
        let base = snapshot.head - events.len() as i64;
        let mut generations = self.write();
        if generations.head() < base {
            *generations = Generations::new(base);
        }
        for event in events {
            if event.position == generations.head() + 1 {
                generations.youngest().push(event);
            }
        }
        drop(generations);
        // Who does not write segments has no other occasion.
        self.trim(indexed);
        Ok(())
    }
}
