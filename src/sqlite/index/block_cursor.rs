//! A cursor over the blocks of one segment that detects a missing block.
//!
//! Without the check, a lost block would look like terms that the segment does not hold. Each block
//! carries its number and whether it is the last one, so the cursor verifies that it visits
//! neighbours.

use std::ops::ControlFlow;

use crate::error::Result;
use crate::sql::{Row, Value};
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::index::block::{Key, Unpacker};
use crate::sqlite::index::codec::{blob, damaged_block, integer};

/// A key below every block of a segment.
pub const BEFORE_FIRST: Key = (i64::MIN, i64::MIN);

/// A cursor over the blocks of a segment. It is fed rows with the columns `term, position, block`.
#[derive(Debug)]
pub struct BlockCursor {
    segment: i64,
    low: i64,
    last: Option<Visited>,
}

/// What the cursor keeps of the block that it visited last.
#[derive(Debug, Clone, Copy)]
struct Visited {
    key: Key,
    number: u32,
    is_last: bool,
}

impl BlockCursor {
    /// Creates a cursor that has visited no block yet, over the segment with this number, which
    /// covers the positions above `low`.
    pub fn new(segment: i64, low: i64) -> Self {
        BlockCursor { segment, low, last: None }
    }

    /// Returns the key of the block that was visited last.
    pub fn last(&self) -> Option<Key> {
        self.last.map(|visited| visited.key)
    }

    /// Positions the cursor at a block, and checks that `key` is its key.
    pub fn start_at(&mut self, key: Key, block: &Unpacker<'_>) -> Result<()> {
        self.last = Some(Visited { key, number: block.number, is_last: block.is_last });
        if block.key().map_err(damaged_block)? == key { Ok(()) } else { Err(damaged_index()) }
    }

    /// Starts the cursor at this row, which need not be the first of the segment.
    pub fn enter<'a>(&mut self, row: &Row<'a>) -> Result<Unpacker<'a>> {
        let block = Unpacker::new(blob(row, 2)?, self.segment, self.low).map_err(damaged_block)?;
        self.start_at((integer(row, 0)?, integer(row, 1)?), &block)?;
        Ok(block)
    }

    /// Moves up to this row, which must be the block after the last one visited. The first row must
    /// be the first block of the segment.
    pub fn next<'a>(&mut self, row: &Row<'a>) -> Result<Unpacker<'a>> {
        let before = self.last;
        let block = self.enter(row)?;
        let follows = match (before, self.last) {
            (None, Some(own)) => own.number == 0,
            (Some(below), Some(own)) => {
                !below.is_last && own.number == below.number.wrapping_add(1) && own.key > below.key
            }
            (_, None) => false,
        };
        if follows { Ok(block) } else { Err(damaged_index()) }
    }

    /// Moves down to this row, which must be the block before the last one visited. The cursor may
    /// start at any block.
    pub fn previous<'a>(&mut self, row: &Row<'a>) -> Result<Unpacker<'a>> {
        let before = self.last;
        let block = self.enter(row)?;
        let follows = match (before, self.last) {
            (Some(above), Some(own)) => {
                own.number.wrapping_add(1) == above.number && own.key < above.key
            }
            _ => true,
        };
        if follows { Ok(block) } else { Err(damaged_index()) }
    }

    /// Fails unless the block that was visited last is the last one of the segment.
    pub fn expect_end(&self) -> Result<()> {
        if self.last.is_some_and(|visited| visited.is_last) { Ok(()) } else { Err(damaged_index()) }
    }

    /// Fails if blocks of the segment are missing below the one that was visited last.
    pub fn expect_start(&self) -> Result<()> {
        if self.last.is_none_or(|visited| visited.number == 0) {
            Ok(())
        } else {
            Err(damaged_index())
        }
    }

    /// Fails unless the block after the one visited last, if there is one, starts above `bound`.
    pub fn expect_next_above(&self, source: Source<'_>, bound: Key) -> ReadResult<()> {
        let Some(visited) = self.last.filter(|visited| !visited.is_last) else { return Ok(()) };
        let mut next = BlockCursor { ..*self };
        let values = [self.segment, visited.key.0, visited.key.1].map(Value::Integer);
        source.sql()?.query(
            "SELECT term, position, block FROM main.dcb_postings \
             WHERE segment = ?1 AND (term, position) > (?2, ?3) \
             ORDER BY term, position LIMIT 1",
            &values,
            &mut |row| next.next(row).map(|_| ControlFlow::Break(())),
        )?;
        let is_above = next.last().is_some_and(|key| key > visited.key && key > bound);
        if is_above { Ok(()) } else { Err(damaged_index().into()) }
    }
}
