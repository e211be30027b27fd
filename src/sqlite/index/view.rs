//! What one transaction sees: the segments, the recent events in memory, and rows in between.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Instant;

use crate::domain::{Event, EventView, Query, SequencedEvent, Span};
use crate::error::Result;
use crate::index::{Filed, Index, Progress};
use crate::sql::{Database, Row, Walk};
use crate::sqlite::events::reader::{Decoder, to_owned};
use crate::sqlite::index::search::Disk;
use crate::sqlite::index::segment::{Segments, damaged};

/// The newest events are held in memory up to so many,
pub const TAIL_EVENTS: usize = if cfg!(any(test, feature = "testing")) { 128 } else { 16_384 };
/// and up to so many bytes.
pub const TAIL_BYTES: usize = 16 * 1024 * 1024;

/// Events in a generation, which is dropped as a whole, and bytes after which another one begins.
const GENERATION: usize = TAIL_EVENTS / 4;
const GENERATION_BYTES: usize = TAIL_BYTES / 4;

/// What a transaction found when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The position of the newest event.
    pub head: i64,
    /// The version of the list of segments.
    pub version: i64,
}

impl Snapshot {
    /// Takes the snapshot of the connection's transaction; outside of one, of this moment.
    pub fn take(connection: &dyn Database) -> Result<Self> {
        connection.query_row(Self::SQL, &[], Self::of)?.ok_or_else(damaged)
    }

    /// The statement that takes a snapshot, and holds it while it is under way.
    pub const SQL: &str = "SELECT (SELECT max(position) FROM dcb_events), \
                           (SELECT value FROM dcb_meta WHERE key = 'index')";

    /// Takes the snapshot from the row of [`Snapshot::SQL`].
    pub fn of(row: &Row<'_>) -> Result<Self> {
        let head = row.value(0).as_i64_or_null().map_err(|_| damaged())?.unwrap_or(0);
        Ok(Snapshot { head, version: row.integer(1).ok_or_else(damaged)? })
    }
}

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
    pub fn range(&self, span: Span) -> Vec<Arc<SequencedEvent>> {
        let clip = |index: &Index| Span {
            low: span.low.clamp(index.base(), index.head()),
            high: span.high.clamp(index.base(), index.head()),
        };
        self.0.iter().flat_map(|index| index.range(clip(index))).collect()
    }

    /// The generation that holds the event at `position`, if one does.
    fn of(&self, position: i64) -> Option<&Index> {
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
    pub fn extend<'a>(&self, batches: impl IntoIterator<Item = &'a Filed>) {
        let mut generations = self.write();
        for filed in batches {
            filed.add_to(generations.youngest());
        }
    }

    /// Drops the oldest events that the segments cover, as far as the bounds ask for it.
    pub fn trim(&self, mark: i64) {
        loop {
            let mut generations = self.write();
            let Some(oldest) = generations.0.front() else { return };
            let is_due = oldest.head() <= mark
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
    pub fn catch_up(
        &self,
        connection: &dyn Database,
        decoder: &mut Decoder,
        snapshot: Snapshot,
        mark: i64,
    ) -> Result<()> {
        let own_head = self.read(Generations::head);
        if own_head >= snapshot.head {
            return Ok(());
        }
        let low = own_head.max(mark).max(snapshot.head.saturating_sub(TAIL_EVENTS as i64));
        let span = Span { low, high: snapshot.head };
        let (mut events, mut bytes) = (Vec::new(), 0);
        decoder.scan(connection, span, true, |view| {
            bytes += view.text_len();
            if bytes > TAIL_BYTES {
                return Ok(Walk::Stop);
            }
            events.push(to_owned(view)?);
            Ok(Walk::On)
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
        self.trim(mark);
        Ok(())
    }
}

/// Where the next stretch of a search is looked up.
enum Piece {
    /// One generation of the tail has it.
    Memory(Span),
    Segments(Span),
    /// Neither has it: the rows themselves are looked at, one by one.
    Rows(Span),
}

/// One transaction's view of the store.
pub struct View<'a> {
    /// The connection, in a transaction.
    pub connection: &'a dyn Database,
    /// The segments that the transaction sees.
    pub segments: Arc<Segments>,
    /// The recent events.
    pub tail: &'a Tail,
}

/// Events that are taken from memory at a time.
const SLICE: usize = 256;

impl View<'_> {
    fn disk(&self, until: Option<Instant>) -> Disk<'_> {
        Disk { connection: self.connection, segments: &self.segments, until }
    }

    /// The first stretch of `rest` in the direction of the search.
    fn piece<'t>(
        &self,
        tail: &'t Generations,
        rest: Span,
        backwards: bool,
    ) -> (Piece, Option<&'t Index>) {
        let (base, head, mark) = (tail.base(), tail.head(), self.segments.mark());
        let Span { low, high } = rest;
        let first = if backwards { high } else { low + 1 };
        // From the borders above and below the first position, the nearer to the rest.
        let stretch = |floor: i64, ceiling: i64| {
            if backwards {
                Span { low: low.max(floor), high }
            } else {
                Span { low, high: high.min(ceiling) }
            }
        };
        // Others may have appended, and filed, what the tail does not have yet.
        let is_above = first > head;
        let generation = tail.of(first);
        let piece = if let Some(index) = generation {
            Piece::Memory(stretch(index.base(), index.head()))
        } else if first > mark {
            let (floor, ceiling) = if is_above { (head.max(mark), i64::MAX) } else { (mark, base) };
            Piece::Rows(stretch(floor, ceiling))
        } else {
            let (floor, ceiling) = if is_above { (head, mark) } else { (0, base.min(mark)) };
            Piece::Segments(stretch(floor, ceiling))
        };
        (piece, generation)
    }

    /// Gives `visit` the events in `span` that `query` matches, in order, until it stops or
    /// `until` has come.
    pub fn search(
        &self,
        decoder: &mut Decoder,
        query: &Query,
        span: Span,
        backwards: bool,
        until: Option<Instant>,
        visit: &mut dyn FnMut(&EventView<'_>) -> Result<Walk>,
    ) -> Result<Progress> {
        let mut rest = span;
        let mut found = Vec::new();
        while rest.low < rest.high {
            let (piece, progress) = self.tail.read(|tail| {
                let (piece, generation) = self.piece(tail, rest, backwards);
                let progress = match (&piece, generation) {
                    (Piece::Memory(stretch), Some(index)) => {
                        index.find(query, *stretch, backwards, SLICE, &mut found)
                    }
                    _ => Progress::Exhausted,
                };
                (piece, progress)
            });
            let (stretch, progress) = match piece {
                Piece::Memory(stretch) => {
                    for event in found.drain(..) {
                        if visit(&event.view())? == Walk::Stop {
                            return Ok(Progress::Reached(event.position));
                        }
                    }
                    (stretch, progress)
                }
                Piece::Segments(stretch) => {
                    let disk = self.disk(until);
                    let progress = disk.search(decoder, query, stretch, backwards, visit)?;
                    if let Progress::Reached(_) = progress {
                        return Ok(progress);
                    }
                    (stretch, progress)
                }
                Piece::Rows(stretch) => {
                    let disk = self.disk(until);
                    let progress = disk.scan(decoder, query, stretch, backwards, visit)?;
                    if let Progress::Reached(_) = progress {
                        return Ok(progress);
                    }
                    (stretch, progress)
                }
            };
            match (progress, backwards) {
                (Progress::Exhausted, false) => rest.low = stretch.high,
                (Progress::Exhausted, true) => rest.high = stretch.low,
                (Progress::Reached(position), false) => rest.low = position,
                (Progress::Reached(position), true) => rest.high = position - 1,
            }
            if rest.low < rest.high && until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Progress::Reached(if backwards { rest.high + 1 } else { rest.low }));
            }
        }
        Ok(Progress::Exhausted)
    }

    /// The lowest position in `span` whose event `query` matches.
    pub fn first_match(
        &self,
        decoder: &mut Decoder,
        query: &Query,
        span: Span,
    ) -> Result<Option<i64>> {
        let mut rest = span;
        while rest.low < rest.high {
            let (piece, in_memory) = self.tail.read(|tail| {
                let (piece, generation) = self.piece(tail, rest, false);
                let first = match (&piece, generation) {
                    (Piece::Memory(stretch), Some(index)) => index.first_match(query, *stretch),
                    _ => None,
                };
                (piece, first)
            });
            let (stretch, first) = match piece {
                Piece::Memory(stretch) => (stretch, in_memory),
                Piece::Segments(stretch) => {
                    (stretch, self.disk(None).first_match(decoder, query, stretch)?)
                }
                Piece::Rows(stretch) => {
                    let mut first = None;
                    self.disk(None).scan(decoder, query, stretch, false, &mut |view| {
                        first = Some(view.position);
                        Ok(Walk::Stop)
                    })?;
                    (stretch, first)
                }
            };
            if first.is_some() {
                return Ok(first);
            }
            rest.low = stretch.high;
        }
        Ok(None)
    }

    /// The position of the event with this id, at or below `head`.
    pub fn position_of_id(
        &self,
        decoder: &mut Decoder,
        id: &str,
        head: i64,
    ) -> Result<Option<i64>> {
        let mut rest = Span { low: 0, high: head };
        while rest.low < rest.high {
            let (piece, in_memory) = self.tail.read(|tail| {
                let (piece, generation) = self.piece(tail, rest, true);
                let position = generation.and_then(|index| index.position_of_id(id));
                (piece, position)
            });
            let (stretch, position) = match piece {
                Piece::Memory(stretch) => (stretch, in_memory),
                Piece::Segments(stretch) => {
                    (stretch, self.disk(None).position_of_id(decoder, id, stretch)?)
                }
                Piece::Rows(stretch) => {
                    let mut position = None;
                    decoder.scan(self.connection, stretch, true, |view| {
                        if view.id != Some(id) {
                            return Ok(Walk::On);
                        }
                        position = Some(view.position);
                        Ok(Walk::Stop)
                    })?;
                    (stretch, position)
                }
            };
            if position.is_some() {
                return Ok(position);
            }
            rest.high = stretch.low;
        }
        Ok(None)
    }

    /// Whether the event stored at `position` is the same as `event`.
    pub fn is_same(&self, decoder: &mut Decoder, position: i64, event: &Event) -> Result<bool> {
        let in_memory = self.tail.read(|tail| {
            let stored = tail.of(position)?.get(position)?;
            Some(stored.event == *event)
        });
        match in_memory {
            Some(same) => Ok(same),
            None => decoder.at(self.connection, position, |view| Ok(view.is_same_as(event))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventBuilder, EventType};
    use crate::sqlite::connection::{Moment, Place, Role, connect};
    use crate::sqlite::events::reader;
    use crate::sqlite::index::segment::{SegmentsCache, pack};
    use crate::sqlite::maintenance::{insert_live, postings_of_rows};
    use crate::sqlite::schema;

    /// Others have appended what the tail does not have: of that, the segments have what they have.
    #[test]
    fn only_what_nobody_has_filed_is_looked_at_row_by_row() {
        let connection = connect(&Place::Memory, Role::Create).unwrap();
        schema::create_within(&connection, false).unwrap();
        let event = || EventBuilder::new(EventType::new("A").unwrap()).build();
        let mut decoder = Decoder::default();
        for position in 1..=20 {
            let event = SequencedEvent { position, timestamp_us: 0, event: event() };
            let checksums = reader::checksums(std::slice::from_ref(&event.event));
            reader::insert(&connection, &[event.into()], &checksums).unwrap();
        }
        let moment = Moment::begin(&connection).unwrap();
        let tail = Tail::new(4);
        let snapshot = Snapshot { head: 6, version: 0 };
        tail.catch_up(&connection, &mut decoder, snapshot, 0).unwrap();
        drop(moment);
        // The tail holds what is above 4, up to 6.
        for (mark, [forwards, backwards]) in [
            (0, [["rows 0 4", "memory 4 6", "rows 6 20"], ["rows 6 20", "memory 4 6", "rows 0 4"]]),
            (
                3,
                [
                    ["segments 0 3", "rows 3 4", "memory 4 6"],
                    ["rows 6 20", "memory 4 6", "rows 3 4"],
                ],
            ),
            (
                5,
                [
                    ["segments 0 4", "memory 4 6", "rows 6 20"],
                    ["rows 6 20", "memory 4 6", "segments 0 4"],
                ],
            ),
            (
                9,
                [
                    ["segments 0 4", "memory 4 6", "segments 6 9"],
                    ["rows 9 20", "segments 6 9", "memory 4 6"],
                ],
            ),
            (
                20,
                [
                    ["segments 0 4", "memory 4 6", "segments 6 20"],
                    ["segments 6 20", "memory 4 6", "segments 0 4"],
                ],
            ),
        ] {
            connection.execute_batch("DELETE FROM dcb_segments; DELETE FROM dcb_postings").unwrap();
            connection.execute_batch("DELETE FROM dcb_filters").unwrap();
            if mark > 0 {
                let span = Span { low: 0, high: mark };
                let postings = postings_of_rows(&connection, &mut decoder, span).unwrap();
                insert_live(&connection, span, pack(0, &postings).unwrap()).unwrap();
            }
            let (_, segments) = SegmentsCache::default().now(&connection).unwrap();
            let view = View { connection: &connection, segments, tail: &tail };
            for (is_backwards, expected) in [(false, forwards), (true, backwards)] {
                let mut rest = Span { low: 0, high: 20 };
                let pieces = expected.map(|_| {
                    let piece = tail.read(|tail| view.piece(tail, rest, is_backwards).0);
                    let (name, Span { low, high }) = match piece {
                        Piece::Memory(span) => ("memory", span),
                        Piece::Segments(span) => ("segments", span),
                        Piece::Rows(span) => ("rows", span),
                    };
                    if is_backwards {
                        rest.high = low
                    } else {
                        rest.low = high
                    };
                    format!("{name} {low} {high}")
                });
                assert_eq!(pieces, expected, "up to {mark}");
            }
        }
    }
}
