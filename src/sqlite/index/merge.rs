//! Merging the blocks of adjacent segments into the blocks of one.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::domain::Term;
use crate::error::Result;
use crate::position::Position;
use crate::sql::{SqlConnection, Value};
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::index::block::{Block, Packer};
use crate::sqlite::index::block_cursor;
use crate::sqlite::index::block_cursor::BlockCursor;
use crate::sqlite::index::bloom_filter::BloomFilter;
use crate::sqlite::index::codec::damaged_block;
use crate::sqlite::index::segment::{MAX_FILTER_BYTES, Segment};

/// How many blocks are read from an input at a time.
const READ_BLOCKS: i64 = 64;

/// A run of an input's block.
#[derive(Debug, Clone, Copy)]
struct Run {
    term: Term,
    /// How many positions of the term follow in later runs.
    left: u64,
    /// How many positions the run holds.
    count: usize,
}

/// One of the segments that are merged. A live segment never changes, so reading it takes no long
/// transaction.
#[derive(Debug)]
struct Input {
    segment: Arc<Segment>,
    runs: VecDeque<Run>,
    /// The positions of all runs, one run after the other: most runs hold only one.
    positions: VecDeque<i64>,
    cursor: BlockCursor,
    ended: bool,
}

impl Input {
    /// Returns the next run without consuming it.
    fn peek(&mut self, connection: &dyn SqlConnection) -> Result<Option<Run>> {
        if self.runs.is_empty() && !self.ended {
            self.fill(connection)?;
        }
        Ok(self.runs.front().copied())
    }

    /// Consumes the next run and returns its positions.
    fn take(&mut self) -> impl Iterator<Item = i64> {
        let count = self.runs.pop_front().map_or(0, |run| run.count);
        self.positions.drain(..count)
    }

    fn fill(&mut self, connection: &dyn SqlConnection) -> Result<()> {
        let sql = "SELECT term, position, block FROM main.dcb_postings \
                   WHERE segment = ?1 AND (term, position) > (?2, ?3) \
                   ORDER BY term, position LIMIT ?4";
        let last = self.cursor.last().unwrap_or(block_cursor::BEFORE_FIRST);
        let from = [self.segment.id, last.0, last.1, READ_BLOCKS].map(Value::Integer);
        self.ended = true;
        connection.query(sql, &from, &mut |row| {
            self.ended = false;
            let mut unpacker = self.cursor.next(row)?;
            while let Some(head) = unpacker.run().map_err(damaged_block)? {
                let before = self.positions.len();
                unpacker
                    .positions(head, |position| self.positions.push_back(position))
                    .map_err(damaged_block)?;
                let count = self.positions.len() - before;
                self.runs.push_back(Run { term: head.term, left: head.left, count });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if self.ended { self.cursor.expect_end() } else { Ok(()) }
    }
}

/// A merge in progress.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<Input>,
    /// Packs the merged runs; `None` once every run is packed.
    packer: Option<Packer>,
    ready: VecDeque<Block>,
    filter: Option<BloomFilter>,
}

impl Merge {
    /// Starts a merge of `inputs`, which are adjacent, in order, and together cover the positions
    /// above `low`. They hold at most `terms` terms.
    pub fn new(inputs: &[Arc<Segment>], low: Position, terms: u64) -> Result<Self> {
        let inputs = inputs
            .iter()
            .map(|segment| Input {
                segment: Arc::clone(segment),
                runs: VecDeque::new(),
                positions: VecDeque::new(),
                cursor: BlockCursor::new(segment.id, segment.low.get()),
                ended: false,
            })
            .collect();
        let filtered = BloomFilter::bytes_for(terms) <= MAX_FILTER_BYTES;
        Ok(Merge {
            inputs,
            packer: Some(Packer::new(low.get())),
            ready: VecDeque::new(),
            filter: if filtered { Some(BloomFilter::new(terms)?) } else { None },
        })
    }

    /// Returns the next blocks, at most `max`, or `None` at the end.
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

    /// Returns the filter over all merged terms, unless it would be too large.
    pub fn filter(&self) -> Option<&BloomFilter> {
        self.filter.as_ref()
    }

    /// Merges the lists of the next term.
    fn step(&mut self, connection: &dyn SqlConnection) -> Result<()> {
        let Some(packer) = &mut self.packer else { return Ok(()) };
        let (mut next, mut total) = (None, 0);
        for input in &mut self.inputs {
            let Some(run) = input.peek(connection)? else { continue };
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
        for input in &mut self.inputs {
            while input.peek(connection)?.is_some_and(|run| run.term == term) {
                for position in input.take() {
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
