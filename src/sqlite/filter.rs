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

    /// The filter that [`Filter::to_bytes`] gave; `None` if it cannot be one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        if blocks.is_empty() || !rest.is_empty() {
            return None;
        }
        let words = |block: &[u8; BLOCK_BYTES]| {
            let (words, _) = block.as_chunks::<4>();
            std::array::from_fn(|index| u32::from_le_bytes(words[index]))
        };
        Some(Filter { blocks: blocks.iter().map(words).collect() })
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
        let filter = Filter::from_bytes(&filter.to_bytes()).unwrap();
        assert!((0..10_000).all(|n| filter.may_hold(term(n))));
        let wrong = (10_000..30_000).filter(|&n| filter.may_hold(term(n))).count();
        assert!(wrong < 600, "{wrong} of 20,000 absent terms may be there");
    }

    #[test]
    fn only_whole_blocks_are_a_filter() {
        assert_eq!(Filter::from_bytes(&[]), None);
        assert_eq!(Filter::from_bytes(&[0; 33]), None);
        assert_eq!(Filter::new(0).bytes(), 32);
        assert_eq!(Filter::from_bytes(&[0; 32]), Some(Filter::new(0)));
    }
}
