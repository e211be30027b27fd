//! The list of live segments, and the cache that the connections of a process share.
//!
//! Invariant: each segment starts where the one before it ends, so that together they cover every
//! position up to the indexed position. The cache's lock is held only to copy a pointer.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::domain::{Direction, PositionRange, Term};
use crate::error::Result;
use crate::position::Position;
use crate::sqlite::cache::CacheUse;
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::connection::transaction::Transaction;
use crate::sqlite::events::btree::BTree;
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::index::bloom_filter::BloomFilter;
use crate::sqlite::index::codec::{integer, position};
use crate::sqlite::index::segment::{MAX_FILTER_BYTES, Segment};
use crate::sqlite::snapshot::Snapshot;

/// The filters of a store together take at most this much memory.
const FILTERS_BYTES: u64 = 24 * 1024 * 1024;

/// The live segments in one version of the list.
#[derive(Debug)]
pub struct Segments {
    /// The version, which rises with every change of the list.
    pub version: i64,
    /// The segments in ascending order, each starting where the one before it ends.
    pub list: Vec<Arc<Segment>>,
    /// The B-tree of `dcb_postings`, which holds the blocks of all segments.
    tree: Arc<BTree>,
}

impl Default for Segments {
    /// Returns an empty list, older than every version.
    fn default() -> Self {
        Segments { version: 0, list: Vec::new(), tree: Arc::new(BTree::of_postings()) }
    }
}

impl Segments {
    /// Returns the indexed position: the segments cover every position up to it.
    pub fn indexed(&self) -> Position {
        self.list.last().map_or(Position::START, |segment| segment.high)
    }

    /// Fails if the segments cover more events than the store holds. Such an index would hide the
    /// events that take those positions later, because reads up to the indexed position rely on it
    /// alone.
    pub fn check(&self, snapshot: Snapshot) -> Result<()> {
        if self.indexed() <= snapshot.head { Ok(()) } else { Err(damaged_index()) }
    }

    /// Reads the list in the connection's transaction, and reuses the segments of `known`.
    pub fn load<'s>(
        source: impl Into<Source<'s>>,
        version: i64,
        known: &Segments,
    ) -> ReadResult<Self> {
        let source = source.into();
        let mut list: Vec<Arc<Segment>> = Vec::new();
        let sql =
            "SELECT segment, low, high, terms FROM main.dcb_segments WHERE state = 1 ORDER BY low";
        source.sql()?.query(sql, &[], &mut |row| {
            let (id, low, high, terms) =
                (integer(row, 0)?, position(row, 1)?, position(row, 2)?, integer(row, 3)?);
            if low != list.last().map_or(Position::START, |last| last.high)
                || high <= low
                || terms < 0
            {
                return Err(damaged_index());
            }
            let same = known.list.iter().find(|own| own.id == id && own.low == low);
            list.push(same.cloned().unwrap_or_else(|| {
                Arc::new(Segment::new(id, low, high, terms, Arc::clone(&known.tree)))
            }));
            Ok(ControlFlow::Continue(()))
        })?;
        for segment in &list {
            if !known.list.iter().any(|own| Arc::ptr_eq(own, segment)) {
                segment.check_last(source)?;
            }
        }
        let mut segments = Segments { version, list, tree: Arc::clone(&known.tree) };
        segments.share_out_filters();
        Ok(segments)
    }

    /// Allows the smallest filters into memory, as many as there is room for: the newest segments
    /// are small, and every condition asks them.
    fn share_out_filters(&mut self) {
        let mut by_size: Vec<usize> = (0..self.list.len()).collect();
        by_size.sort_by_key(|&index| self.list[index].terms);
        let mut room = FILTERS_BYTES;
        for index in by_size {
            let segment = &self.list[index];
            let bytes = BloomFilter::bytes_for(segment.terms.unsigned_abs());
            let filtered = bytes <= MAX_FILTER_BYTES && bytes <= room;
            room -= if filtered { bytes } else { 0 };
            if let Some(other) = segment.with_filter(filtered) {
                self.list[index] = Arc::new(other);
            }
        }
    }

    /// Returns how many block keys are known, and how many there are.
    #[cfg(test)]
    pub fn known_blocks(&self) -> (usize, usize) {
        let known = self.list.iter().map(|segment| segment.known_blocks());
        known.fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1))
    }

    /// Returns at least the number of postings of `term` in `span`. The estimate includes those
    /// above the span in the last segment that overlaps it, and no others.
    pub fn estimate(&self, source: Source<'_>, term: Term, span: PositionRange) -> ReadResult<u64> {
        let mut sum = 0;
        for segment in self.list.iter().filter(|segment| segment.overlaps(span)) {
            sum += segment.count_above(source, term, span.after)?;
        }
        Ok(sum)
    }

    /// Appends the next `max` positions of `term` in `span` to `out`, in order.
    #[allow(clippy::too_many_arguments)] // three say where to look, and four for what
    pub fn collect<'s>(
        &self,
        source: impl Into<Source<'s>>,
        cache: &CacheUse,
        term: Term,
        span: PositionRange,
        direction: Direction,
        max: usize,
        out: &mut Vec<Position>,
    ) -> ReadResult<()> {
        let source = source.into();
        let wanted = out.len().saturating_add(max);
        let mut visit = |segment: &Segment| -> ReadResult<bool> {
            if segment.overlaps(span) {
                segment.collect_cached(source, cache, term, span, direction, wanted, out)?;
            }
            Ok(out.len() < wanted)
        };
        if direction.is_backward() {
            for segment in self.list.iter().rev() {
                if !visit(segment)? {
                    break;
                }
            }
        } else {
            for segment in &self.list {
                if !visit(segment)? {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The newest list of segments that this process has seen, shared by its connections.
#[derive(Debug, Default)]
pub struct SegmentsCache(Mutex<Arc<Segments>>);

impl SegmentsCache {
    /// Returns the current list and its snapshot, for a connection that is in no transaction.
    pub fn now(&self, connection: &Connection) -> Result<(Snapshot, Arc<Segments>)> {
        // Without a transaction, another process could change the list between the two statements.
        // The cache would then hold a list under the wrong version.
        let transaction = Transaction::begin(connection)?;
        let snapshot = Snapshot::take(transaction.0)?;
        let segments = self.at_version(connection, snapshot.version)?;
        segments.check(snapshot)?;
        Ok((snapshot, segments))
    }

    /// Returns the list with this version, which is the one that the connection's transaction sees.
    pub fn at_version<'s>(
        &self,
        source: impl Into<Source<'s>>,
        version: i64,
    ) -> ReadResult<Arc<Segments>> {
        let source = source.into();
        debug_assert!(source.is_in_snapshot(), "the version and the list must be of one snapshot");
        let known = self.newest();
        if known.version == version {
            return Ok(known);
        }
        let loaded = Arc::new(Segments::load(source, version, &known)?);
        let mut newest = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if newest.version < version {
            *newest = Arc::clone(&loaded);
        }
        Ok(loaded)
    }

    /// Returns the newest list that this process has seen.
    pub fn newest(&self) -> Arc<Segments> {
        Arc::clone(&self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}
