//! Which terms a segment may hold: a split-block Bloom filter, as Apache Parquet defines it,
//! over the terms, which are hashes already.

use crate::domain::Term;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    blocks: Vec<[u32; 8]>,
}

impl Filter {
    /// How many bytes the filter of so many terms takes.
    pub fn bytes_for(terms: u64) -> u64 {
        (terms.saturating_mul(BITS_PER_TERM) / 8).div_ceil(BLOCK_BYTES as u64).max(1)
            * BLOCK_BYTES as u64
    }

    /// An empty filter for so many terms.
    pub fn new(terms: u64) -> Self {
        let blocks = Self::bytes_for(terms) as usize / BLOCK_BYTES;
        Filter { blocks: vec![[0; 8]; blocks] }
    }

    /// One that is read from the file, with room for so many bytes.
    pub fn unread(bytes: u64) -> Self {
        Filter { blocks: Vec::with_capacity(bytes as usize / BLOCK_BYTES) }
    }

    /// Adds the next part of what [`Filter::to_bytes`] gave; `false` if it cannot be one.
    pub fn read(&mut self, part: &[u8]) -> bool {
        let (blocks, rest) = part.as_chunks::<BLOCK_BYTES>();
        let words = |block: &[u8; BLOCK_BYTES]| {
            let (words, _) = block.as_chunks::<4>();
            std::array::from_fn(|index| u32::from_le_bytes(words[index]))
        };
        self.blocks.extend(blocks.iter().map(words));
        rest.is_empty()
    }

    /// The bits, as the file holds them.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> u64 {
        (self.blocks.len() * BLOCK_BYTES) as u64
    }

    /// Notes that the segment holds `term`.
    pub fn insert(&mut self, term: Term) {
        let block = self.block_of(term);
        for (word, salt) in self.blocks[block].iter_mut().zip(SALT) {
            *word |= bit(term, salt);
        }
    }

    /// Whether the segment may hold `term`.
    pub fn may_hold(&self, term: Term) -> bool {
        let block = &self.blocks[self.block_of(term)];
        block.iter().zip(SALT).all(|(word, salt)| word & bit(term, salt) != 0)
    }

    fn block_of(&self, term: Term) -> usize {
        (((term.0 >> 32) * self.blocks.len() as u64) >> 32) as usize
    }
}

fn bit(term: Term, salt: u32) -> u32 {
    1 << ((term.0 as u32).wrapping_mul(salt) >> 27)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_little_else() {
        let mut filter = Filter::new(10_000);
        let term = |n: u32| Term::of_tag(&n.to_string());
        (0..10_000).for_each(|n| filter.insert(term(n)));
        let bytes = filter.to_bytes();
        let mut read = Filter::unread(filter.bytes());
        assert!(bytes.chunks(96).all(|part| read.read(part)));
        assert_eq!(read, filter);
        assert!((0..10_000).all(|n| filter.may_hold(term(n))));
        let wrong = (10_000..30_000).filter(|&n| filter.may_hold(term(n))).count();
        assert!(wrong < 600, "{wrong} of 20,000 absent terms may be there");
    }

    #[test]
    fn only_whole_blocks_are_a_filter() {
        assert_eq!(Filter::new(0).bytes(), 32);
        assert!(!Filter::unread(32).read(&[0; 33]));
        let mut filter = Filter::unread(32);
        assert!(filter.read(&[]));
        assert_eq!(filter.bytes(), 0);
        assert!(filter.read(&[0; 32]));
        assert_eq!(filter, Filter::new(0));
    }
}
