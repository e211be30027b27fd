//! The blocks of a segment, found without SQLite.
//!
//! Blocks are in order, and the numbers of their rows tell which one each is. So the one where a
//! list begins is found by halving, over the keys that blocks begin with; a key that is not known
//! yet is read, by the number of the row, from the pages of the file. A committed block never changes,
//! and the number of a segment is never used again. What cannot be read that way is left to SQLite.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicU32};
use std::sync::{Arc, OnceLock};

use crate::sql::Value;
use crate::sqlite::events::btree::{BTree, PageReader, ReadAhead};
use crate::sqlite::events::page::BlockRecord;
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::index::block::{Key, Unpacker};
use crate::sqlite::index::codec::{integer, row_of};

/// A segment of more blocks, some thirty million events, is left to SQLite. The keys of so many
/// take 8 MiB.
const MAX_BLOCKS: i64 = 1 << 19;
/// Look-ups that are left to SQLite where one was in vain: the segment may be in the log still.
const PATIENCE: u32 = 16;

/// What is known of a segment's blocks.
#[derive(Debug)]
pub struct BlockIndex {
    tree: Arc<BTree>,
    /// The key of each block.
    keys: OnceLock<Box<[BlockKey]>>,
    /// So many look-ups are left to SQLite.
    left: AtomicU32,
}

/// What a block begins with; position 0: not known.
#[derive(Debug, Default)]
struct BlockKey {
    term: AtomicI64,
    position: AtomicI64,
}

impl BlockKey {
    fn get(&self) -> Option<Key> {
        match self.position.load(Acquire) {
            0 => None,
            position => Some((self.term.load(Relaxed), position)),
        }
    }

    /// Whoever else sets it sets it to the same.
    fn set(&self, (term, position): Key) {
        self.term.store(term, Relaxed);
        self.position.store(position, Release);
    }
}

impl BlockIndex {
    /// Nothing is known yet of a segment with blocks in this tree.
    pub fn new(tree: Arc<BTree>) -> Self {
        BlockIndex { tree, keys: OnceLock::new(), left: AtomicU32::new(0) }
    }

    /// For one look-up in the segment of this number, of the positions above `low`; `None`: it is
    /// left to SQLite.
    pub fn blocks<'a>(
        &'a self,
        source: Source<'a>,
        segment: i64,
        low: i64,
    ) -> ReadResult<Option<BlockLookup<'a>>> {
        let left = self.left.load(Relaxed);
        if left > 0 {
            self.left.store(left - 1, Relaxed);
            return Ok(None);
        }
        let keys = match self.keys.get() {
            Some(keys) => keys,
            None if !self.tree.is_in_reach(source) => return Ok(None),
            None => {
                let count = count(source, segment)?;
                self.keys.get_or_init(|| unknown(count))
            }
        };
        let pages = PageReader::new(Arc::clone(&self.tree));
        Ok(Some(BlockLookup { fences: self, keys, source, segment, low, pages }))
    }
}

#[cfg(test)]
impl BlockIndex {
    /// How many keys are known, and of how many.
    pub fn known(&self) -> (usize, usize) {
        let keys = self.keys.get().map_or(&[][..], |keys| keys);
        (keys.iter().filter(|fence| fence.get().is_some()).count(), keys.len())
    }
}

/// So many keys that are not known; none where there is not the memory for them: what is found
/// without them is left to SQLite.
fn unknown(count: i64) -> Box<[BlockKey]> {
    let (count, mut keys) = (count as usize, Vec::new());
    if keys.try_reserve_exact(count).is_ok() {
        keys.resize_with(count, BlockKey::default);
    }
    keys.into()
}

/// How many blocks the segment has; 0 where they are too many.
fn count(source: Source<'_>, segment: i64) -> ReadResult<i64> {
    let first = row_of(segment, 0);
    let bounds = [first, row_of(segment.wrapping_add(1), 0)].map(Value::Integer);
    let sql = "SELECT rowid FROM dcb_postings WHERE rowid >= ?1 AND rowid < ?2 \
               ORDER BY rowid DESC LIMIT 1";
    let last = source.sql()?.query_row(sql, &bounds, |row| integer(row, 0))?;
    let count = last.map_or(0, |last| last.wrapping_sub(first).wrapping_add(1));
    Ok(if count <= MAX_BLOCKS { count } else { 0 })
}

/// The blocks of a segment, for one look-up.
pub struct BlockLookup<'a> {
    fences: &'a BlockIndex,
    keys: &'a [BlockKey],
    source: Source<'a>,
    segment: i64,
    low: i64,
    pages: PageReader,
}

impl BlockLookup<'_> {
    /// The number of the last block that begins at or below `wanted`, or of the first of all.
    pub fn find(&mut self, wanted: Key) -> Option<u32> {
        let keys = self.keys;
        // All blocks below `low` begin at or below what is wanted, those from `high` on above it.
        let (mut low, mut high) = (0, keys.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let key = match keys[middle].get() {
                Some(key) => key,
                None => self.get(u32::try_from(middle).ok()?)?.0,
            };
            if key <= wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        u32::try_from(low.saturating_sub(1)).ok()
    }

    /// The block of this number, and what it begins with; `None`: SQLite may have it.
    pub fn get(&mut self, number: u32) -> Option<(Key, Unpacker<'_>)> {
        let fence = self.keys.get(number as usize)?;
        let row = row_of(self.segment, number);
        let (segment, low) = (self.segment, self.low);
        let own = |bytes| {
            let block = Unpacker::new(bytes, segment, low).ok()?;
            (block.number == number).then_some(block)
        };
        let found = self
            .pages
            .leaf(self.source, row, ReadAhead::None)
            .and_then(|leaf| BlockRecord::parse(leaf.record(row)?))
            .and_then(|raw| own(raw.bytes))
            .and_then(|block| Some((block.key().ok()?, block)));
        match &found {
            Some((key, _)) => fence.set(*key),
            None => self.fences.left.store(PATIENCE, Relaxed),
        }
        found
    }
}
