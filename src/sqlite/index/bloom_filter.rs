//! Which terms a segment may hold: a split-block Bloom filter, as Apache Parquet defines it,
//! over the terms, which are hashes already.

use memmap2::MmapMut;

use crate::domain::Term;
use crate::error::Result;

/// Odd constants that spread one hash over the eight words of a block.
const SALT: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];
const BLOCK_BYTES: usize = 32;
/// About one wrong "maybe" in a hundred.
const BITS_PER_TERM: u64 = 10;

/// A filter: never wrong when it says no.
///
/// It is of megabytes, comes and goes with its segment, and in this thread or that: in memory of
/// its own, it is given back to the system when it goes. Where the C library's allocator has it,
/// each of the arenas keeps room for the largest that was ever there (mallopt(3), the dynamic
/// threshold of `M_MMAP_THRESHOLD`).
#[derive(Debug)]
pub struct BloomFilter {
    bits: MmapMut,
    /// How many bytes are there: less than all while it is read.
    len: usize,
}

impl BloomFilter {
    /// How many bytes the filter of so many terms takes.
    pub fn bytes_for(terms: u64) -> u64 {
        (terms.saturating_mul(BITS_PER_TERM) / 8).div_ceil(BLOCK_BYTES as u64).max(1)
            * BLOCK_BYTES as u64
    }

    /// An empty filter for so many terms; `no_memory`.
    pub fn new(terms: u64) -> Result<Self> {
        let mut filter = Self::unread(Self::bytes_for(terms))?;
        filter.len = filter.bits.len();
        Ok(filter)
    }

    /// One that is read from the file, of so many bytes; `no_memory`.
    pub fn unread(bytes: u64) -> Result<Self> {
        Ok(BloomFilter { bits: MmapMut::map_anon(bytes as usize)?, len: 0 })
    }

    /// Adds the next part of what [`BloomFilter::bits`] gave; `false` if it cannot be one.
    pub fn read(&mut self, part: &[u8]) -> bool {
        let room = self.bits.get_mut(self.len..).and_then(|rest| rest.get_mut(..part.len()));
        let Some(room) = room.filter(|_| part.len().is_multiple_of(BLOCK_BYTES)) else {
            return false;
        };
        room.copy_from_slice(part);
        self.len += part.len();
        true
    }

    /// The bits, as the file holds them.
    pub fn bits(&self) -> &[u8] {
        &self.bits[..self.len]
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> u64 {
        self.len as u64
    }

    /// Notes that the segment holds `term`.
    pub fn insert(&mut self, term: Term) {
        let block = self.block_of(term);
        let (words, _) = self.bits[block..][..BLOCK_BYTES].as_chunks_mut::<4>();
        for (word, salt) in words.iter_mut().zip(SALT) {
            *word = (u32::from_le_bytes(*word) | bit(term, salt)).to_le_bytes();
        }
    }

    /// Whether the segment may hold `term`.
    pub fn may_hold(&self, term: Term) -> bool {
        let block = self.block_of(term);
        let (words, _) = self.bits[block..][..BLOCK_BYTES].as_chunks::<4>();
        words.iter().zip(SALT).all(|(word, salt)| u32::from_le_bytes(*word) & bit(term, salt) != 0)
    }

    /// Where its block begins.
    fn block_of(&self, term: Term) -> usize {
        let blocks = (self.len / BLOCK_BYTES) as u64;
        (((term.0 >> 32) * blocks) >> 32) as usize * BLOCK_BYTES
    }
}

fn bit(term: Term, salt: u32) -> u32 {
    1 << ((term.0 as u32).wrapping_mul(salt) >> 27)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;

    #[test]
    fn what_was_inserted_is_found_and_little_else() {
        let mut filter = BloomFilter::new(10_000).unwrap();
        let term = |n: u32| Term::of_tag(&n.to_string());
        (0..10_000).for_each(|n| filter.insert(term(n)));
        let mut read = BloomFilter::unread(filter.bytes()).unwrap();
        assert!(filter.bits().chunks(96).all(|part| read.read(part)));
        assert_eq!(read.bits(), filter.bits());
        assert!((0..10_000).all(|n| filter.may_hold(term(n))));
        let wrong = (10_000..30_000).filter(|&n| filter.may_hold(term(n))).count();
        assert!(wrong < 600, "{wrong} of 20,000 absent terms may be there");
    }

    #[test]
    fn only_whole_blocks_are_a_filter() {
        assert_eq!(BloomFilter::new(0).unwrap().bytes(), 32);
        let mut filter = BloomFilter::unread(64).unwrap();
        for (part, fits) in
            [(33, false), (0, true), (32, true), (64, false), (32, true), (32, false)]
        {
            assert_eq!(filter.read(&[7; 64][..part]), fits, "{part} bytes");
        }
        assert_eq!(filter.bits(), [7; 64]);
    }

    #[test]
    fn memory_that_there_is_not_is_told() {
        let error = BloomFilter::unread(1 << 60).unwrap_err();
        assert_eq!(error.status, Status::NoMemory, "{error}");
    }
}
