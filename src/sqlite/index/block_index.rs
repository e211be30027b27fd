//! The block index of a segment: the key of each block, in memory, so that a block is found without
//! SQLite.
//!
//! Blocks are sorted, and the rowid of a block follows from its number. So the block where a list
//! starts is found by a binary search over the keys of the blocks. A key that is not known yet is
//! read by rowid from the pages of the file. Known keys stay valid, because a committed block never
//! changes and the number of a segment is never reused. SQLite handles every lookup that cannot be
//! served this way. The index takes no lock: keys are published by atomic stores.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicU32};
use std::sync::{Arc, OnceLock};

use crate::sql::Value;
use crate::sqlite::events::btree::BTree;
use crate::sqlite::events::page::BlockRecord;
use crate::sqlite::events::page_reader::{PageReader, ReadAhead};
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::index::block::{Key, Unpacker};
use crate::sqlite::index::codec::{integer, rowid_of};

/// A segment of more blocks (some thirty million events) is searched by SQLite alone. The keys of
/// this many blocks take 8 MiB.
const MAX_BLOCKS: i64 = 1 << 19;
/// After a page lookup that failed, SQLite serves this many lookups: the segment may still be only
/// in the WAL.
const LOOKUPS_AFTER_MISS: u32 = 16;

/// The keys of a segment's blocks, as far as they are known.
#[derive(Debug)]
pub struct BlockIndex {
    tree: Arc<BTree>,
    /// The key of each block; empty until the first lookup.
    keys: OnceLock<Box<[BlockKey]>>,
    /// How many of the next lookups are left to SQLite.
    lookups_for_sqlite: AtomicU32,
}

/// The key of a block. Position 0 means that it is not known yet.
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

    /// Stores the key. Threads may race here, but they all store the same key.
    fn set(&self, (term, position): Key) {
        self.term.store(term, Relaxed);
        self.position.store(position, Release);
    }
}

impl BlockIndex {
    /// Creates the index of a segment whose blocks are in this tree, with no key known.
    pub fn new(tree: Arc<BTree>) -> Self {
        BlockIndex { tree, keys: OnceLock::new(), lookups_for_sqlite: AtomicU32::new(0) }
    }

    /// Prepares one lookup in the segment with this number, which covers the positions above `low`.
    /// Returns `None` where SQLite has to serve the lookup.
    pub fn blocks<'a>(
        &'a self,
        source: Source<'a>,
        segment: i64,
        low: i64,
    ) -> ReadResult<Option<BlockLookup<'a>>> {
        let lookups_for_sqlite = self.lookups_for_sqlite.load(Relaxed);
        if lookups_for_sqlite > 0 {
            self.lookups_for_sqlite.store(lookups_for_sqlite - 1, Relaxed);
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
        Ok(Some(BlockLookup { index: self, keys, source, segment, low, pages }))
    }
}

#[cfg(test)]
impl BlockIndex {
    /// Returns how many keys are known, and how many there are.
    pub fn known(&self) -> (usize, usize) {
        let keys = self.keys.get().map_or(&[][..], |keys| keys);
        (keys.iter().filter(|slot| slot.get().is_some()).count(), keys.len())
    }
}

/// Returns `count` unknown keys, or none if there is not enough memory for them: then SQLite serves
/// every lookup.
fn unknown(count: i64) -> Box<[BlockKey]> {
    let (count, mut keys) = (count as usize, Vec::new());
    if keys.try_reserve_exact(count).is_ok() {
        keys.resize_with(count, BlockKey::default);
    }
    keys.into()
}

/// Returns how many blocks the segment has, or 0 if they are too many for the index.
fn count(source: Source<'_>, segment: i64) -> ReadResult<i64> {
    let first = rowid_of(segment, 0);
    let bounds = [first, rowid_of(segment.wrapping_add(1), 0)].map(Value::Integer);
    let sql = "SELECT rowid FROM main.dcb_postings WHERE rowid >= ?1 AND rowid < ?2 \
               ORDER BY rowid DESC LIMIT 1";
    let last = source.sql()?.query_row(sql, &bounds, |row| integer(row, 0))?;
    let count = last.map_or(0, |last| last.wrapping_sub(first).wrapping_add(1));
    Ok(if count <= MAX_BLOCKS { count } else { 0 })
}

/// One lookup in the blocks of a segment.
pub struct BlockLookup<'a> {
    index: &'a BlockIndex,
    keys: &'a [BlockKey],
    source: Source<'a>,
    segment: i64,
    low: i64,
    pages: PageReader,
}

impl BlockLookup<'_> {
    /// Returns the number of the last block whose key is at or below `wanted`, or 0 if no key is.
    pub fn find(&mut self, wanted: Key) -> Option<u32> {
        let keys = self.keys;
        // The keys of all blocks below `low` are at or below `wanted`; from `high` on they are
        // above.
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

    /// Returns the block with this number, and its key. `None` means that SQLite may have it.
    pub fn get(&mut self, number: u32) -> Option<(Key, Unpacker<'_>)> {
        let slot = self.keys.get(number as usize)?;
        let row = rowid_of(self.segment, number);
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
            Some((key, _)) => slot.set(*key),
            None => self.index.lookups_for_sqlite.store(LOOKUPS_AFTER_MISS, Relaxed),
        }
        found
    }
}
