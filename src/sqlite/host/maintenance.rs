//! What a store with a thread of its own has that do: here an append does a bit of it, when there
//! is something to be done.

use std::time::{Duration, Instant};

use crate::commit::deadline::CallOptions;
use crate::domain::PositionRange;
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sql::SqlConnection;
use crate::sqlite::connection::transaction::{begin_immediate, commit};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::host::connection::HostConnection;
use crate::sqlite::index::segment_list::Segments;
use crate::sqlite::index::segment_writer::pack;
use crate::sqlite::maintenance::merge_watch::MergeWatch;
use crate::sqlite::maintenance::merging::{
    building_segment, clear_slice, dead_segments, due_for_merge, give_up,
};
use crate::sqlite::maintenance::segment_merge::{SegmentMerge, SliceSize, Written};
use crate::sqlite::maintenance::segments::{
    MAX_SEGMENT_EVENTS, draft_segment, insert_live, postings_of_rows, store_segment,
};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::{SEGMENT_EVENTS, StoreState};

/// What a merge writes in one transaction.
const SLICE: SliceSize = SliceSize { blocks: 128, filter_parts: usize::MAX };
/// How long a chore waits for the write lock.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long chores rest where they failed, or wait for a merge of somebody else.
const REST: Duration = Duration::from_secs(1);
/// Events of an append for which it does one chore more.
const EVENTS_PER_CHORE: usize = 1_024;
/// Events that the segments do not cover and the tail does not hold: an append in a transaction of
/// the caller's, which cannot add them to the tail, writes a segment of so many.
const UNSEEN_EVENTS: i64 = SEGMENT_EVENTS / 4;
/// Events of segments that such an append merges at once.
const MERGED_WITHIN: i64 = 10 * SEGMENT_EVENTS;

/// What is to be done, as far as is known.
#[derive(Debug)]
pub struct HostMaintenance {
    merging: Option<SegmentMerge>,
    watched: MergeWatch,
    /// Whether there may be something, and since when one may look.
    is_pending: bool,
    rests_until: Instant,
}

/// What came of a look at the chores.
enum Step {
    /// Something was done, and there may be more.
    Done,
    /// Somebody else is at it.
    Waits,
    /// There is nothing.
    Nothing,
}

impl HostMaintenance {
    /// Of a store that was just opened.
    pub fn new() -> Self {
        HostMaintenance {
            merging: None,
            watched: MergeWatch::default(),
            is_pending: true,
            rests_until: Instant::now(),
        }
    }

    /// Does what is due, as much as is an append's part that has stored so many events. A chore
    /// that fails is tried again later; nobody's answer depends on it.
    pub fn help(
        &mut self,
        shared: &StoreState,
        connection: &HostConnection<'_>,
        decoder: &mut EventReader,
        stored: usize,
    ) {
        for _ in 0..1 + stored / EVENTS_PER_CHORE {
            if Instant::now() < self.rests_until || !self.is_pending && !shared.index.is_tail_long()
            {
                return;
            }
            let deadline = CallOptions::default().start(Some(PATIENCE));
            // The append that is helped is stored, and has its own patience behind it.
            connection.limit(&deadline);
            let step = begin_immediate(connection, &deadline)
                .and_then(|()| self.step(shared, connection, decoder))
                .and_then(|step| commit(connection).map(|()| step));
            connection.end();
            self.is_pending = !matches!(step, Ok(Step::Nothing));
            if matches!(step, Ok(Step::Waits) | Err(_)) {
                self.rests_until = Instant::now() + REST;
            }
            if step.is_err() {
                // How far it came is not known: whoever finds it standing still clears it away.
                self.merging = None;
            }
        }
    }

    /// One chore, in a transaction that has the write lock.
    fn step(
        &mut self,
        shared: &StoreState,
        connection: &dyn SqlConnection,
        decoder: &mut EventReader,
    ) -> Result<Step> {
        let snapshot = Snapshot::take(connection)?;
        let segments = shared.index.segments.at_version(connection, snapshot.version)?;
        segments.check(snapshot)?;
        shared.index.tail.trim(segments.indexed());
        let is_long =
            snapshot.head - segments.indexed() >= SEGMENT_EVENTS || shared.index.is_tail_long();
        if is_long
            && let Some(draft) = draft_segment(shared, SEGMENT_EVENTS)?
            && store_segment(shared, connection, decoder, draft)?.is_some()
        {
            return Ok(Step::Done);
        }
        if let Some(mut merging) = self.merging.take() {
            if advance(&mut merging, connection)? {
                self.merging = Some(merging);
            }
            return Ok(Step::Done);
        }
        if let Some(dead) = dead_segments(connection)?.first() {
            clear_slice(connection, *dead)?;
            return Ok(Step::Done);
        }
        if let Some(building) = building_segment(connection)? {
            return Ok(match self.watched.look(Some(building)) {
                Some(left_behind) => {
                    give_up(connection, left_behind)?;
                    Step::Done
                }
                None => Step::Waits,
            });
        }
        if let Some(sources) = due_for_merge(&segments, Position::START)
            && let Some(merging) = SegmentMerge::begin(connection, sources)?
        {
            self.merging = Some(merging);
            return Ok(Step::Done);
        }
        Ok(Step::Nothing)
    }
}

/// Writes the next slice of a merge. Returns whether there are more.
fn advance(merge: &mut SegmentMerge, connection: &dyn SqlConnection) -> Result<bool> {
    let slice = merge.prepare(connection, SLICE)?;
    match merge.write(connection, &slice)? {
        Written::Slice => Ok(true),
        Written::All => Ok(false),
        // The error makes the caller roll back.
        Written::Nothing => {
            Err(Error::new(Status::Busy, "another process has merged these segments"))
        }
    }
}

/// Whether an append in a transaction of the caller's that ends at `head` writes a segment, because so
/// many events are above those that segments cover.
pub fn is_segment_due(shared: &StoreState, head: Position, indexed: Position) -> bool {
    let seen =
        shared.index.tail.read(|tail| if tail.base() <= indexed { tail.head() } else { indexed });
    head - indexed >= 2 * SEGMENT_EVENTS || head - seen.max(indexed) >= UNSEEN_EVENTS
}

/// Keeps the index close behind the events in a transaction of the caller's, where nothing but that
/// transaction may do it: a segment is written, and short ones are merged, all at once. Returns
/// whether that has changed the list of segments. A segment is due after so many events, and also
/// where the caller says so.
pub fn index_within(
    shared: &StoreState,
    connection: &dyn SqlConnection,
    decoder: &mut EventReader,
    head: Position,
    segments: &Segments,
    is_due: bool,
) -> Result<bool> {
    let indexed = segments.indexed();
    if !is_due && !is_segment_due(shared, head, indexed) {
        return Ok(false);
    }
    let span = PositionRange {
        after: indexed,
        through: head.min(indexed.saturating_add(MAX_SEGMENT_EVENTS)),
    };
    let postings = postings_of_rows(connection, decoder, span)?;
    insert_live(connection, span, pack(span.after, &postings)?)?;
    let version = Snapshot::take(connection)?.version;
    let segments = Segments::load(connection, version, segments)?;
    let Some(sources) = due_for_merge(&segments, Position::START) else { return Ok(true) };
    let merged: i64 = sources.iter().map(|segment| segment.len()).sum();
    if merged > MERGED_WITHIN || building_segment(connection)?.is_some() {
        return Ok(true);
    }
    let Some(mut merge) = SegmentMerge::begin(connection, sources)? else { return Ok(true) };
    while advance(&mut merge, connection)? {}
    for source in merge.sources() {
        while !clear_slice(connection, source.id)? {}
    }
    Ok(true)
}
