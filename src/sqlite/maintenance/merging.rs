//! Deciding which segments to merge, merging them in slices, and deleting the rows of dead
//! segments.
//!
//! Invariant: a live segment never changes. A merge builds a new segment beside its sources, and
//! one transaction makes it live and them dead. Each slice takes the writer's lock and SQLite's
//! write lock, and releases both.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::Result;
use crate::failpoints::crash_point;
use crate::position::Position;
use crate::sql::{SqlConnection, Value};
use crate::sqlite::connection::transaction::{Transaction, rollback};
use crate::sqlite::index::codec::integer;
use crate::sqlite::index::segment::Segment;
use crate::sqlite::index::segment_list::Segments;
use crate::sqlite::maintenance::Maintenance;
use crate::sqlite::maintenance::merge_watch::MergeProgress;
use crate::sqlite::maintenance::segment_merge::{SegmentMerge, SliceSize, Written};
use crate::sqlite::state::SEGMENT_EVENTS;

/// How many blocks a merge writes, or clearing deletes, in one transaction.
const SLICE_BLOCKS: usize = 256;
/// What a merge writes in one transaction.
const SLICE: SliceSize = SliceSize { blocks: SLICE_BLOCKS, filter_parts: 1 };
/// This many adjacent segments of one rank are merged into one of the next rank.
const SEGMENTS_PER_MERGE: usize = 8;
/// While the store is idle, a segment is merged with those after it once they are together at least
/// this fraction of its length.
const IDLE_RATIO: i64 = 8;

/// Returns the rank of a segment. Each rank is eight times as long as the rank below.
fn rank(segment: &Segment) -> u32 {
    (segment.len().unsigned_abs() / SEGMENT_EVENTS.unsigned_abs()).max(1).ilog2()
        / SEGMENTS_PER_MERGE.ilog2()
}

/// Returns adjacent segments of one rank, above `low`, that are due to be merged. The lowest rank
/// comes first.
pub fn due_for_merge(segments: &Segments, low: Position) -> Option<Vec<Arc<Segment>>> {
    let runs = segments.list.chunk_by(|left, right| rank(left) == rank(right));
    let due = runs.filter(|run| run.len() >= SEGMENTS_PER_MERGE && run[0].low >= low);
    due.min_by_key(|run| rank(&run[0])).map(<[_]>::to_vec)
}

impl Maintenance {
    /// Runs the merges that are due, and deletes the rows of dead segments.
    pub fn tidy(&mut self, is_idle: bool) -> Result<()> {
        while let Some(sources) =
            if is_idle { self.worth_merging()? } else { self.due_for_merge(Position::START)? }
        {
            if !self.merge(sources)? {
                break;
            }
            self.clear()?;
        }
        self.clear()
    }

    /// Returns the segments above `low` that are due to be merged in the current list.
    fn due_for_merge(&self, low: Position) -> Result<Option<Vec<Arc<Segment>>>> {
        // The list is read again, since the cached one may be old: if another process has merged
        // these segments, a thread that reads nothing would try the same merge forever.
        let (_, segments) = self.shared.index.segments.now(&self.connection)?;
        Ok(due_for_merge(&segments, low))
    }

    /// Returns the newest segments, as far back as each is not much longer than all after it
    /// together. Every segment fewer saves each read a lookup.
    fn worth_merging(&self) -> Result<Option<Vec<Arc<Segment>>>> {
        let (_, segments) = self.shared.index.segments.now(&self.connection)?;
        let list = &segments.list;
        let (mut first, mut after) = (list.len(), 0);
        for (index, segment) in list.iter().enumerate().rev() {
            if segment.len() <= after * IDLE_RATIO {
                first = index;
            }
            after += segment.len();
        }
        Ok((list.len() - first > 1).then(|| list[first..].to_vec()))
    }

    /// Merges `sources`, which are adjacent, into one segment, in slices that delay no append for
    /// long. Returns whether the merge completed: another process may have done the same.
    fn merge(&self, sources: Vec<Arc<Segment>>) -> Result<bool> {
        let merge = self.slice(|connection| SegmentMerge::begin(connection, sources))?;
        let Some(mut merge) = merge else { return Ok(false) };
        let merged = self.build(&mut merge);
        if !matches!(merged, Ok(true)) && self.abandon(merge.target()).is_err() {
            // What has failed may keep it from being given up, too.
            self.left_behind.borrow_mut().push(merge.target());
        }
        merged
    }

    /// Writes the new segment of a merge. Returns whether it is live.
    fn build(&self, merge: &mut SegmentMerge) -> Result<bool> {
        loop {
            let slice = merge.prepare(&self.connection, SLICE)?;
            if self.shared.maintenance_signal.ended() || self.shared.index.is_tail_long() {
                self.write_segments(SEGMENT_EVENTS)?;
            }
            // Neither the WAL nor the number of short segments may grow until a long merge ends.
            let _ = self.checkpoint(false);
            if let Some(shorter) = self.due_since_merge_began(merge.sources())? {
                self.merge(shorter)?;
            }
            crash_point("between slices");
            if self.shared.maintenance_signal.ended() {
                return Ok(false);
            }
            let written = self.slice(|connection| {
                let written = merge.write(connection, &slice)?;
                if written == Written::Nothing {
                    rollback(connection);
                }
                Ok(written)
            })?;
            match written {
                Written::Slice => {}
                Written::All => return Ok(true),
                Written::Nothing => return Ok(false),
            }
        }
    }

    /// Returns segments that were written since a merge of `sources` began, if they are due
    /// themselves. They must be of a lower rank, so that the recursion ends.
    fn due_since_merge_began(&self, sources: &[Arc<Segment>]) -> Result<Option<Vec<Arc<Segment>>>> {
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else { return Ok(None) };
        let due = self.due_for_merge(last.high)?;
        Ok(due.filter(|shorter| rank(&shorter[0]) < rank(first)))
    }

    /// Gives up the merge that builds this segment.
    fn abandon(&self, target: i64) -> Result<()> {
        self.slice(|connection| give_up(connection, target))
    }

    /// Runs `body` as one write transaction on the writer's connection.
    fn slice<T>(&self, body: impl FnOnce(&dyn SqlConnection) -> Result<T>) -> Result<T> {
        let mut guard = self.writer.begin_maintenance()?;
        let (connection, _) = guard.open()?.parts();
        let transaction = Transaction(connection);
        let value = body(connection)?;
        if !connection.is_autocommit() {
            transaction.commit()?;
        }
        self.shared.checkpoints.add_pages(SLICE_BLOCKS as u64 / 2);
        Ok(value)
    }

    /// Deletes the rows of dead segments, and of those that no process builds any more.
    fn clear(&mut self) -> Result<()> {
        self.watch_building()?;
        for segment in dead_segments(&self.connection)? {
            while !self.shared.maintenance_signal.ended()
                && !self.slice(|connection| clear_slice(connection, segment))?
            {
                if self.shared.index.is_tail_long() {
                    self.write_segments(SEGMENT_EVENTS)?;
                }
            }
        }
        Ok(())
    }

    /// Gives up a merge whose process died.
    fn watch_building(&mut self) -> Result<()> {
        let own = std::mem::take(self.left_behind.get_mut());
        for (done, target) in own.iter().enumerate() {
            if let Err(error) = self.abandon(*target) {
                self.left_behind.borrow_mut().extend(&own[done..]);
                return Err(error);
            }
        }
        if let Some(left_behind) = self.watched.look(building_segment(&self.connection)?) {
            self.abandon(left_behind)?;
        }
        Ok(())
    }
}

/// Marks a segment that is being built as dead, so that its rows are deleted.
pub fn give_up(connection: &dyn SqlConnection, target: i64) -> Result<()> {
    let sql = "UPDATE main.dcb_segments SET state = 2 WHERE segment = ?1 AND state = 0";
    connection.run(sql, &[Value::Integer(target)]).map(drop)
}

/// Returns the dead segments, whose rows are to be deleted.
pub fn dead_segments(connection: &dyn SqlConnection) -> Result<Vec<i64>> {
    let mut dead = Vec::new();
    connection.query("SELECT segment FROM main.dcb_segments WHERE state = 2", &[], &mut |row| {
        dead.push(integer(row, 0)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(dead)
}

/// Returns a segment that is being built, and the progress of its merge.
pub fn building_segment(connection: &dyn SqlConnection) -> Result<Option<(i64, MergeProgress)>> {
    connection.query_row(
        "SELECT segment, \
         (SELECT max(term) FROM main.dcb_postings AS own WHERE own.segment = all_.segment), \
         (SELECT max(part) FROM main.dcb_filters AS own WHERE own.segment = all_.segment) \
         FROM main.dcb_segments AS all_ WHERE state = 0 LIMIT 1",
        &[],
        |row| Ok((integer(row, 0)?, (row.integer(1), row.integer(2)))),
    )
}

/// Deletes some rows of a dead segment, and finally the segment itself. Returns whether it is gone.
pub fn clear_slice(connection: &dyn SqlConnection, segment: i64) -> Result<bool> {
    let segment = Value::Integer(segment);
    let end = connection.query_row(
        "SELECT term, position FROM main.dcb_postings WHERE segment = ?1 \
         ORDER BY term, position LIMIT 1 OFFSET ?2",
        &[segment, Value::Integer(SLICE_BLOCKS as i64)],
        |row| Ok((integer(row, 0)?, integer(row, 1)?)),
    )?;
    if let Some((term, position)) = end {
        connection.run(
            "DELETE FROM main.dcb_postings WHERE segment = ?1 AND (term, position) < (?2, ?3)",
            &[segment, Value::Integer(term), Value::Integer(position)],
        )?;
        return Ok(false);
    }
    connection.run("DELETE FROM main.dcb_postings WHERE segment = ?1", &[segment])?;
    connection.run("DELETE FROM main.dcb_filters WHERE segment = ?1", &[segment])?;
    connection.run("DELETE FROM main.dcb_segments WHERE segment = ?1 AND state = 2", &[segment])?;
    Ok(true)
}
