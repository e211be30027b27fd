//! Values of the index's rows, and what is said of those that are damaged.

use crate::error::{Error, Result};
use crate::sql::Row;
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::index::block::Damaged;

/// The rows of a segment are numbered from its own number times two to the power of this on.
const NUMBER_BITS: u32 = 32;

/// An integer of the index.
pub fn integer(row: &Row<'_>, column: usize) -> Result<i64> {
    row.integer(column).ok_or_else(damaged_index)
}

/// Bytes of the index.
pub fn blob<'a>(row: &Row<'a>, column: usize) -> Result<&'a [u8]> {
    row.blob(column).ok_or_else(damaged_index)
}

/// A block that does not decode.
pub fn of_block(_: Damaged) -> Error {
    damaged_index()
}

/// The number of the row of a block. (In a copy that SQL has made it may be another one.)
pub fn row_of(segment: i64, block: u32) -> i64 {
    segment << NUMBER_BITS | i64::from(block)
}
