//! The index on disk: segments, each the sorted postings of a run of positions, never changed
//! once they are live. Together the live ones cover every position up to the mark.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use crate::domain::{PositionRange, Term};
use crate::error::{Result, Status};
use crate::sql::Value;
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::events::btree::BTree;
use crate::sqlite::events::reader::{EventReader, to_owned};
use crate::sqlite::events::source::{ReadResult, ReadStop, Source};
use crate::sqlite::index::block::{Unpacker, key};
use crate::sqlite::index::block_cursor;
use crate::sqlite::index::block_cursor::BlockCursor;
use crate::sqlite::index::block_index::BlockIndex;
use crate::sqlite::index::bloom_filter::BloomFilter;
use crate::sqlite::index::codec::of_block;

/// What `state` in a row of `dcb_segments` says: the segment is being written by a merge, and not
/// to be read;
pub const BUILDING: i64 = 0;
/// or it is part of the index. (A 2: a merge replaced it, and its rows are on their way out.)
pub const LIVE: i64 = 1;
/// A filter larger than this is neither written nor loaded.
pub const MAX_FILTER_BYTES: u64 = 8 * 1024 * 1024;

/// A live segment.
#[derive(Debug)]
pub struct Segment {
    /// Its number; higher ones were made later.
    pub id: i64,
    /// It holds the postings of the positions above this,
    pub low: i64,
    /// up to this one.
    pub high: i64,
    /// How many terms it holds, at the most.
    pub terms: i64,
    /// Whether its filter fits in the memory set aside for filters.
    filtered: bool,
    filter: OnceLock<Option<BloomFilter>>,
    fences: Arc<BlockIndex>,
}

impl Segment {
    /// A live segment of which nothing else is known yet.
    pub fn new(id: i64, low: i64, high: i64, terms: i64, tree: Arc<BTree>) -> Self {
        let fences = Arc::new(BlockIndex::new(tree));
        Segment { id, low, high, terms, filtered: false, filter: OnceLock::new(), fences }
    }

    /// The same with the filter in memory, or without it; `None`: it is so.
    pub fn with_filter(&self, filtered: bool) -> Option<Self> {
        let Segment { id, low, high, terms, .. } = *self;
        let (filter, fences) = (OnceLock::new(), Arc::clone(&self.fences));
        (self.filtered != filtered).then_some(Segment {
            id,
            low,
            high,
            terms,
            filtered,
            filter,
            fences,
        })
    }

    /// Of how many blocks it is known what they begin with, and of how many it could be.
    #[cfg(test)]
    pub fn known_blocks(&self) -> (usize, usize) {
        self.fences.known()
    }

    /// How many positions it covers.
    pub fn len(&self) -> i64 {
        self.high - self.low
    }

    pub fn overlaps(&self, span: PositionRange) -> bool {
        self.low < span.through && span.after < self.high
    }

    /// Whether it may hold `term`; loads the filter when it is first asked.
    fn may_hold(&self, source: Source<'_>, term: Term) -> ReadResult<bool> {
        if !self.filtered {
            return Ok(true);
        }
        if self.filter.get().is_none() {
            let loaded = load_filter(source, self)?;
            if let Some(filter) = &loaded {
                // One of another segment would say no to most of its terms.
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
    /// The terms of the last event that it covers; none where the event is damaged, which is told
    /// to whoever reads it.
    fn terms_of_last(&self, source: Source<'_>) -> ReadResult<Vec<Term>> {
        match EventReader::default().at(source, self.high, to_owned) {
            Ok(event) => Ok(event.event.terms().collect()),
            Err(ReadStop::Failed(error)) if error.status == Status::Corrupt => Ok(Vec::new()),
            Err(stop) => Err(stop),
        }
    }

    /// Whether it goes as far as its row says: nothing else would look for what it lacks.
    pub fn check_last(&self, source: Source<'_>) -> ReadResult<()> {
        let span = PositionRange { after: self.high - 1, through: self.high };
        let Some(term) = self.terms_of_last(source)?.into_iter().next() else { return Ok(()) };
        let mut found = Vec::new();
        match self.collect(source, term, span, false, 1, &mut found) {
            Ok(()) if found.is_empty() => Err(damaged_index().into()),
            // What is damaged of it, its readers are told.
            Err(ReadStop::Failed(error)) if error.status == Status::Corrupt => Ok(()),
            other => other,
        }
    }
}

fn load_filter(source: Source<'_>, segment: &Segment) -> ReadResult<Option<BloomFilter>> {
    // Who asks has found that it is not too large.
    let bytes = BloomFilter::bytes_for(segment.terms.unsigned_abs());
    let mut filter = BloomFilter::unread(bytes.min(MAX_FILTER_BYTES))?;
    let mut is_there = false;
    let sql = "SELECT bits FROM dcb_filters WHERE segment = ?1 ORDER BY part";
    source.sql()?.query(sql, &[Value::Integer(segment.id)], &mut |row| {
        let bits = row.blob(0).ok_or_else(damaged_index)?;
        let (bits, crc) = bits.split_last_chunk::<4>().ok_or_else(damaged_index)?;
        is_there = true;
        let is_whole = crc32fast::hash(bits) == u32::from_le_bytes(*crc);
        if is_whole && filter.read(bits) {
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

/// How a run was taken.
enum Taken {
    /// The list may go on in the next block.
    More,
    /// There is nothing of the term in the blocks that follow.
    End,
}

impl Segment {
    /// Calls `visit` with the block that holds the first pair at or above (term, position), if
    /// such a block begins at or below it, and then with every further one until told to stop.
    fn blocks_from(
        &self,
        source: Source<'_>,
        term: Term,
        position: i64,
        mut visit: impl FnMut(Unpacker<'_>) -> Result<Taken>,
    ) -> ReadResult<()> {
        let at = |(term, position)| [self.id, term, position].map(Value::Integer);
        let (mut chain, mut ended) = (BlockCursor::new(self.id, self.low), false);
        let wanted = (key(term), position);
        if let Some(mut blocks) = self.fences.blocks(source, self.id, self.low)?
            && let Some(first) = blocks.find(wanted)
        {
            for number in first.. {
                let Some((key, block)) = blocks.get(number) else { break };
                chain.stand(key, &block)?;
                if matches!(visit(block)?, Taken::End) || block.is_last {
                    return Ok(());
                }
            }
        }
        if chain.last().is_none() {
            source.sql()?.query(
                "SELECT term, position, block FROM dcb_postings \
                 WHERE segment = ?1 AND (term, position) <= (?2, ?3) \
                 ORDER BY term DESC, position DESC LIMIT 1",
                &at(wanted),
                &mut |row| {
                    ended = matches!(visit(chain.enter(row)?)?, Taken::End);
                    Ok(ControlFlow::Break(()))
                },
            )?;
        }
        if ended {
            return Ok(());
        }
        source.sql()?.query(
            "SELECT term, position, block FROM dcb_postings \
             WHERE segment = ?1 AND (term, position) > (?2, ?3) \
             ORDER BY term, position",
            &at(chain.last().unwrap_or(block_cursor::FIRST)),
            &mut |row| {
                ended = matches!(visit(chain.rise(row)?)?, Taken::End);
                Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        )?;
        if ended { Ok(()) } else { Ok(chain.expect_end()?) }
    }

    pub fn count_above(&self, source: Source<'_>, term: Term, low: i64) -> ReadResult<u64> {
        if !self.may_hold(source, term)? {
            return Ok(0);
        }
        let mut count = 0;
        self.blocks_from(source, term, low.saturating_add(1), |mut unpacker| {
            while let Some(head) = unpacker.run().map_err(of_block)? {
                if head.term > term {
                    return Ok(Taken::End);
                }
                if head.term < term {
                    unpacker.skip(head).map_err(of_block)?;
                    continue;
                }
                unpacker
                    .positions(head, |position| count += u64::from(position > low))
                    .map_err(of_block)?;
                count += head.left;
                return Ok(Taken::End);
            }
            Ok(Taken::More)
        })?;
        Ok(count)
    }

    pub fn collect(
        &self,
        source: Source<'_>,
        term: Term,
        span: PositionRange,
        backwards: bool,
        wanted: usize,
        out: &mut Vec<i64>,
    ) -> ReadResult<()> {
        if !self.may_hold(source, term)? {
            return Ok(());
        }
        if backwards {
            return self.collect_backwards(source, term, span, wanted, out);
        }
        self.blocks_from(source, term, span.after.saturating_add(1), |mut unpacker| {
            while let Some(head) = unpacker.run().map_err(of_block)? {
                if head.term > term {
                    return Ok(Taken::End);
                }
                if head.term < term {
                    unpacker.skip(head).map_err(of_block)?;
                    continue;
                }
                let mut past = head.left == 0;
                unpacker
                    .positions(head, |position| {
                        if position > span.through || out.len() >= wanted {
                            past = true;
                        } else if position > span.after {
                            out.push(position);
                        }
                    })
                    .map_err(of_block)?;
                if past || out.len() >= wanted {
                    return Ok(Taken::End);
                }
            }
            Ok(Taken::More)
        })
    }

    fn collect_backwards(
        &self,
        source: Source<'_>,
        term: Term,
        span: PositionRange,
        wanted: usize,
        out: &mut Vec<i64>,
    ) -> ReadResult<()> {
        let (mut run, mut chain, mut ended) =
            (Vec::new(), BlockCursor::new(self.id, self.low), false);
        let sql = "SELECT term, position, block FROM dcb_postings \
                   WHERE segment = ?1 AND (term, position) <= (?2, ?3) \
                   ORDER BY term DESC, position DESC";
        let from = (key(term), span.through);
        source.sql()?.query(sql, &[self.id, from.0, from.1].map(Value::Integer), &mut |row| {
            let is_first = chain.last().is_none();
            let mut unpacker = chain.fall(row)?;
            run.clear();
            // Whether what was looked for would be in this block and in none above it.
            let mut covers = false;
            while let Some(head) = unpacker.run().map_err(of_block)? {
                if head.term == term {
                    unpacker.positions(head, |position| run.push(position)).map_err(of_block)?;
                    covers = head.left == 0;
                    break;
                }
                covers = head.term > term;
                unpacker.skip(head).map_err(of_block)?;
            }
            covers |= run.last().is_some_and(|last| *last >= span.through);
            if is_first && !covers {
                chain.expect_next_above(source, from)?;
            }
            for position in run.iter().rev().copied().filter(|own| *own <= span.through) {
                if position <= span.after || out.len() >= wanted {
                    ended = true;
                    return Ok(ControlFlow::Break(()));
                }
                out.push(position);
            }
            // Only where the block begins with the term can the one before hold more of it.
            ended = chain.last().is_some_and(|(first, _)| first != key(term));
            Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if ended {
            return Ok(());
        }
        if chain.last().is_some() {
            return Ok(chain.expect_start()?);
        }
        // The term is below all that the segment has: then what is above is its first.
        let sql = "SELECT term, position, block FROM dcb_postings \
                   WHERE segment = ?1 AND (term, position) > (?2, ?3) \
                   ORDER BY term, position LIMIT 1";
        source.sql()?.query(sql, &[self.id, from.0, from.1].map(Value::Integer), &mut |row| {
            chain.rise(row).map(|_| ControlFlow::Break(()))
        })?;
        if chain.last().is_some() { Ok(()) } else { Err(damaged_index().into()) }
    }
}
