//! The format of a block: sorted (term, position) pairs of one segment, packed into one row.
//!
//! A block starts with four bytes, little-endian: twice its number in the segment, counted from 0,
//! plus 1 in the last block. Runs follow, and then the CRC-32 of the segment's number (eight bytes,
//! little-endian) and of everything before the CRC. A run is a term and some of its positions:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8, little-endian | the term |
//! | varint | how many positions of this term the segment holds after this run |
//! | varint | how many positions this run holds |
//! | varints | the first position minus the segment's `low`, then the difference to each next one |
//!
//! So a block identifies itself: its segment, its number, and whether another block follows. A
//! reader that found a row need not trust any other column of it.

use crate::domain::Term;

/// The key of a block, or of a pair in one: a term as the column stores it, and a position.
pub type Key = (i64, i64);

/// Two rows of this size fit on a B-tree page of 4,096 bytes.
const MAX_BYTES: usize = 2_000;
const HEAD_BYTES: usize = 4;
const CRC_BYTES: usize = 4;
/// The largest size of a run's header together with one position.
const RUN_ROOM: usize = 8 + 10 + 3 + 10;

/// A finished block. Its key is the first pair in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The term of the first pair.
    pub term: Term,
    /// The position of the first pair.
    pub position: i64,
    /// The block's number in its segment, counted from 0.
    pub number: u32,
    /// The encoded block without its checksum.
    bytes: Vec<u8>,
}

impl Block {
    /// Returns the encoded block with its checksum, as a block of this segment.
    pub fn sealed(&self, segment: i64) -> Vec<u8> {
        let crc = checksum(segment, &self.bytes);
        [&self.bytes[..], &crc.to_le_bytes()].concat()
    }
}

fn checksum(segment: i64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Packs sorted pairs into blocks.
#[derive(Debug)]
pub struct Packer {
    low: i64,
    done: Vec<Block>,
    /// The number of the block that is being filled.
    number: u32,
    key: Option<(Term, i64)>,
    bytes: Vec<u8>,
    run: Run,
}

#[derive(Debug)]
struct Run {
    term: Term,
    /// How many positions of the term are not packed yet.
    left: u64,
    count: u64,
    last: i64,
    deltas: Vec<u8>,
}

impl Packer {
    /// Creates a packer for a segment that covers the positions above `low`.
    pub fn new(low: i64) -> Self {
        Packer {
            low,
            done: Vec::new(),
            number: 0,
            key: None,
            bytes: new_block(),
            run: Run { term: Term(0), left: 0, count: 0, last: low, deltas: Vec::new() },
        }
    }

    /// Starts a term, which must be above the previous one; `total` positions of it must follow.
    pub fn term(&mut self, term: Term, total: u64) {
        self.end_run();
        self.run.term = term;
        self.run.left = total;
    }

    /// Adds a position of the current term, which must be above the previous one.
    pub fn position(&mut self, position: i64) {
        if self.bytes.len() + self.run.deltas.len() + RUN_ROOM + CRC_BYTES > MAX_BYTES {
            self.end_run();
            self.end_block(false);
        }
        if self.key.is_none() {
            self.key = Some((self.run.term, position));
        }
        push_varint(&mut self.run.deltas, (position - self.run.last) as u64);
        self.run.last = position;
        self.run.count += 1;
        self.run.left -= 1;
    }

    /// Removes and returns the blocks that are full.
    pub fn take(&mut self) -> Vec<Block> {
        std::mem::take(&mut self.done)
    }

    /// Returns the remaining blocks, the last one marked as the last of the segment.
    pub fn finish(mut self) -> Vec<Block> {
        self.end_run();
        self.end_block(true);
        self.done
    }

    fn end_run(&mut self) {
        if self.run.count > 0 {
            self.bytes.extend_from_slice(&self.run.term.0.to_le_bytes());
            push_varint(&mut self.bytes, self.run.left);
            push_varint(&mut self.bytes, self.run.count);
            self.bytes.append(&mut self.run.deltas);
        }
        self.run.count = 0;
        self.run.last = self.low;
    }

    fn end_block(&mut self, is_last: bool) {
        if let Some((term, position)) = self.key.take() {
            let mut bytes = std::mem::replace(&mut self.bytes, new_block());
            let head = self.number << 1 | u32::from(is_last);
            bytes[..HEAD_BYTES].copy_from_slice(&head.to_le_bytes());
            self.done.push(Block { term, position, number: self.number, bytes });
            self.number += 1;
        }
    }
}

fn new_block() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAX_BYTES);
    bytes.resize(HEAD_BYTES, 0);
    bytes
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// The error for a block that differs from what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

/// Returns the term as the column stores it: SQLite's integers are signed, and with the top bit
/// flipped they sort in the order of the terms.
pub fn key(term: Term) -> i64 {
    (term.0 ^ (1 << 63)) as i64
}

/// The header of a run.
#[derive(Debug, Clone, Copy)]
pub struct RunHead {
    /// The term whose positions the run holds.
    pub term: Term,
    /// How many positions of the term follow in later blocks.
    pub left: u64,
    /// How many positions the run holds.
    pub count: u64,
}

/// Decodes a block, run by run.
#[derive(Debug, Clone, Copy)]
pub struct Unpacker<'a> {
    /// The block's number in its segment, counted from 0.
    pub number: u32,
    /// Whether this is the last block of its segment.
    pub is_last: bool,
    rest: &'a [u8],
    low: i64,
}

impl<'a> Unpacker<'a> {
    /// Checks that `bytes` are a block of this segment, which covers the positions above `low`.
    pub fn new(bytes: &'a [u8], segment: i64, low: i64) -> Result<Self, Damaged> {
        let (bytes, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(Damaged)?;
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Damaged)?;
        if checksum(segment, bytes) != u32::from_le_bytes(*crc) {
            return Err(Damaged);
        }
        let head = u32::from_le_bytes(*head);
        Ok(Unpacker { number: head >> 1, is_last: head & 1 == 1, rest, low })
    }

    /// Returns the key of the block, which is its first pair.
    pub fn key(mut self) -> Result<Key, Damaged> {
        let head = self.run()?.ok_or(Damaged)?;
        let distance = self.varint()?;
        Ok((key(head.term), self.low.wrapping_add(distance as i64)))
    }

    /// Reads the header of the next run. [`Unpacker::positions`] or [`Unpacker::skip`] must follow.
    pub fn run(&mut self) -> Result<Option<RunHead>, Damaged> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (term, rest) = self.rest.split_first_chunk::<8>().ok_or(Damaged)?;
        self.rest = rest;
        let (left, count) = (self.varint()?, self.varint()?);
        Ok(Some(RunHead { term: Term(u64::from_le_bytes(*term)), left, count }))
    }

    /// Skips the runs of all terms below `term`, and reads the header of the next run as
    /// [`Unpacker::run`] does.
    pub fn seek(&mut self, term: Term) -> Result<Option<RunHead>, Damaged> {
        let bytes = self.rest;
        let mut at = 0;
        while let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<10>()) {
            let [own @ .., left, count] = head;
            if u64::from_le_bytes(*own) >= term.0 {
                break;
            }
            if (*left, *count) == (0, 1) {
                // Most terms have one position, and it takes few bytes.
                at += head.len();
                at += varint_len(bytes.get(at..).ok_or(Damaged)?)?;
            } else {
                self.rest = bytes.get(at..).ok_or(Damaged)?;
                if let Some(head) = self.run()? {
                    self.skip(head)?;
                }
                at = bytes.len() - self.rest.len();
            }
        }
        self.rest = bytes.get(at..).ok_or(Damaged)?;
        self.run()
    }

    /// Calls `each` with every position of the run, ascending.
    pub fn positions(&mut self, head: RunHead, mut each: impl FnMut(i64)) -> Result<(), Damaged> {
        let mut position = self.low;
        for _ in 0..head.count {
            position = position.wrapping_add(self.varint()? as i64);
            each(position);
        }
        Ok(())
    }

    /// Skips the positions of the run.
    pub fn skip(&mut self, head: RunHead) -> Result<(), Damaged> {
        let mut count = head.count;
        let mut at = 0;
        while count > 0 {
            let byte = self.rest.get(at).ok_or(Damaged)?;
            count -= u64::from(*byte < 0x80);
            at += 1;
        }
        self.rest = &self.rest[at..];
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (index * 7);
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Damaged)
    }
}

/// Returns the length of the varint at the start of `bytes`.
fn varint_len(bytes: &[u8]) -> Result<usize, Damaged> {
    if let Some(word) = bytes.first_chunk::<4>() {
        // The last byte of a varint is the one without the highest bit.
        let last = !u32::from_le_bytes(*word) & 0x8080_8080;
        if last != 0 {
            return Ok(last.trailing_zeros() as usize / 8 + 1);
        }
    }
    bytes.iter().position(|byte| *byte < 0x80).map(|last| last + 1).ok_or(Damaged)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn pack(lists: &BTreeMap<u64, BTreeSet<i64>>, low: i64) -> Vec<Block> {
        let mut packer = Packer::new(low);
        let mut blocks = Vec::new();
        for (term, positions) in lists {
            packer.term(Term(*term), positions.len() as u64);
            positions.iter().for_each(|position| packer.position(*position));
            blocks.append(&mut packer.take());
        }
        blocks.append(&mut packer.finish());
        blocks
    }

    proptest! {
        #[test]
        fn packed_pairs_unpack_unchanged(
            low in 0..1_000_000_i64,
            lists in prop::collection::btree_map(
                any::<u64>(), prop::collection::btree_set(1..100_000_i64, 1..2_000), 0..20),
        ) {
            let lists: BTreeMap<u64, BTreeSet<i64>> = lists
                .into_iter()
                .map(|(term, set)| (term, set.into_iter().map(|own| own + low).collect()))
                .collect();
            let mut left: BTreeMap<u64, u64> =
                lists.iter().map(|(term, set)| (*term, set.len() as u64)).collect();
            let mut unpacked = Vec::new();
            let (mut count, mut was_last) = (0, false);
            for block in pack(&lists, low) {
                let bytes = block.sealed(9);
                prop_assert!(bytes.len() <= MAX_BYTES);
                prop_assert!(Unpacker::new(&bytes, 8, low).is_err());
                let mut unpacker = Unpacker::new(&bytes, 9, low).unwrap();
                prop_assert_eq!(unpacker.number, count);
                prop_assert!(!was_last);
                (count, was_last) = (count + 1, unpacker.is_last);
                prop_assert_eq!(unpacker.key().unwrap(), (key(block.term), block.position));
                let mut skipper = unpacker;
                let first = unpacked.len();
                while let Some(head) = unpacker.run().unwrap() {
                    let own = left.get_mut(&head.term.0).unwrap();
                    *own -= head.count;
                    prop_assert_eq!(head.left, *own);
                    let push = |position| unpacked.push((head.term.0, position));
                    unpacker.positions(head, push).unwrap();
                    let skipped = skipper.run().unwrap().unwrap();
                    skipper.skip(skipped).unwrap();
                }
                prop_assert!(skipper.run().unwrap().is_none());
                prop_assert_eq!(unpacked[first], (block.term.0, block.position));
            }
            prop_assert!(was_last || lists.is_empty());
            let wanted: Vec<_> = lists
                .iter()
                .flat_map(|(term, set)| set.iter().map(|position| (*term, *position)))
                .collect();
            prop_assert_eq!(unpacked, wanted);
        }

        /// A search for a term ends where reading run after run ends, also in bytes that are no block.
        #[test]
        fn a_search_finds_what_reading_every_run_finds(
            lists in prop::collection::btree_map(
                0..400_u64,
                prop_oneof![
                    4 => prop::collection::btree_set(1..100_000_i64, 1..2),
                    1 => prop::collection::btree_set(1..(1_i64 << 60), 1..300),
                ],
                1..150),
            term in 0..410_u64,
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in 0..30_usize,
        ) {
            for block in pack(&lists, 0) {
                let mut bytes = block.bytes[HEAD_BYTES..].to_vec();
                for is_damaged in [false, true] {
                    if is_damaged {
                        flips.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
                        bytes.truncate(bytes.len().saturating_sub(cut));
                    }
                    let mut quick = Unpacker { number: 0, is_last: false, rest: &bytes, low: 0 };
                    let mut plain = quick;
                    let mut read_every_run = || loop {
                        match plain.run()? {
                            Some(head) if head.term < Term(term) => plain.skip(head)?,
                            other => return Ok(other),
                        }
                    };
                    let parts = |found: Result<Option<RunHead>, Damaged>| {
                        found.map(|head| head.map(|head| (head.term, head.left, head.count)))
                    };
                    let wanted = parts(read_every_run());
                    prop_assert_eq!(parts(quick.seek(Term(term))), wanted);
                    if wanted.is_ok() {
                        prop_assert_eq!(quick.rest, plain.rest);
                    }
                }
            }
        }

        #[test]
        fn changing_any_byte_of_a_block_is_detected(
            byte in any::<prop::sample::Index>(), flip in 1..=255_u8,
        ) {
            let lists = BTreeMap::from([(7, BTreeSet::from([11, 12, 900])), (9, BTreeSet::from([5]))]);
            let mut bytes = pack(&lists, 3).remove(0).sealed(1);
            let at = byte.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Unpacker::new(&bytes, 1, 3).is_err());
        }
    }
}
