//! That no block is missing where blocks of a segment are walked over in order.
//!
//! A lost block would look like a term that the segment does not have. Its own checksum cannot
//! tell, but the table and the index of its key are two B-trees, with the same rows in the same
//! order: what one of them has lost, the other shows between the neighbours. The rows of a segment
//! are numbered one by one. (A file written before they were has gaps where something was written
//! between two slices of a merge. There both sides are looked at.)

use super::block::begins_with;
use super::database::{Database, Row, Value, Walk};
use super::segments::{Segment, blob, damaged, integer};
use crate::error::Result;

/// The key of a block: a term, as it is stored, and a position.
pub type Key = (i64, i64);

/// Below every block of a segment,
pub const FIRST: Key = (i64::MIN, i64::MIN);
/// and above.
const LAST: Key = (i64::MAX, i64::MAX);

/// A walk over blocks. Its rows have the columns `rowid, term, position, block`.
#[derive(Debug)]
pub struct Chain {
    segment: i64,
    low: i64,
    /// The row and the key of the block that came last.
    last: Option<(i64, Key)>,
}

impl Chain {
    /// A walk over the blocks of a segment that has not begun.
    pub fn new(segment: &Segment) -> Self {
        Chain { segment: segment.id, low: segment.low, last: None }
    }

    /// The key of the block that came last.
    pub fn last(&self) -> Option<Key> {
        self.last.map(|(_, key)| key)
    }

    /// The walk begins with this row, which is not the first of the segment.
    pub fn enter<'a>(&mut self, row: &Row<'a>) -> Result<&'a [u8]> {
        let (rowid, key) = (integer(row, 0)?, (integer(row, 1)?, integer(row, 2)?));
        let block = blob(row, 3)?;
        self.last = Some((rowid, key));
        if begins_with(block, self.low, key) { Ok(block) } else { Err(damaged()) }
    }

    /// The next row upwards; the first one is the first of the segment.
    pub fn rise<'a>(&mut self, connection: &dyn Database, row: &Row<'a>) -> Result<&'a [u8]> {
        let before = self.last;
        let block = self.enter(row)?;
        let Some((rowid, key)) = self.last else { return Ok(block) };
        match before {
            Some((last, below)) if last + 1 == rowid && below < key => {}
            Some((last, below)) => {
                self.expect_none(connection, last.wrapping_add(1), below, key)?;
                self.expect_none(connection, rowid.wrapping_sub(1), below, key)?;
            }
            None => self.expect_none(connection, rowid.wrapping_sub(1), FIRST, key)?,
        }
        Ok(block)
    }

    /// The next row downwards; the first one is entered.
    pub fn fall<'a>(&mut self, connection: &dyn Database, row: &Row<'a>) -> Result<&'a [u8]> {
        let before = self.last;
        let block = self.enter(row)?;
        if let (Some((last, above)), Some((rowid, key))) = (before, self.last)
            && (rowid + 1 != last || key >= above)
        {
            self.expect_none(connection, rowid.wrapping_add(1), key, above)?;
            self.expect_none(connection, last.wrapping_sub(1), key, above)?;
        }
        Ok(block)
    }

    /// Nothing was above the last block, or above it but below `bound`.
    pub fn expect_end(&self, connection: &dyn Database, bound: Option<Key>) -> Result<()> {
        // A segment has one block at least.
        let (last, key) = self.last.ok_or_else(damaged)?;
        self.expect_none(connection, last.wrapping_add(1), key, bound.unwrap_or(LAST))
    }

    /// Nothing is below the last block.
    pub fn expect_start(&self, connection: &dyn Database) -> Result<()> {
        let Some((last, key)) = self.last else { return Ok(()) };
        self.expect_none(connection, last.wrapping_sub(1), FIRST, key)
    }

    /// The row is none of a block of the segment between these keys.
    fn expect_none(
        &self,
        connection: &dyn Database,
        rowid: i64,
        below: Key,
        above: Key,
    ) -> Result<()> {
        if below >= above {
            return Err(damaged());
        }
        // By its number, not by the index of the key.
        let sql = "SELECT 1 FROM dcb_postings WHERE rowid = ?1 AND +segment = ?2 \
                   AND (+term, +position) > (?3, ?4) AND (+term, +position) < (?5, ?6)";
        let values = [rowid, self.segment, below.0, below.1, above.0, above.1].map(Value::Integer);
        let mut found = false;
        connection.query(sql, &values, &mut |_| {
            found = true;
            Ok(Walk::Stop)
        })?;
        if found { Err(damaged()) } else { Ok(()) }
    }
}
