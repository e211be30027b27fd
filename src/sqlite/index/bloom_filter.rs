//! A Bloom filter over the terms of a segment: it has no false negatives.
//!
//! It is the split-block Bloom filter of Apache Parquet. Terms are hashes already, so they are not
//! hashed again.

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
/// Ten bits a term give about one false positive in a hundred.
const BITS_PER_TERM: u64 = 10;

/// A Bloom filter over terms.
///
/// A filter takes megabytes, lives as long as its segment, and is allocated and freed by any
/// thread. An anonymous mapping returns its memory to the system when it is dropped. The C
/// library's allocator would keep room for the largest filter in each of its arenas (mallopt(3),
/// the dynamic threshold of `M_MMAP_THRESHOLD`).
#[derive(Debug)]
pub struct BloomFilter {
    bits: MmapMut,
    /// How many bytes are loaded, which is less than all of them while the filter is being read.
    len: usize,
}

impl BloomFilter {
    /// Returns how many bytes a filter for `terms` terms takes.
    pub fn bytes_for(terms: u64) -> u64 {
        (terms.saturating_mul(BITS_PER_TERM) / 8).div_ceil(BLOCK_BYTES as u64).max(1)
            * BLOCK_BYTES as u64
    }

    /// Creates an empty filter for `terms` terms. Fails with `no_memory`.
    pub fn new(terms: u64) -> Result<Self> {
        let mut filter = Self::with_bytes(Self::bytes_for(terms))?;
        filter.len = filter.bits.len();
        Ok(filter)
    }

    /// Creates a filter of `bytes` bytes whose content [`BloomFilter::load_part`] adds. Fails with
    /// `no_memory`.
    pub fn with_bytes(bytes: u64) -> Result<Self> {
        Ok(BloomFilter { bits: MmapMut::map_anon(bytes as usize)?, len: 0 })
    }

    /// Loads the next part of the bits. Returns `false` if the part has a length that cannot be
    /// right.
    pub fn load_part(&mut self, part: &[u8]) -> bool {
        let room = self.bits.get_mut(self.len..).and_then(|rest| rest.get_mut(..part.len()));
        let Some(room) = room.filter(|_| part.len().is_multiple_of(BLOCK_BYTES)) else {
            return false;
        };
        room.copy_from_slice(part);
        self.len += part.len();
        true
    }

    /// Returns the bits as the file stores them.
    pub fn bits(&self) -> &[u8] {
        &self.bits[..self.len]
    }

    /// Returns how many bytes the filter takes.
    pub fn bytes(&self) -> u64 {
        self.len as u64
    }

    /// Adds `term` to the filter.
    pub fn insert(&mut self, term: Term) {
        let block = self.block_offset(term);
        let (words, _) = self.bits[block..][..BLOCK_BYTES].as_chunks_mut::<4>();
        for (word, salt) in words.iter_mut().zip(SALT) {
            *word = (u32::from_le_bytes(*word) | bit(term, salt)).to_le_bytes();
        }
    }

    /// Returns whether `term` may have been inserted; `false` is certain.
    pub fn may_hold(&self, term: Term) -> bool {
        let block = self.block_offset(term);
        let (words, _) = self.bits[block..][..BLOCK_BYTES].as_chunks::<4>();
        words.iter().zip(SALT).all(|(word, salt)| u32::from_le_bytes(*word) & bit(term, salt) != 0)
    }

    /// Returns the offset of the filter block that holds the bits of `term`.
    fn block_offset(&self, term: Term) -> usize {
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
    fn every_inserted_term_is_found_and_few_others_are() {
        let mut filter = BloomFilter::new(10_000).unwrap();
        let term = |n: u32| Term::of_tag(&n.to_string());
        (0..10_000).for_each(|n| filter.insert(term(n)));
        let mut loaded = BloomFilter::with_bytes(filter.bytes()).unwrap();
        assert!(filter.bits().chunks(96).all(|part| loaded.load_part(part)));
        assert_eq!(loaded.bits(), filter.bits());
        assert!((0..10_000).all(|n| filter.may_hold(term(n))));
        let wrong = (10_000..30_000).filter(|&n| filter.may_hold(term(n))).count();
        assert!(wrong < 600, "{wrong} of 20,000 absent terms may be there");
    }

    #[test]
    fn only_whole_blocks_are_loaded() {
        assert_eq!(BloomFilter::new(0).unwrap().bytes(), 32);
        let mut filter = BloomFilter::with_bytes(64).unwrap();
        for (part, fits) in
            [(33, false), (0, true), (32, true), (64, false), (32, true), (32, false)]
        {
            assert_eq!(filter.load_part(&[7; 64][..part]), fits, "{part} bytes");
        }
        assert_eq!(filter.bits(), [7; 64]);
    }

    #[test]
    fn a_filter_too_large_for_memory_fails_with_no_memory() {
        let error = BloomFilter::with_bytes(1 << 60).unwrap_err();
        assert_eq!(error.status, Status::NoMemory, "{error}");
    }
}
