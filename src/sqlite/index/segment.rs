//! A segment of the index on disk: the sorted postings of a range of positions.
//!
//! Invariant: a segment never changes once it is live, so readers share it without a lock.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use crate::domain::{Direction, PositionRange, Term};
use crate::error::{Result, Status};
use crate::position::Position;
use crate::sql::Value;
use crate::sqlite::cache::{CacheUse, Found, PostingList};
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::events::btree::BTree;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::row::to_owned;
use crate::sqlite::events::source::{ReadResult, ReadStop, Source};
use crate::sqlite::index::block::{Unpacker, key};
use crate::sqlite::index::block_cursor;
use crate::sqlite::index::block_cursor::BlockCursor;
use crate::sqlite::index::block_index::BlockIndex;
use crate::sqlite::index::bloom_filter::BloomFilter;
use crate::sqlite::index::codec::damaged_block;

/// The value of `dcb_segments.state` for a segment that a merge is writing: it must not be read.
pub const BUILDING: i64 = 0;
/// The value of `dcb_segments.state` for a segment that is part of the index. (The third state, 2,
/// means that a merge replaced the segment and its rows are being deleted.)
pub const LIVE: i64 = 1;
/// A filter larger than this is neither written nor loaded.
pub const MAX_FILTER_BYTES: u64 = 8 * 1024 * 1024;

/// A live segment.
#[derive(Debug)]
pub struct Segment {
    /// The segment's number, which is higher than the number of every older segment.
    pub id: i64,
    /// The segment covers the positions above this one.
    pub low: Position,
    /// The segment covers the positions up to this one, inclusive.
    pub high: Position,
    /// An upper bound of the number of terms in the segment.
    pub terms: i64,
    /// Whether the filter fits into the memory that is set aside for filters.
    filtered: bool,
    filter: OnceLock<Option<BloomFilter>>,
    block_index: Arc<BlockIndex>,
}

impl Segment {
    /// Creates a live segment with no filter loaded and no block key known.
    pub fn new(id: i64, low: Position, high: Position, terms: i64, tree: Arc<BTree>) -> Self {
        let block_index = Arc::new(BlockIndex::new(tree));
        Segment { id, low, high, terms, filtered: false, filter: OnceLock::new(), block_index }
    }

    /// Returns a copy that may load its filter, or may not. Returns `None` if this one is so
    /// already.
    pub fn with_filter(&self, filtered: bool) -> Option<Self> {
        let Segment { id, low, high, terms, .. } = *self;
        let (filter, block_index) = (OnceLock::new(), Arc::clone(&self.block_index));
        (self.filtered != filtered).then_some(Segment {
            id,
            low,
            high,
            terms,
            filtered,
            filter,
            block_index,
        })
    }

    /// Returns how many block keys are known, and how many there are.
    #[cfg(test)]
    pub fn known_blocks(&self) -> (usize, usize) {
        self.block_index.known()
    }

    /// Returns how many positions the segment covers.
    pub fn len(&self) -> i64 {
        self.high - self.low
    }

    /// Returns whether the segment covers a position of `span`.
    pub fn overlaps(&self, span: PositionRange) -> bool {
        self.low < span.through && span.after < self.high
    }

    /// Returns whether the segment may hold `term`. The first call loads the filter.
    fn may_hold(&self, source: Source<'_>, term: Term) -> ReadResult<bool> {
        if !self.filtered {
            return Ok(true);
        }
        if self.filter.get().is_none() {
            let loaded = load_filter(source, self)?;
            if let Some(filter) = &loaded {
                // The filter of another segment would exclude most terms of this one.
                let terms = self.terms_of_last(source)?;
                if !terms.iter().all(|term| filter.may_hold(*term)) {
                    return Err(damaged_index().into());
                }
            }
            let _ = self.filter.set(loaded);
        }
        Ok(self.filter.get().and_then(Option::as_ref).is_none_or(|filter| filter.may_hold(term)))
    }
}

impl Segment {
    /// Returns the terms of the last event that the segment covers. Returns none if that event is
    /// damaged: whoever reads the event gets that error.
    fn terms_of_last(&self, source: Source<'_>) -> ReadResult<Vec<Term>> {
        match EventReader::default().at(source, self.high, to_owned) {
            Ok(event) => Ok(event.event.terms().collect()),
            Err(ReadStop::Failed(error)) if error.status == Status::Corrupt => Ok(Vec::new()),
            Err(stop) => Err(stop),
        }
    }

    /// Checks that the segment holds its last position. No other check would notice a segment that
    /// ends before the position that its row names.
    pub fn check_last(&self, source: Source<'_>) -> ReadResult<()> {
        let span = PositionRange { after: self.high.previous(), through: self.high };
        let Some(term) = self.terms_of_last(source)?.into_iter().next() else { return Ok(()) };
        let mut found = Vec::new();
        match self.collect(source, term, span, Direction::Forward, 1, &mut found) {
            Ok(()) if found.is_empty() => Err(damaged_index().into()),
            // Readers of a damaged block get the error.
            Err(ReadStop::Failed(error)) if error.status == Status::Corrupt => Ok(()),
            other => other,
        }
    }
}

fn load_filter(source: Source<'_>, segment: &Segment) -> ReadResult<Option<BloomFilter>> {
    // `share_out_filters` has excluded filters that are too large; the file may still lie.
    let bytes = BloomFilter::bytes_for(segment.terms.unsigned_abs());
    let mut filter = BloomFilter::with_bytes(bytes.min(MAX_FILTER_BYTES))?;
    let mut is_there = false;
    let sql = "SELECT bits FROM main.dcb_filters WHERE segment = ?1 ORDER BY part";
    source.sql()?.query(sql, &[Value::Integer(segment.id)], &mut |row| {
        let bits = row.blob(0).ok_or_else(damaged_index)?;
        let (bits, crc) = bits.split_last_chunk::<4>().ok_or_else(damaged_index)?;
        is_there = true;
        let is_whole = crc32fast::hash(bits) == u32::from_le_bytes(*crc);
        if is_whole && filter.load_part(bits) {
            Ok(ControlFlow::Continue(()))
        } else {
            Err(damaged_index())
        }
    })?;
    match is_there {
        false => Ok(None),
        true if filter.bytes() == bytes => Ok(Some(filter)),
        true => Err(damaged_index().into()),
    }
}

impl Segment {
    /// Calls `visit` with the block that may hold the first pair at or above (term, position), and
    /// then with each following block. `visit` breaks once no later block can hold more of the
    /// term.
    fn blocks_from(
        &self,
        source: Source<'_>,
        term: Term,
        position: Position,
        mut visit: impl FnMut(Unpacker<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<()> {
        let at = |(term, position)| [self.id, term, position].map(Value::Integer);
        let (mut cursor, mut ended) = (BlockCursor::new(self.id, self.low.get()), false);
        let wanted = (key(term), position.get());
        if let Some(mut blocks) = self.block_index.blocks(source, self.id, self.low.get())?
            && let Some(first) = blocks.find(wanted)
        {
            for number in first.. {
                let Some((key, block)) = blocks.get(number) else { break };
                cursor.start_at(key, &block)?;
                if visit(block)?.is_break() || block.is_last {
                    return Ok(());
                }
            }
        }
        if cursor.last().is_none() {
            source.sql()?.query(
                "SELECT term, position, block FROM main.dcb_postings \
                 WHERE segment = ?1 AND (term, position) <= (?2, ?3) \
                 ORDER BY term DESC, position DESC LIMIT 1",
                &at(wanted),
                &mut |row| {
                    ended = visit(cursor.enter(row)?)?.is_break();
                    Ok(ControlFlow::Break(()))
                },
            )?;
        }
        if ended {
            return Ok(());
        }
        source.sql()?.query(
            "SELECT term, position, block FROM main.dcb_postings \
             WHERE segment = ?1 AND (term, position) > (?2, ?3) \
             ORDER BY term, position",
            &at(cursor.last().unwrap_or(block_cursor::BEFORE_FIRST)),
            &mut |row| {
                ended = visit(cursor.next(row)?)?.is_break();
                Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        )?;
        if ended { Ok(()) } else { Ok(cursor.expect_end()?) }
    }

    /// Counts the positions of `term` above `low`.
    pub fn count_above(&self, source: Source<'_>, term: Term, low: Position) -> ReadResult<u64> {
        if !self.may_hold(source, term)? {
            return Ok(0);
        }
        let mut count = 0;
        self.blocks_from(source, term, low.next(), |mut unpacker| {
            let Some(head) = unpacker.seek(term).map_err(damaged_block)? else {
                return Ok(ControlFlow::Continue(()));
            };
            if head.term == term {
                unpacker
                    .positions(head, |position| count += u64::from(position > low.get()))
                    .map_err(damaged_block)?;
                count += head.left;
            }
            Ok(ControlFlow::Break(()))
        })?;
        Ok(count)
    }

    /// Does what [`Self::collect`] does, from the cache if it has the list.
    #[allow(clippy::too_many_arguments)] // as `collect`, and the cache
    pub fn collect_cached(
        &self,
        source: Source<'_>,
        cache: &CacheUse,
        term: Term,
        span: PositionRange,
        direction: Direction,
        wanted: usize,
        out: &mut Vec<Position>,
    ) -> ReadResult<()> {
        let lists = cache.caches.as_deref().map(|caches| &caches.lists);
        let list = match lists.map(|lists| (lists, lists.get((self.id, term)))) {
            Some((_, Found::Cached(list))) => Some(list),
            // The cache keeps no empty list: the filter answers as fast.
            _ if !self.may_hold(source, term)? => return Ok(()),
            Some((lists, Found::Wanted)) if cache.may_keep => {
                let (all, enough) = (
                    PositionRange { after: Position::START, through: Position::MAX },
                    PostingList::MAX + 1,
                );
                let mut positions = Vec::new();
                self.collect(source, term, all, Direction::Forward, enough, &mut positions)?;
                let list = Arc::new(PostingList::new(self.id, term, &positions));
                lists.keep(Arc::clone(&list));
                Some(list)
            }
            _ => None,
        };
        if list.is_some_and(|list| list.collect(span, direction, wanted, out)) {
            return Ok(());
        }
        self.collect(source, term, span, direction, wanted, out)
    }

    /// Appends the positions of `term` in `span` to `out`, in order, until `out` holds `wanted`.
    pub fn collect(
        &self,
        source: Source<'_>,
        term: Term,
        span: PositionRange,
        direction: Direction,
        wanted: usize,
        out: &mut Vec<Position>,
    ) -> ReadResult<()> {
        if !self.may_hold(source, term)? {
            return Ok(());
        }
        if direction.is_backward() {
            return self.collect_backwards(source, term, span, wanted, out);
        }
        self.blocks_from(source, term, span.after.next(), |mut unpacker| {
            while let Some(head) = unpacker.seek(term).map_err(damaged_block)? {
                if head.term > term {
                    return Ok(ControlFlow::Break(()));
                }
                let mut is_past_the_end = head.left == 0;
                unpacker
                    .positions(head, |position| {
                        if position > span.through.get() || out.len() >= wanted {
                            is_past_the_end = true;
                        } else if position > span.after.get() {
                            out.push(Position::clamped(position));
                        }
                    })
                    .map_err(damaged_block)?;
                if is_past_the_end || out.len() >= wanted {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    fn collect_backwards(
        &self,
        source: Source<'_>,
        term: Term,
        span: PositionRange,
        wanted: usize,
        out: &mut Vec<Position>,
    ) -> ReadResult<()> {
        let (mut run, mut cursor, mut ended) =
            (Vec::new(), BlockCursor::new(self.id, self.low.get()), false);
        let sql = "SELECT term, position, block FROM main.dcb_postings \
                   WHERE segment = ?1 AND (term, position) <= (?2, ?3) \
                   ORDER BY term DESC, position DESC";
        let (after, through) = (span.after.get(), span.through.get());
        let from = (key(term), through);
        source.sql()?.query(sql, &[self.id, from.0, from.1].map(Value::Integer), &mut |row| {
            let is_first = cursor.last().is_none();
            let mut unpacker = cursor.previous(row)?;
            run.clear();
            // Whether this block or one below it has to hold what was looked for, if it exists.
            let mut covers = false;
            while let Some(head) = unpacker.run().map_err(damaged_block)? {
                if head.term == term {
                    unpacker
                        .positions(head, |position| run.push(position))
                        .map_err(damaged_block)?;
                    covers = head.left == 0;
                    break;
                }
                covers = head.term > term;
                unpacker.skip(head).map_err(damaged_block)?;
            }
            covers |= run.last().is_some_and(|last| *last >= through);
            if is_first && !covers {
                cursor.expect_next_above(source, from)?;
            }
            for position in run.iter().rev().copied().filter(|own| *own <= through) {
                if position <= after || out.len() >= wanted {
                    ended = true;
                    return Ok(ControlFlow::Break(()));
                }
                out.push(Position::clamped(position));
            }
            // The block before can hold more of the term only if this block starts with the term.
            ended = cursor.last().is_some_and(|(first, _)| first != key(term));
            Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if ended {
            return Ok(());
        }
        if cursor.last().is_some() {
            return Ok(cursor.expect_start()?);
        }
        // The term is below every term of the segment: then the next block must be the first one.
        let sql = "SELECT term, position, block FROM main.dcb_postings \
                   WHERE segment = ?1 AND (term, position) > (?2, ?3) \
                   ORDER BY term, position LIMIT 1";
        source.sql()?.query(sql, &[self.id, from.0, from.1].map(Value::Integer), &mut |row| {
            cursor.next(row).map(|_| ControlFlow::Break(()))
        })?;
        if cursor.last().is_some() { Ok(()) } else { Err(damaged_index().into()) }
    }
}
