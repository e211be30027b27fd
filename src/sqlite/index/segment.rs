//! The index on disk: segments, each the sorted postings of a run of positions, never changed
//! once they are live. Together the live ones cover every position up to the mark.

use std::sync::{Arc, Mutex, OnceLock};

use rusqlite::Connection;

use crate::domain::{Span, Term};
use crate::error::{Error, Result, Status};
use crate::sql::{Database, Row, Value, Walk};
use crate::sqlite::connection::Moment;
use crate::sqlite::events::btree::Tree;
use crate::sqlite::events::reader::{Decoder, to_owned};
use crate::sqlite::index::block::{Block, Damaged, Unpacker, key};
use crate::sqlite::index::block_cursor;
use crate::sqlite::index::block_cursor::Chain;
use crate::sqlite::index::block_index::Fences;
use crate::sqlite::index::bloom_filter::Filter;
use crate::sqlite::index::view::Snapshot;

/// What `state` in a row of `dcb_segments` says: the segment is being written by a merge, and not
/// to be read;
pub const BUILDING: i64 = 0;
/// or it is part of the index. (A 2: a merge replaced it, and its rows are on their way out.)
pub const LIVE: i64 = 1;

/// A filter larger than this is neither written nor loaded.
pub const MAX_FILTER_BYTES: u64 = 8 * 1024 * 1024;
/// All filters of a store together take at most this much memory.
const FILTERS_BYTES: u64 = 24 * 1024 * 1024;

/// The rows of a segment are numbered from its own number times two to the power of this on.
const NUMBER_BITS: u32 = 32;

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
    filter: OnceLock<Option<Filter>>,
    fences: Arc<Fences>,
}

impl Segment {
    /// How many positions it covers.
    pub fn len(&self) -> i64 {
        self.high - self.low
    }

    fn overlaps(&self, span: Span) -> bool {
        self.low < span.high && span.low < self.high
    }

    /// Whether it may hold `term`; loads the filter when it is first asked.
    fn may_hold(&self, connection: &dyn Database, term: Term) -> Result<bool> {
        if !self.filtered {
            return Ok(true);
        }
        if self.filter.get().is_none() {
            let loaded = load_filter(connection, self)?;
            if let Some(filter) = &loaded {
                // One of another segment would say no to most of its terms.
                let terms = self.terms_of_last(connection)?;
                if !terms.iter().all(|term| filter.may_hold(*term)) {
                    return Err(damaged());
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
    fn terms_of_last(&self, connection: &dyn Database) -> Result<Vec<Term>> {
        match Decoder::default().at(connection, self.high, to_owned) {
            Ok(event) => Ok(event.event.terms().collect()),
            Err(error) if error.status == Status::Corrupt => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether it goes as far as its row says: nothing else would look for what it lacks.
    fn check_last(&self, connection: &dyn Database) -> Result<()> {
        let span = Span { low: self.high - 1, high: self.high };
        let Some(term) = self.terms_of_last(connection)?.into_iter().next() else { return Ok(()) };
        let mut found = Vec::new();
        match self.collect(connection, term, span, false, 1, &mut found) {
            Ok(()) if found.is_empty() => Err(damaged()),
            // What is damaged of it, its readers are told.
            Err(error) if error.status != Status::Corrupt => Err(error),
            _ => Ok(()),
        }
    }
}

fn load_filter(connection: &dyn Database, segment: &Segment) -> Result<Option<Filter>> {
    // Who asks has found that it is not too large.
    let bytes = Filter::bytes_for(segment.terms.unsigned_abs());
    let mut filter = Filter::unread(bytes.min(MAX_FILTER_BYTES))?;
    let mut is_there = false;
    let sql = "SELECT bits FROM dcb_filters WHERE segment = ?1 ORDER BY part";
    connection.query(sql, &[Value::Integer(segment.id)], &mut |row| {
        let bits = row.blob(0).ok_or_else(damaged)?;
        let (bits, crc) = bits.split_last_chunk::<4>().ok_or_else(damaged)?;
        is_there = true;
        let is_whole = crc32fast::hash(bits) == u32::from_le_bytes(*crc);
        if is_whole && filter.read(bits) { Ok(Walk::On) } else { Err(damaged()) }
    })?;
    match is_there {
        false => Ok(None),
        true if filter.bytes() == bytes => Ok(Some(filter)),
        true => Err(damaged()),
    }
}

/// The live segments, as one version of the index has them.
#[derive(Debug)]
pub struct Segments {
    /// Rises with every change of the list.
    pub version: i64,
    /// Ascending, each beginning where the one before ends.
    pub list: Vec<Arc<Segment>>,
    /// That of their blocks.
    tree: Arc<Tree>,
}

impl Default for Segments {
    /// None, of no version.
    fn default() -> Self {
        Segments { version: 0, list: Vec::new(), tree: Arc::new(Tree::of_postings()) }
    }
}

impl Segments {
    /// The position up to which the segments cover everything.
    pub fn mark(&self) -> i64 {
        self.list.last().map_or(0, |segment| segment.high)
    }

    /// An index of events that are not there would hide those that take their positions: from
    /// the mark down it is asked alone.
    pub fn check(&self, snapshot: Snapshot) -> Result<()> {
        if self.mark() <= snapshot.head { Ok(()) } else { Err(damaged()) }
    }

    /// Reads the list, as the connection's transaction sees it.
    pub fn load(connection: &dyn Database, version: i64, known: &Segments) -> Result<Self> {
        let mut list: Vec<Arc<Segment>> = Vec::new();
        let sql = "SELECT segment, low, high, terms FROM dcb_segments WHERE state = 1 ORDER BY low";
        connection.query(sql, &[], &mut |row| {
            let (id, low, high, terms) =
                (integer(row, 0)?, integer(row, 1)?, integer(row, 2)?, integer(row, 3)?);
            if low != list.last().map_or(0, |last| last.high) || high <= low || terms < 0 {
                return Err(damaged());
            }
            let same = known.list.iter().find(|own| own.id == id && own.low == low);
            list.push(same.cloned().unwrap_or_else(|| {
                let fences = Arc::new(Fences::new(Arc::clone(&known.tree)));
                let (filtered, filter) = (false, OnceLock::new());
                Arc::new(Segment { id, low, high, terms, filtered, filter, fences })
            }));
            Ok(Walk::On)
        })?;
        for segment in &list {
            if !known.list.iter().any(|own| Arc::ptr_eq(own, segment)) {
                segment.check_last(connection)?;
            }
        }
        let mut segments = Segments { version, list, tree: Arc::clone(&known.tree) };
        segments.share_out_filters();
        Ok(segments)
    }

    /// Lets the smallest filters into memory, as many as there is room for: the newest segments
    /// are small, and every condition asks them.
    fn share_out_filters(&mut self) {
        let mut by_size: Vec<usize> = (0..self.list.len()).collect();
        by_size.sort_by_key(|&index| self.list[index].terms);
        let mut room = FILTERS_BYTES;
        for index in by_size {
            let segment = &self.list[index];
            let bytes = Filter::bytes_for(segment.terms.unsigned_abs());
            let filtered = bytes <= MAX_FILTER_BYTES && bytes <= room;
            room -= if filtered { bytes } else { 0 };
            if segment.filtered != filtered {
                self.list[index] = Arc::new(Segment {
                    filtered,
                    filter: OnceLock::new(),
                    fences: Arc::clone(&segment.fences),
                    id: segment.id,
                    low: segment.low,
                    high: segment.high,
                    terms: segment.terms,
                });
            }
        }
    }

    /// Of how many blocks it is known what they begin with, and of how many it could be.
    #[cfg(test)]
    pub fn known_blocks(&self) -> (usize, usize) {
        let known = self.list.iter().map(|segment| segment.fences.known());
        known.fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1))
    }

    /// How many postings of `term` the segments hold above `span.low`, at the least those in
    /// `span`; exact but for what lies in the last segment above the span.
    pub fn estimate(&self, connection: &dyn Database, term: Term, span: Span) -> Result<u64> {
        let mut sum = 0;
        for segment in self.list.iter().filter(|segment| segment.overlaps(span)) {
            sum += segment.count_above(connection, term, span.low)?;
        }
        Ok(sum)
    }

    /// Appends to `out` the next `max` positions of `term` in `span`, in order.
    pub fn collect(
        &self,
        connection: &dyn Database,
        term: Term,
        span: Span,
        backwards: bool,
        max: usize,
        out: &mut Vec<i64>,
    ) -> Result<()> {
        let wanted = out.len().saturating_add(max);
        let mut visit = |segment: &Segment| -> Result<bool> {
            if segment.overlaps(span) {
                segment.collect(connection, term, span, backwards, wanted, out)?;
            }
            Ok(out.len() < wanted)
        };
        if backwards {
            for segment in self.list.iter().rev() {
                if !visit(segment)? {
                    break;
                }
            }
        } else {
            for segment in &self.list {
                if !visit(segment)? {
                    break;
                }
            }
        }
        Ok(())
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
        connection: &dyn Database,
        term: Term,
        position: i64,
        mut visit: impl FnMut(Unpacker<'_>) -> Result<Taken>,
    ) -> Result<()> {
        let at = |(term, position)| [self.id, term, position].map(Value::Integer);
        let (mut chain, mut ended) = (Chain::new(self), false);
        let wanted = (key(term), position);
        if let Some(mut blocks) = self.fences.blocks(connection, self.id, self.low)?
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
            connection.query(
                "SELECT term, position, block FROM dcb_postings \
                 WHERE segment = ?1 AND (term, position) <= (?2, ?3) \
                 ORDER BY term DESC, position DESC LIMIT 1",
                &at(wanted),
                &mut |row| {
                    ended = matches!(visit(chain.enter(row)?)?, Taken::End);
                    Ok(Walk::Stop)
                },
            )?;
        }
        if ended {
            return Ok(());
        }
        connection.query(
            "SELECT term, position, block FROM dcb_postings \
             WHERE segment = ?1 AND (term, position) > (?2, ?3) \
             ORDER BY term, position",
            &at(chain.last().unwrap_or(block_cursor::FIRST)),
            &mut |row| {
                ended = matches!(visit(chain.rise(row)?)?, Taken::End);
                Ok(if ended { Walk::Stop } else { Walk::On })
            },
        )?;
        if ended { Ok(()) } else { chain.expect_end() }
    }

    fn count_above(&self, connection: &dyn Database, term: Term, low: i64) -> Result<u64> {
        if !self.may_hold(connection, term)? {
            return Ok(0);
        }
        let mut count = 0;
        self.blocks_from(connection, term, low.saturating_add(1), |mut unpacker| {
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

    fn collect(
        &self,
        connection: &dyn Database,
        term: Term,
        span: Span,
        backwards: bool,
        wanted: usize,
        out: &mut Vec<i64>,
    ) -> Result<()> {
        if !self.may_hold(connection, term)? {
            return Ok(());
        }
        if backwards {
            return self.collect_backwards(connection, term, span, wanted, out);
        }
        self.blocks_from(connection, term, span.low.saturating_add(1), |mut unpacker| {
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
                        if position > span.high || out.len() >= wanted {
                            past = true;
                        } else if position > span.low {
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
        connection: &dyn Database,
        term: Term,
        span: Span,
        wanted: usize,
        out: &mut Vec<i64>,
    ) -> Result<()> {
        let (mut run, mut chain, mut ended) = (Vec::new(), Chain::new(self), false);
        let sql = "SELECT term, position, block FROM dcb_postings \
                   WHERE segment = ?1 AND (term, position) <= (?2, ?3) \
                   ORDER BY term DESC, position DESC";
        let from = (key(term), span.high);
        connection.query(sql, &[self.id, from.0, from.1].map(Value::Integer), &mut |row| {
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
            covers |= run.last().is_some_and(|last| *last >= span.high);
            if is_first && !covers {
                chain.expect_next_above(connection, from)?;
            }
            for position in run.iter().rev().copied().filter(|own| *own <= span.high) {
                if position <= span.low || out.len() >= wanted {
                    ended = true;
                    return Ok(Walk::Stop);
                }
                out.push(position);
            }
            // Only where the block begins with the term can the one before hold more of it.
            ended = chain.last().is_some_and(|(first, _)| first != key(term));
            Ok(if ended { Walk::Stop } else { Walk::On })
        })?;
        if ended {
            return Ok(());
        }
        if chain.last().is_some() {
            return chain.expect_start();
        }
        // The term is below all that the segment has: then what is above is its first.
        let sql = "SELECT term, position, block FROM dcb_postings \
                   WHERE segment = ?1 AND (term, position) > (?2, ?3) \
                   ORDER BY term, position LIMIT 1";
        connection.query(sql, &[self.id, from.0, from.1].map(Value::Integer), &mut |row| {
            chain.rise(row).map(|_| Walk::Stop)
        })?;
        if chain.last().is_some() { Ok(()) } else { Err(damaged()) }
    }
}

/// An integer of the index.
pub fn integer(row: &Row<'_>, column: usize) -> Result<i64> {
    row.integer(column).ok_or_else(damaged)
}

/// Bytes of the index.
pub fn blob<'a>(row: &Row<'a>, column: usize) -> Result<&'a [u8]> {
    row.blob(column).ok_or_else(damaged)
}

/// The index is not what was written.
pub fn damaged() -> Error {
    Error::new(
        Status::Corrupt,
        "the index is damaged (the events may not be: see the page on the file format for how to \
         have it made anew)",
    )
}

/// A block that does not decode.
pub fn of_block(_: Damaged) -> Error {
    damaged()
}

/// The newest list of segments that this process has seen, shared by its connections.
#[derive(Debug, Default)]
pub struct SegmentsCache(Mutex<Arc<Segments>>);

impl SegmentsCache {
    /// The list that a connection sees now which is in no transaction, and the snapshot it is of.
    pub fn now(&self, connection: &Connection) -> Result<(Snapshot, Arc<Segments>)> {
        // Without a transaction another process could change the list between the two looks, and
        // a reader of the version named first would be given segments that it cannot see.
        let moment = Moment::begin(connection)?;
        let snapshot = Snapshot::take(moment.0)?;
        let segments = self.at_version(moment.0, snapshot.version)?;
        segments.check(snapshot)?;
        Ok((snapshot, segments))
    }

    /// The list of version `version`, which is what the connection's transaction sees.
    pub fn at_version(&self, connection: &dyn Database, version: i64) -> Result<Arc<Segments>> {
        debug_assert!(connection.is_in_snapshot(), "the version and the list are of one snapshot");
        let known = self.newest();
        if known.version == version {
            return Ok(known);
        }
        let loaded = Arc::new(Segments::load(connection, version, &known)?);
        let mut newest = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if newest.version < version {
            *newest = Arc::clone(&loaded);
        }
        Ok(loaded)
    }

    /// The newest list that was seen.
    pub fn newest(&self) -> Arc<Segments> {
        Arc::clone(&self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

/// Writes the row of a new segment and gives its number.
pub fn insert_segment(
    connection: &dyn Database,
    state: i64,
    low: i64,
    high: i64,
    terms: u64,
) -> Result<i64> {
    // Numbers are never used again: who still has an old list cannot take a new segment for one
    // that it knew.
    let raise = "UPDATE dcb_meta SET value = value + 1 WHERE key = 'segments' RETURNING value";
    let id = connection.query_row(raise, &[], |row| integer(row, 0))?.ok_or_else(damaged)?;
    connection.run(
        "INSERT INTO dcb_segments (segment, state, low, high, terms) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[id, state, low, high, terms as i64].map(Value::Integer),
    )?;
    Ok(id)
}

/// Writes blocks of a segment.
pub fn insert_blocks(connection: &dyn Database, segment: i64, blocks: &[Block]) -> Result<()> {
    let sealed: Vec<Vec<u8>> = blocks.iter().map(|block| block.sealed(segment)).collect();
    let mut values = Vec::with_capacity(5 * blocks.len());
    for (block, bytes) in blocks.iter().zip(&sealed) {
        let row = row_of(segment, block.number);
        values.extend([row, segment, key(block.term), block.position].map(Value::Integer));
        values.push(Value::Blob(bytes));
    }
    connection.run_each(
        "INSERT INTO dcb_postings (rowid, segment, term, position, block) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
        5,
        &values,
    )
}

/// The number of the row of a block. (In a copy that SQL has made it may be another one.)
pub fn row_of(segment: i64, block: u32) -> i64 {
    segment << NUMBER_BITS | i64::from(block)
}

/// A part of a filter is a row of at most this many bytes and their CRC-32.
pub const FILTER_PART_BYTES: usize = 256 * 1024;

/// Writes one part of a segment's filter.
pub fn insert_filter_part(
    connection: &dyn Database,
    segment: i64,
    part: usize,
    bits: &[u8],
) -> Result<()> {
    let mut row = bits.to_vec();
    row.extend_from_slice(&crc32fast::hash(bits).to_le_bytes());
    connection
        .run(
            "INSERT INTO dcb_filters (segment, part, bits) VALUES (?1, ?2, ?3)",
            &[Value::Integer(segment), Value::Integer(part as i64), Value::Blob(&row)],
        )
        .map(drop)
}

/// Tells every process that the list of live segments is another one now.
pub fn raise_version(connection: &dyn Database) -> Result<()> {
    let changed =
        connection.run("UPDATE dcb_meta SET value = value + 1 WHERE key = 'index'", &[])?;
    if changed == 1 { Ok(()) } else { Err(damaged()) }
}

/// The blocks of a segment, its filter, and how many terms it holds.
pub type Packed = (Vec<Block>, Filter, u64);

/// Packs the sorted postings of a run of positions: the blocks, the filter, the count of terms.
pub fn pack(low: i64, postings: &[(Term, i64)]) -> Result<Packed> {
    let lists = || postings.chunk_by(|left, right| left.0 == right.0);
    let terms = lists().count() as u64;
    let mut filter = Filter::new(terms)?;
    let mut packer = crate::sqlite::index::block::Packer::new(low);
    for list in lists() {
        filter.insert(list[0].0);
        packer.term(list[0].0, list.len() as u64);
        for (_, position) in list {
            packer.position(*position);
        }
    }
    Ok((packer.finish(), filter, terms))
}
