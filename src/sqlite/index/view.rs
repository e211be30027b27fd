//! What one transaction sees: the segments, the recent events in memory, and rows in between.

use crate::domain::{Event, EventView, Query, Span};
use crate::error::Result;
use crate::index::{Index, Progress};
use crate::sql::{Database, Walk};
use crate::sqlite::events::reader::Decoder;
use crate::sqlite::index::search::Disk;
use crate::sqlite::index::segment_list::Segments;
use crate::sqlite::index::tail::Generations;
use crate::sqlite::index::tail::Tail;
use std::sync::Arc;
use std::time::Instant;

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
    use crate::domain::{EventBuilder, EventType, SequencedEvent};
    use crate::sqlite::connection::transaction::Moment;
    use crate::sqlite::connection::{Place, Role, connect};
    use crate::sqlite::events::{checksum, write};
    use crate::sqlite::index::segment_list::SegmentsCache;
    use crate::sqlite::index::segment_writer::pack;
    use crate::sqlite::maintenance::segments::{insert_live, postings_of_rows};
    use crate::sqlite::schema;
    use crate::sqlite::snapshot::Snapshot;

    /// Others have appended what the tail does not have: of that, the segments have what they have.
    #[test]
    fn only_what_nobody_has_filed_is_looked_at_row_by_row() {
        let connection = connect(&Place::Memory, Role::Create).unwrap();
        schema::create_within(&connection, false).unwrap();
        let event = || EventBuilder::new(EventType::new("A").unwrap()).build();
        let mut decoder = Decoder::default();
        for position in 1..=20 {
            let event = SequencedEvent { position, timestamp_us: 0, event: event() };
            let checksums = checksum::checksums(std::slice::from_ref(&event.event));
            write::insert(&connection, &[event.into()], &checksums).unwrap();
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
