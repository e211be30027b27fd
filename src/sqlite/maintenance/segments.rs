//! Writing the next segment, behind the appends.
//!
//! Invariant: a segment starts where the last one ends, and covers only events of the database. The
//! lock `segmenting` is held throughout; SQLite's write lock only while rows are written.

use std::ops::ControlFlow;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::domain::{Direction, EventView, PositionRange, Term};
use crate::error::Result;
use crate::failpoints::{SeededBug, crash_point, has};
use crate::position::Position;
use crate::sql::SqlConnection;
use crate::sqlite::append::writer::Writer;
use crate::sqlite::connection::transaction::Transaction;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::Source;
use crate::sqlite::index::bloom_filter::BloomFilter;
use crate::sqlite::index::segment::{LIVE, MAX_FILTER_BYTES};
use crate::sqlite::index::segment_writer::{
    FILTER_PART_BYTES, Packed, insert_blocks, insert_filter_part, insert_segment, pack,
    raise_version,
};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::{SEGMENT_EVENTS, StoreState};

/// The most events in a segment when it is first written.
pub const MAX_SEGMENT_EVENTS: u64 = 2 * SEGMENT_EVENTS as u64;

/// Returns the terms of a stored event.
fn terms_of<'a>(view: &EventView<'a>) -> impl Iterator<Item = Term> + use<'a> {
    std::iter::once(Term::of_type(view.event_type))
        .chain(view.tags.iter().map(Term::of_tag))
        .chain(view.id.map(Term::of_id))
}

/// Writes the next segment if at least `at_least` events, or enough bytes, are not in one. The
/// events come from memory, or from their rows if the tail does not reach back that far. Returns
/// whether there may be more to write.
pub fn write_segment(shared: &StoreState, writer: &Writer, at_least: i64) -> Result<bool> {
    write_segment_within(shared, writer, at_least, &CallOptions::default().start(None))
}

/// The same for an append that helps, which waits no longer than its own `deadline` lasts: its
/// answer is known already.
pub fn write_segment_within(
    shared: &StoreState,
    writer: &Writer,
    at_least: i64,
    deadline: &Deadline,
) -> Result<bool> {
    // One thread prepares a segment; who comes to help waits for it, and looks again.
    let _turn = shared.index.begin_segment(deadline)?;
    let Some(draft) = draft_segment(shared, at_least)? else { return Ok(false) };
    let mut guard = writer.begin_maintenance_within(deadline)?;
    let (connection, reader) = guard.open()?.parts();
    let transaction = Transaction(connection);
    let Some(blocks) = store_segment(shared, connection, reader, draft)? else {
        return Ok(false);
    };
    transaction.commit()?;
    let (snapshot, segments) = shared.index.segments.now(connection)?;
    drop(guard);
    shared.checkpoints.add_pages(blocks as u64 / 2);
    shared.index.tail.trim(segments.indexed());
    Ok(snapshot.head - segments.indexed() >= at_least)
}

/// A segment that was prepared without the write lock.
pub struct SegmentDraft {
    at_least: i64,
    /// The range and its packed postings, if the tail reaches back to the indexed position.
    packed: Option<(PositionRange, Packed)>,
}

/// Prepares the next segment, before the write lock is acquired. Returns `None` if there is too
/// little for one.
pub fn draft_segment(shared: &StoreState, at_least: i64) -> Result<Option<SegmentDraft>> {
    let indexed = shared.index.segments.newest().indexed();
    // The tail can be long because of a few large events.
    let at_least = if shared.index.is_tail_long() { 1 } else { at_least.max(1) };
    // The postings are copied under the tail's lock, and sorted after it is released.
    let (from_memory, is_needed) = shared.index.tail.read(|tail| {
        let span = PositionRange {
            after: indexed,
            through: tail.head().min(indexed.saturating_add(MAX_SEGMENT_EVENTS)),
        };
        let is_enough = span.through - span.after >= at_least;
        let is_in_memory = tail.base() <= indexed;
        let postings = (is_enough && is_in_memory).then(|| (span, tail.postings(span)));
        (postings, is_enough || !is_in_memory)
    });
    if !is_needed {
        return Ok(None);
    }
    let packed = match from_memory {
        Some((span, postings)) => Some((span, pack(span.after, &sorted(postings))?)),
        None => None,
    };
    Ok(Some(SegmentDraft { at_least, packed }))
}

/// Writes the segment in a transaction that has written nothing yet. Returns how many blocks it
/// has, or `None` if there is too little for a segment after all.
pub fn store_segment<'s>(
    shared: &StoreState,
    source: impl Into<Source<'s>>,
    reader: &mut EventReader,
    draft: SegmentDraft,
) -> Result<Option<usize>> {
    let source = source.into();
    let connection = source.sql()?;
    let snapshot = Snapshot::take(connection)?;
    let segments = shared.index.segments.at_version(source, snapshot.version)?;
    let (span, packed) = match draft.packed {
        // The database must still hold the drafted events: an older state may have replaced it.
        Some((span, packed))
            if span.after == segments.indexed() && span.through <= snapshot.head =>
        {
            (span, packed)
        }
        _ => {
            let low = segments.indexed();
            let span = PositionRange {
                after: low,
                through: snapshot.head.min(low.saturating_add(MAX_SEGMENT_EVENTS)),
            };
            if span.through - span.after < draft.at_least {
                return Ok(None);
            }
            (span, pack(span.after, &postings_of_rows(source, reader, span)?)?)
        }
    };
    let beyond = if has(SeededBug::MarkTooEarly) {
        snapshot.head.min(span.through.saturating_add(8))
    } else {
        span.through
    };
    insert_live(connection, PositionRange { through: beyond, ..span }, packed).map(Some)
}

/// Writes a live segment over the range, and returns how many blocks it has.
pub fn insert_live(
    connection: &dyn SqlConnection,
    span: PositionRange,
    packed: Packed,
) -> Result<usize> {
    let (blocks, filter, terms) = packed;
    let segment = insert_segment(connection, LIVE, span.after, span.through, terms)?;
    let lost = usize::from(has(SeededBug::LoseLastBlock));
    insert_blocks(connection, segment, &blocks[..blocks.len().saturating_sub(lost)])?;
    crash_point("in a segment");
    insert_filter(connection, segment, &filter)?;
    raise_version(connection)?;
    Ok(blocks.len())
}

/// Returns the sorted postings of the events in `span`, read from their rows.
pub fn postings_of_rows<'s>(
    source: impl Into<Source<'s>>,
    reader: &mut EventReader,
    span: PositionRange,
) -> Result<Vec<(Term, Position)>> {
    let mut postings = Vec::new();
    reader.scan(source, span, Direction::Forward, |view| {
        postings.extend(terms_of(view).map(|term| (term, view.position)));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(sorted(postings))
}

/// How many postings one bucket of [`sorted`] has on average.
const BUCKET_POSTINGS: usize = 16;

/// Sorts postings by term and then by position, and removes those that are repeated: two tags of an
/// event may share a term.
///
/// Terms are hashes, so their highest bits divide them into buckets of about the same size, each of
/// which is sorted within the processor's cache. Terms made to meet in one bucket only cost time.
fn sorted(postings: Vec<(Term, Position)>) -> Vec<(Term, Position)> {
    let bits = (postings.len() / BUCKET_POSTINGS).max(2).ilog2();
    let bucket_of = |term: Term| (term.0 >> (u64::BITS - bits)) as usize;
    // Where the next posting of each bucket goes; in the end, where the bucket ends.
    let mut ends = vec![0; 1 << bits];
    for (term, _) in &postings {
        ends[bucket_of(*term)] += 1;
    }
    let mut start = 0;
    for end in &mut ends {
        start += std::mem::replace(end, start);
    }
    let mut sorted = vec![(Term(0), Position::START); postings.len()];
    for posting in postings {
        let place = &mut ends[bucket_of(posting.0)];
        sorted[*place] = posting;
        *place += 1;
    }
    let mut start = 0;
    for end in ends {
        sorted[start..end].sort_unstable();
        start = end;
    }
    sorted.dedup();
    sorted
}

/// Writes the filter of a segment, unless it is too large.
fn insert_filter(connection: &dyn SqlConnection, segment: i64, filter: &BloomFilter) -> Result<()> {
    if filter.bytes() <= MAX_FILTER_BYTES {
        for (part, bits) in filter.bits().chunks(FILTER_PART_BYTES).enumerate() {
            insert_filter_part(connection, segment, part, bits)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::position::at;

    proptest! {
        #[test]
        fn postings_are_sorted_as_a_plain_sort_does(
            postings in prop::collection::vec((any::<u64>(), 0..99_i64), 0..300),
            // All bits of a term, only its lowest, or only its highest differ from other terms.
            mask in prop::sample::select(vec![u64::MAX, 0xff, 0xff << 56]),
        ) {
            let postings: Vec<_> = postings
                .into_iter()
                .map(|(term, position)| (Term(term & mask), at(position)))
                .collect();
            let mut expected = postings.clone();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(sorted(postings), expected);
        }
    }
}
