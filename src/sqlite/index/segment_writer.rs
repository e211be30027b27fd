//! Writing the rows of a segment, in a transaction that holds SQLite's write lock.

use crate::domain::Term;
use crate::error::Result;
use crate::position::Position;
use crate::sql::{SqlConnection, Value};
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::index::block::{Block, key};
use crate::sqlite::index::bloom_filter::BloomFilter;
use crate::sqlite::index::codec::{integer, rowid_of};

/// Writes the row of a new segment and returns its number.
pub fn insert_segment(
    connection: &dyn SqlConnection,
    state: i64,
    low: Position,
    high: Position,
    terms: u64,
) -> Result<i64> {
    // Numbers are never reused: a process with an older list must not take a new segment for one
    // that it knows.
    let raise = "UPDATE main.dcb_meta SET value = value + 1 WHERE key = 'segments' RETURNING value";
    let id = connection.query_row(raise, &[], |row| integer(row, 0))?.ok_or_else(damaged_index)?;
    connection.run(
        "INSERT INTO main.dcb_segments (segment, state, low, high, terms) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
        &[id, state, low.get(), high.get(), terms as i64].map(Value::Integer),
    )?;
    Ok(id)
}

/// Writes blocks of a segment.
pub fn insert_blocks(connection: &dyn SqlConnection, segment: i64, blocks: &[Block]) -> Result<()> {
    let sealed: Vec<Vec<u8>> = blocks.iter().map(|block| block.sealed(segment)).collect();
    let mut values = Vec::with_capacity(5 * blocks.len());
    for (block, bytes) in blocks.iter().zip(&sealed) {
        let rowid = rowid_of(segment, block.number);
        values.extend([rowid, segment, key(block.term), block.position].map(Value::Integer));
        values.push(Value::Blob(bytes));
    }
    connection.run_each(
        "INSERT INTO main.dcb_postings (rowid, segment, term, position, block) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
        5,
        &values,
    )
}

/// A filter is stored in rows, each with at most this many bytes of it and their CRC-32.
pub const FILTER_PART_BYTES: usize = 256 * 1024;

/// Writes one part of a segment's filter.
pub fn insert_filter_part(
    connection: &dyn SqlConnection,
    segment: i64,
    part: usize,
    bits: &[u8],
) -> Result<()> {
    let mut row = bits.to_vec();
    row.extend_from_slice(&crc32fast::hash(bits).to_le_bytes());
    connection
        .run(
            "INSERT INTO main.dcb_filters (segment, part, bits) VALUES (?1, ?2, ?3)",
            &[Value::Integer(segment), Value::Integer(part as i64), Value::Blob(&row)],
        )
        .map(drop)
}

/// Raises the version of the list of live segments, by which other processes notice the change.
pub fn raise_version(connection: &dyn SqlConnection) -> Result<()> {
    let changed =
        connection.run("UPDATE main.dcb_meta SET value = value + 1 WHERE key = 'index'", &[])?;
    if changed == 1 { Ok(()) } else { Err(damaged_index()) }
}

/// The blocks of a segment, its filter, and the number of its terms.
pub type Packed = (Vec<Block>, BloomFilter, u64);

/// Packs the sorted postings of a segment that covers the positions above `low`.
pub fn pack(low: Position, postings: &[(Term, Position)]) -> Result<Packed> {
    let lists = || postings.chunk_by(|left, right| left.0 == right.0);
    let terms = lists().count() as u64;
    let mut filter = BloomFilter::new(terms)?;
    let mut packer = crate::sqlite::index::block::Packer::new(low.get());
    for list in lists() {
        filter.insert(list[0].0);
        packer.term(list[0].0, list.len() as u64);
        for (_, position) in list {
            packer.position(position.get());
        }
    }
    Ok((packer.finish(), filter, terms))
}
