//! That no block is missing where blocks of a segment are walked over in order.
//!
//! A lost block would look like a term that the segment does not have. So each block tells which
//! one of its segment it is, and whether it is the last.

use std::ops::ControlFlow;

use crate::error::Result;
use crate::sql::{Row, Value};
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::index::block::{Key, Unpacker};
use crate::sqlite::index::codec::{blob, integer, of_block};

/// Below every block of a segment.
pub const FIRST: Key = (i64::MIN, i64::MIN);

/// A walk over blocks. Its rows have the columns `term, position, block`.
#[derive(Debug)]
pub struct BlockCursor {
    segment: i64,
    low: i64,
    last: Option<Link>,
}

/// The block that came last.
#[derive(Debug, Clone, Copy)]
struct Link {
    key: Key,
    number: u32,
    is_last: bool,
}

impl BlockCursor {
    /// A walk, not begun yet, over the blocks of the segment of this number, which covers the
    /// positions above `low`.
    pub fn new(segment: i64, low: i64) -> Self {
        BlockCursor { segment, low, last: None }
    }

    /// The key of the block that came last.
    pub fn last(&self) -> Option<Key> {
        self.last.map(|link| link.key)
    }

    /// The walk is at this block, whose key was looked for.
    pub fn stand(&mut self, key: Key, block: &Unpacker<'_>) -> Result<()> {
        self.last = Some(Link { key, number: block.number, is_last: block.is_last });
        if block.key().map_err(of_block)? == key { Ok(()) } else { Err(damaged_index()) }
    }

    /// The walk begins with this row, which is not the first of the segment.
    pub fn enter<'a>(&mut self, row: &Row<'a>) -> Result<Unpacker<'a>> {
        let block = Unpacker::new(blob(row, 2)?, self.segment, self.low).map_err(of_block)?;
        self.stand((integer(row, 0)?, integer(row, 1)?), &block)?;
        Ok(block)
    }

    /// The next row upwards; the first one is the first of the segment.
    pub fn rise<'a>(&mut self, row: &Row<'a>) -> Result<Unpacker<'a>> {
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

    /// The next row downwards; the first one is entered.
    pub fn fall<'a>(&mut self, row: &Row<'a>) -> Result<Unpacker<'a>> {
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

    /// The block that came last is the last of the segment.
    pub fn expect_end(&self) -> Result<()> {
        if self.last.is_some_and(|link| link.is_last) { Ok(()) } else { Err(damaged_index()) }
    }

    /// The block that came last is the first of the segment.
    pub fn expect_start(&self) -> Result<()> {
        if self.last.is_none_or(|link| link.number == 0) { Ok(()) } else { Err(damaged_index()) }
    }

    /// The block behind the one that came last, if there is one, begins above `bound`.
    pub fn expect_next_above(&self, source: Source<'_>, bound: Key) -> ReadResult<()> {
        let Some(link) = self.last.filter(|link| !link.is_last) else { return Ok(()) };
        let mut next = BlockCursor { ..*self };
        let values = [self.segment, link.key.0, link.key.1].map(Value::Integer);
        source.sql()?.query(
            "SELECT term, position, block FROM dcb_postings \
             WHERE segment = ?1 AND (term, position) > (?2, ?3) \
             ORDER BY term, position LIMIT 1",
            &values,
            &mut |row| next.rise(row).map(|_| ControlFlow::Break(())),
        )?;
        let is_above = next.last().is_some_and(|key| key > link.key && key > bound);
        if is_above { Ok(()) } else { Err(damaged_index().into()) }
    }
}
