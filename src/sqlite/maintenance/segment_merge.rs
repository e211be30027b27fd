//! One merge of adjacent segments into a new segment, written in slices.
//!
//! A slice is prepared by a connection that may be in no transaction, since live segments never
//! change. It is written in a transaction that has SQLite's write lock. The last slice makes the new
//! segment live and its sources dead.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sql::{SqlConnection, Value};
use crate::sqlite::index::block::Block;
use crate::sqlite::index::codec::integer;
use crate::sqlite::index::merge::Merge;
use crate::sqlite::index::segment::{BUILDING, Segment};
use crate::sqlite::index::segment_writer::{
    FILTER_PART_BYTES, insert_blocks, insert_filter_part, insert_segment, raise_version,
};

/// A merge in progress.
#[derive(Debug)]
pub struct SegmentMerge {
    target: i64,
    sources: Vec<Arc<Segment>>,
    merge: Merge,
    /// The number of parts of the filter that were prepared.
    filter_parts: usize,
}

/// The most that one slice writes.
#[derive(Debug, Clone, Copy)]
pub struct SliceSize {
    /// The number of blocks.
    pub blocks: usize,
    /// The number of parts of the filter.
    pub filter_parts: usize,
}

/// What one transaction of a merge writes.
#[derive(Debug)]
pub enum Slice {
    /// The next blocks.
    Blocks(Vec<Block>),
    /// The next parts of the filter.
    Filter(Range<usize>),
    /// The new segment in the place of its sources.
    Replacement,
}

/// What came of writing a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The slice is written, and there are more.
    Slice,
    /// The new segment is live.
    All,
    /// Another process has given the merge up, or has merged one of the sources. The caller must roll
    /// the transaction back.
    Nothing,
}

impl SegmentMerge {
    /// Writes the row of the new segment, in a write transaction. Returns `None` if another process
    /// builds a segment there already.
    pub fn begin(
        connection: &dyn SqlConnection,
        sources: Vec<Arc<Segment>>,
    ) -> Result<Option<Self>> {
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else {
            return Err(Error::new(Status::Internal, "internal error: a merge of no segments"));
        };
        let terms = sources.iter().map(|segment| segment.terms.unsigned_abs()).sum();
        let Some(target) = begin_building(connection, first.low, last.high, terms)? else {
            return Ok(None);
        };
        let merge = Merge::new(&sources, first.low, terms)?;
        Ok(Some(SegmentMerge { target, sources, merge, filter_parts: 0 }))
    }

    /// Returns the number of the new segment.
    pub fn target(&self) -> i64 {
        self.target
    }

    /// Returns the segments that are merged, in ascending order.
    pub fn sources(&self) -> &[Arc<Segment>] {
        &self.sources
    }

    /// Prepares the next slice.
    pub fn prepare(&mut self, connection: &dyn SqlConnection, size: SliceSize) -> Result<Slice> {
        if let Some(blocks) = self.merge.next(connection, size.blocks)? {
            return Ok(Slice::Blocks(blocks));
        }
        let bits = self.merge.filter().map_or(0, |filter| filter.bits().len());
        let (first, parts) = (self.filter_parts, bits.div_ceil(FILTER_PART_BYTES));
        if first == parts {
            return Ok(Slice::Replacement);
        }
        self.filter_parts = parts.min(first.saturating_add(size.filter_parts));
        Ok(Slice::Filter(first..self.filter_parts))
    }

    /// Writes a slice, in a write transaction.
    pub fn write(&self, connection: &dyn SqlConnection, slice: &Slice) -> Result<Written> {
        if !is_building(connection, self.target)? {
            return Ok(Written::Nothing);
        }
        match slice {
            Slice::Blocks(blocks) => insert_blocks(connection, self.target, blocks)?,
            Slice::Filter(parts) => {
                let bits = self.merge.filter().map_or(&[][..], |filter| filter.bits());
                let chunks = bits.chunks(FILTER_PART_BYTES).enumerate();
                for (part, bits) in chunks.skip(parts.start).take(parts.len()) {
                    insert_filter_part(connection, self.target, part, bits)?;
                }
            }
            Slice::Replacement if replace(connection, &self.sources, self.target)? => {
                return Ok(Written::All);
            }
            Slice::Replacement => return Ok(Written::Nothing),
        }
        Ok(Written::Slice)
    }
}

/// Writes the row of the segment that a merge builds over the positions above `low`, up to `high`.
/// Returns `None` if another process builds one there already.
fn begin_building(
    connection: &dyn SqlConnection,
    low: Position,
    high: Position,
    terms: u64,
) -> Result<Option<i64>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM main.dcb_segments \
                   WHERE state = 0 AND low < ?2 AND ?1 < high)";
    let is_busy =
        connection.query_row(sql, &[low, high].map(Value::from), |row| integer(row, 0))?;
    if is_busy != Some(0) {
        return Ok(None);
    }
    insert_segment(connection, BUILDING, low, high, terms).map(Some)
}

/// Returns whether the segment is still being built.
fn is_building(connection: &dyn SqlConnection, segment: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM main.dcb_segments WHERE segment = ?1 AND state = 0)";
    let found = connection.query_row(sql, &[Value::Integer(segment)], |row| integer(row, 0))?;
    Ok(found == Some(1))
}

/// Makes the built segment live and its sources dead. Returns `false` if another process has merged
/// one of the sources: then the caller must roll back the transaction.
pub fn replace(
    connection: &dyn SqlConnection,
    sources: &[Arc<Segment>],
    target: i64,
) -> Result<bool> {
    for source in sources {
        let changed = connection.run(
            "UPDATE main.dcb_segments SET state = 2 WHERE segment = ?1 AND state = 1",
            &[Value::Integer(source.id)],
        )?;
        if changed != 1 {
            return Ok(false);
        }
    }
    connection.run(
        "UPDATE main.dcb_segments SET state = 1 WHERE segment = ?1",
        &[Value::Integer(target)],
    )?;
    raise_version(connection)?;
    Ok(true)
}
