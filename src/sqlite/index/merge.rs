//! Merging segments that are neighbours into the blocks of one.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::domain::Term;
use crate::error::Result;
use crate::sql::{SqlConnection, Value};
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::index::block::{Block, Packer};
use crate::sqlite::index::block_cursor;
use crate::sqlite::index::block_cursor::BlockCursor;
use crate::sqlite::index::bloom_filter::BloomFilter;
use crate::sqlite::index::codec::of_block;
use crate::sqlite::index::segment::{MAX_FILTER_BYTES, Segment};

/// Blocks that are read from a source at a time.
const READ_BLOCKS: i64 = 64;

/// A run of a source: how many positions of a term it has, and how many follow in later runs.
#[derive(Debug, Clone, Copy)]
struct Run {
    term: Term,
    left: u64,
    count: usize,
}

/// A source under way. What is live is never changed, so it needs no long transaction.
#[derive(Debug)]
struct Source {
    segment: Arc<Segment>,
    runs: VecDeque<Run>,
    /// Those of all runs, one after the other: most runs have but one.
    positions: VecDeque<i64>,
    chain: BlockCursor,
    ended: bool,
}

impl Source {
    /// The next run, not taken yet.
    fn peek(&mut self, connection: &dyn SqlConnection) -> Result<Option<Run>> {
        if self.runs.is_empty() && !self.ended {
            self.fill(connection)?;
        }
        Ok(self.runs.front().copied())
    }

    /// The next run and its positions, taken.
    fn take(&mut self) -> impl Iterator<Item = i64> {
        let count = self.runs.pop_front().map_or(0, |run| run.count);
        self.positions.drain(..count)
    }

    fn fill(&mut self, connection: &dyn SqlConnection) -> Result<()> {
        let sql = "SELECT term, position, block FROM dcb_postings \
                   WHERE segment = ?1 AND (term, position) > (?2, ?3) \
                   ORDER BY term, position LIMIT ?4";
        let last = self.chain.last().unwrap_or(block_cursor::FIRST);
        let from = [self.segment.id, last.0, last.1, READ_BLOCKS].map(Value::Integer);
        self.ended = true;
        connection.query(sql, &from, &mut |row| {
            self.ended = false;
            let mut unpacker = self.chain.rise(row)?;
            while let Some(head) = unpacker.run().map_err(of_block)? {
                let before = self.positions.len();
                unpacker
                    .positions(head, |position| self.positions.push_back(position))
                    .map_err(of_block)?;
                let count = self.positions.len() - before;
                self.runs.push_back(Run { term: head.term, left: head.left, count });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if self.ended { self.chain.expect_end() } else { Ok(()) }
    }
}

/// A merge under way.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<Source>,
    /// `None` once all is packed.
    packer: Option<Packer>,
    ready: VecDeque<Block>,
    filter: Option<BloomFilter>,
}

impl Merge {
    /// Merges `sources`, in the order of their positions, the first beginning above `low`; they
    /// hold at most so many terms.
    pub fn new(sources: &[Arc<Segment>], low: i64, terms: u64) -> Result<Self> {
        let sources = sources
            .iter()
            .map(|segment| Source {
                segment: Arc::clone(segment),
                runs: VecDeque::new(),
                positions: VecDeque::new(),
                chain: BlockCursor::new(segment.id, segment.low),
                ended: false,
            })
            .collect();
        let filtered = BloomFilter::bytes_for(terms) <= MAX_FILTER_BYTES;
        Ok(Merge {
            sources,
            packer: Some(Packer::new(low)),
            ready: VecDeque::new(),
            filter: if filtered { Some(BloomFilter::new(terms)?) } else { None },
        })
    }

    /// The next blocks, `max` at most; `None` at the end.
    pub fn next(
        &mut self,
        connection: &dyn SqlConnection,
        max: usize,
    ) -> Result<Option<Vec<Block>>> {
        while self.ready.len() < max && self.packer.is_some() {
            self.step(connection)?;
        }
        let count = self.ready.len().min(max);
        Ok((count > 0).then(|| self.ready.drain(..count).collect()))
    }

    /// The filter over all that was merged, unless it would be too large.
    pub fn filter(&self) -> Option<&BloomFilter> {
        self.filter.as_ref()
    }

    /// Packs the next term.
    fn step(&mut self, connection: &dyn SqlConnection) -> Result<()> {
        let Some(packer) = &mut self.packer else { return Ok(()) };
        let (mut next, mut total) = (None, 0);
        for source in &mut self.sources {
            let Some(run) = source.peek(connection)? else { continue };
            let own = run.left + run.count as u64;
            match next {
                Some(term) if run.term > term => {}
                Some(term) if run.term == term => total += own,
                _ => (next, total) = (Some(run.term), own),
            }
        }
        let Some(term) = next else {
            let packer = self.packer.take();
            self.ready.extend(packer.into_iter().flat_map(Packer::finish));
            return Ok(());
        };
        packer.term(term, total);
        let mut packed = 0;
        for source in &mut self.sources {
            while source.peek(connection)?.is_some_and(|run| run.term == term) {
                for position in source.take() {
                    packed += 1;
                    if packed > total {
                        return Err(damaged_index());
                    }
                    packer.position(position);
                }
            }
        }
        if packed != total {
            return Err(damaged_index());
        }
        self.ready.extend(packer.take());
        if let Some(filter) = &mut self.filter {
            filter.insert(term);
        }
        Ok(())
    }
}
