//! A view of the store in one transaction, over the segments, the tail in memory, and the rows that
//! neither of them covers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use crate::domain::{Direction, Event, EventView, PositionRange, Query};
use crate::error::Result;
use crate::index::{Index, Progress};
use crate::position::Position;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::{ReadResult, ReadStop, Source};
use crate::sqlite::index::limit::{Limit, Work};
use crate::sqlite::index::search::{Search, SegmentSearch};
use crate::sqlite::index::segment_list::Segments;
use crate::sqlite::index::tail::{Generations, Tail};

/// The next stretch of a search, and where to look for its events.
enum Stretch {
    /// One generation of the tail holds the stretch.
    Memory(PositionRange),
    /// The segments cover the stretch.
    Segments(PositionRange),
    /// Neither covers the stretch: each row has to be read.
    Rows(PositionRange),
}

/// The view of the store in one transaction.
pub struct View<'a> {
    /// The source of rows, in the transaction.
    pub source: Source<'a>,
    /// The segments that the transaction sees.
    pub segments: Arc<Segments>,
    /// The recent events in memory.
    pub tail: &'a Tail,
}

/// How many events are copied out of the tail at a time, so that its lock is held only briefly.
const MEMORY_CHUNK: usize = 256;

impl View<'_> {
    fn segment_search<'s>(&'s self, reader: &EventReader, limit: Limit<'s>) -> SegmentSearch<'s> {
        let (source, segments) = (self.source, &*self.segments);
        SegmentSearch { source, segments, cache: reader.cache(), limit }
    }

    /// Returns the first stretch of `rest` in the direction of the search, and the generation of
    /// the tail that holds it, if one does.
    fn next_stretch<'t>(
        &self,
        tail: &'t Generations,
        rest: PositionRange,
        direction: Direction,
    ) -> (Stretch, Option<&'t Index>) {
        let (base, head, indexed) = (tail.base(), tail.head(), self.segments.indexed());
        let PositionRange { after: low, through: high } = rest;
        let first = rest.first(direction);
        // Cuts the rest at the nearer of the two borders around its first position.
        let stretch = |floor: Position, ceiling: Position| match direction {
            Direction::Forward => PositionRange { through: high.min(ceiling), ..rest },
            Direction::Backward => PositionRange { after: low.max(floor), ..rest },
        };
        // Other processes may have appended events, and written segments, that the tail lacks.
        let is_above = first > head;
        let generation = tail.generation_of(first);
        let piece = if let Some(index) = generation {
            Stretch::Memory(stretch(index.base(), index.head()))
        } else if first > indexed {
            let (floor, ceiling) =
                if is_above { (head.max(indexed), Position::MAX) } else { (indexed, base) };
            Stretch::Rows(stretch(floor, ceiling))
        } else {
            let (floor, ceiling) =
                if is_above { (head, indexed) } else { (Position::START, base.min(indexed)) };
            Stretch::Segments(stretch(floor, ceiling))
        };
        (piece, generation)
    }

    /// Calls `visit` with the events that `search` looks for, in order. Stops when `visit` breaks,
    /// or once `until` has passed, and returns how far it came.
    pub fn search(
        &self,
        reader: &mut EventReader,
        search: Search<'_>,
        until: Option<Instant>,
        visit: &mut dyn FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<Progress> {
        let Search { query, range: mut rest, direction } = search;
        let limit = Limit { until, work: None };
        let mut found = Vec::new();
        while !rest.is_empty() {
            let (piece, progress) = self.tail.read(|tail| {
                let (piece, generation) = self.next_stretch(tail, rest, direction);
                let progress = match (&piece, generation) {
                    (Stretch::Memory(stretch), Some(index)) => {
                        index.find(query, *stretch, direction, MEMORY_CHUNK, &mut found)
                    }
                    _ => Progress::Exhausted,
                };
                (piece, progress)
            });
            let (stretch, progress) = match piece {
                Stretch::Memory(stretch) => {
                    for event in found.drain(..) {
                        if visit(&event.view())?.is_break() {
                            return Ok(Progress::Reached(event.position));
                        }
                    }
                    (stretch, progress)
                }
                Stretch::Segments(stretch) => {
                    let progress = self.segment_search(reader, limit).search(
                        reader,
                        Search { range: stretch, ..search },
                        visit,
                    )?;
                    if let Progress::Reached(_) = progress {
                        return Ok(progress);
                    }
                    (stretch, progress)
                }
                Stretch::Rows(stretch) => {
                    let progress = self.segment_search(reader, limit).scan(
                        reader,
                        Search { range: stretch, ..search },
                        visit,
                    )?;
                    if let Progress::Reached(_) = progress {
                        return Ok(progress);
                    }
                    (stretch, progress)
                }
            };
            let reached = match progress {
                Progress::Exhausted => stretch.last(direction),
                Progress::Reached(position) => position,
            };
            rest = rest.beyond(reached, direction);
            if !rest.is_empty() && until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Progress::Reached(reached));
            }
        }
        Ok(Progress::Exhausted)
    }

    /// Returns the lowest position in `span` whose event `query` matches. Fails with
    /// [`ReadStop::TooMuchWork`] once the work is spent.
    pub fn first_match(
        &self,
        reader: &mut EventReader,
        query: &Query,
        span: PositionRange,
        work: Option<&Work>,
    ) -> ReadResult<Option<Position>> {
        let limit = Limit { until: None, work };
        let mut rest = span;
        while !rest.is_empty() {
            let (piece, in_memory) = self.tail.read(|tail| {
                let (piece, generation) = self.next_stretch(tail, rest, Direction::Forward);
                let first = match (&piece, generation) {
                    (Stretch::Memory(stretch), Some(index)) => index.first_match(query, *stretch),
                    _ => None,
                };
                (piece, first)
            });
            let (stretch, first) = match piece {
                Stretch::Memory(stretch) => (stretch, in_memory),
                Stretch::Segments(stretch) => (
                    stretch,
                    self.segment_search(reader, limit).first_match(reader, query, stretch)?,
                ),
                Stretch::Rows(stretch) => {
                    let mut first = None;
                    let search = Search { query, range: stretch, direction: Direction::Forward };
                    let found = &mut |view: &EventView<'_>| {
                        first = Some(view.position);
                        Ok(ControlFlow::Break(()))
                    };
                    let progress =
                        self.segment_search(reader, limit).scan(reader, search, found)?;
                    if first.is_none() && progress != Progress::Exhausted {
                        return Err(ReadStop::TooMuchWork);
                    }
                    (stretch, first)
                }
            };
            if first.is_some() {
                return Ok(first);
            }
            rest.after = stretch.through;
        }
        Ok(None)
    }

    /// Returns the position of the event with this id, if it is in `span`. Fails with
    /// [`ReadStop::TooMuchWork`] once the work is spent.
    pub fn position_of_id(
        &self,
        reader: &mut EventReader,
        id: &str,
        span: PositionRange,
        work: Option<&Work>,
    ) -> ReadResult<Option<Position>> {
        let limit = Limit { until: None, work };
        self.find(reader, id, span, limit, |event| Ok(event.position))
    }

    /// Calls `visit` with the event that has this id, if it is in `span`, and returns what `visit`
    /// does. Fails with [`ReadStop::TooMuchWork`] if the limit is reached before.
    pub fn find<T>(
        &self,
        reader: &mut EventReader,
        id: &str,
        span: PositionRange,
        limit: Limit<'_>,
        mut visit: impl FnMut(&EventView<'_>) -> Result<T>,
    ) -> ReadResult<Option<T>> {
        let mut rest = span;
        while !rest.is_empty() {
            let (piece, in_memory) = self.tail.read(|tail| {
                let (piece, generation) = self.next_stretch(tail, rest, Direction::Backward);
                let event = generation.and_then(|index| {
                    // The tail may hold events above the head of a snapshot.
                    let is_in_span =
                        |position: &Position| span.after < *position && *position <= span.through;
                    index.get(index.position_of_id(id).filter(is_in_span)?).cloned()
                });
                (piece, event)
            });
            let (stretch, value) = match piece {
                Stretch::Memory(stretch) => {
                    if in_memory.is_some() {
                        if limit.is_reached() {
                            return Err(ReadStop::TooMuchWork);
                        }
                        limit.count(1);
                    }
                    (stretch, in_memory.map(|event| visit(&event.view())).transpose()?)
                }
                Stretch::Segments(stretch) => {
                    let search = self.segment_search(reader, limit);
                    (stretch, search.find(reader, id, stretch, &mut visit)?)
                }
                Stretch::Rows(stretch) => {
                    let mut value = None;
                    reader.scan(self.source, stretch, Direction::Backward, |event| {
                        if event.id != Some(id) {
                            return Ok(ControlFlow::Continue(()));
                        }
                        value = Some(visit(event)?);
                        Ok(ControlFlow::Break(()))
                    })?;
                    (stretch, value)
                }
            };
            if value.is_some() {
                return Ok(value);
            }
            rest.through = stretch.after;
        }
        Ok(None)
    }

    /// Returns whether the event stored at `position` equals `event`.
    pub fn is_same(
        &self,
        reader: &mut EventReader,
        position: Position,
        event: &Event,
    ) -> ReadResult<bool> {
        let in_memory = self.tail.read(|tail| {
            let stored = tail.generation_of(position)?.get(position)?;
            Some(stored.event == *event)
        });
        match in_memory {
            Some(same) => Ok(same),
            None => reader.at(self.source, position, |view| Ok(view.is_same_as(event))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventBuilder, EventType, SequencedEvent};
    use crate::position::at;
    use crate::sqlite::connection::transaction::Transaction;
    use crate::sqlite::connection::{Location, OpenMode, connect};
    use crate::sqlite::events::{checksum, write};
    use crate::sqlite::index::segment_list::SegmentsCache;
    use crate::sqlite::index::segment_writer::pack;
    use crate::sqlite::maintenance::segments::{insert_live, postings_of_rows};
    use crate::sqlite::schema;
    use crate::sqlite::snapshot::Snapshot;

    /// Other processes have appended events that the tail lacks, some of them in segments already.
    #[test]
    fn only_events_that_are_not_indexed_are_read_row_by_row() {
        let connection = connect(&Location::Memory, OpenMode::Create).unwrap();
        schema::create_within(&connection, false).unwrap();
        let event = || EventBuilder::new(EventType::new("A").unwrap()).build();
        let mut reader = EventReader::default();
        for position in 1..=20 {
            let event = SequencedEvent { position: at(position), timestamp_us: 0, event: event() };
            let checksums = checksum::checksums(std::slice::from_ref(&event.event));
            write::insert(&connection, [&event.into()].into_iter().zip(&checksums)).unwrap();
        }
        let transaction = Transaction::begin(&connection).unwrap();
        let tail = Tail::new(at(4));
        let snapshot = Snapshot { head: at(6), version: 0 };
        tail.catch_up(&connection, &mut reader, snapshot, at(0)).unwrap();
        drop(transaction);
        // The tail holds positions 5 and 6.
        for (indexed, [forwards, backwards]) in [
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
            if indexed > 0 {
                let span = PositionRange { after: at(0), through: at(indexed) };
                let postings = postings_of_rows(&connection, &mut reader, span).unwrap();
                insert_live(&connection, span, pack(at(0), &postings).unwrap()).unwrap();
            }
            let (_, segments) = SegmentsCache::default().now(&connection).unwrap();
            let view = View { source: Source::Own(&connection, None), segments, tail: &tail };
            for (direction, expected) in
                [(Direction::Forward, forwards), (Direction::Backward, backwards)]
            {
                let mut rest = PositionRange { after: at(0), through: at(20) };
                let pieces = expected.map(|_| {
                    let piece = tail.read(|tail| view.next_stretch(tail, rest, direction).0);
                    let (name, PositionRange { after: low, through: high }) = match piece {
                        Stretch::Memory(span) => ("memory", span),
                        Stretch::Segments(span) => ("segments", span),
                        Stretch::Rows(span) => ("rows", span),
                    };
                    if direction.is_backward() {
                        rest.through = low
                    } else {
                        rest.after = high
                    };
                    format!("{name} {low} {high}")
                });
                assert_eq!(pieces, expected, "up to {indexed}");
            }
        }
    }
}
