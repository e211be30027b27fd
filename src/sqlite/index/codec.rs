//! Decoding the columns of the index's tables, and reporting the values that do not decode.

use crate::error::{Error, Result};
use crate::position::Position;
use crate::sql::Row;
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::index::block::Damaged;

/// A block's rowid is its segment's number shifted left by this, plus the block's number.
const BLOCK_NUMBER_BITS: u32 = 32;

/// Returns the integer in a column of an index row, or the error for a damaged index.
pub fn integer(row: &Row<'_>, column: usize) -> Result<i64> {
    row.integer(column).ok_or_else(damaged_index)
}

/// Returns the position in a column of an index row, or the error for a damaged index.
pub fn position(row: &Row<'_>, column: usize) -> Result<Position> {
    Position::new(integer(row, column)?).map_err(|_| damaged_index())
}

/// Returns the bytes in a column of an index row, or the error for a damaged index.
pub fn blob<'a>(row: &Row<'a>, column: usize) -> Result<&'a [u8]> {
    row.blob(column).ok_or_else(damaged_index)
}

/// Converts the failure to decode a block into the error for a damaged index.
pub fn damaged_block(_: Damaged) -> Error {
    damaged_index()
}

/// Returns the rowid under which a block is written. (`VACUUM INTO` may renumber the rows of its
/// copy, so a reader has to check which block it found.)
pub fn rowid_of(segment: i64, block: u32) -> i64 {
    segment << BLOCK_NUMBER_BITS | i64::from(block)
}
