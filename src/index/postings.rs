//! Term -> ascending positions.

use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use crate::domain::{PositionRange, Term};

/// The positions of one term, ascending. Most terms are on one event only, so that one is inline.
#[derive(Debug)]
#[allow(clippy::box_collection)] // a third of the size, in a table of mostly single positions
pub(super) enum Postings {
    One(i64),
    Many(Box<Vec<i64>>),
}

impl Postings {
    pub fn len(&self) -> usize {
        match self {
            Postings::One(_) => 1,
            Postings::Many(positions) => positions.len(),
        }
    }

    /// The position at `index`, which is below `len`.
    pub fn get(&self, index: usize) -> i64 {
        match self {
            Postings::One(position) => *position,
            Postings::Many(positions) => positions[index],
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Where the positions in `span` stand.
    pub fn range(&self, span: PositionRange) -> Range<usize> {
        let from = self.count_through(span.after);
        from..self.count_through(span.through).max(from)
    }

    /// How many positions are at or below `position`.
    fn count_through(&self, position: i64) -> usize {
        let len = self.len();
        // Most spans begin before the first position or end behind the last one.
        if self.get(len - 1) <= position {
            return len;
        }
        if self.get(0) > position {
            return 0;
        }
        match self {
            Postings::One(_) => 0,
            Postings::Many(positions) => positions.partition_point(|&own| own <= position),
        }
    }

    /// Adds a position above all others, or the last one again: whether it is new.
    fn add(&mut self, position: i64) -> bool {
        match self {
            Postings::One(own) if *own == position => false,
            Postings::One(own) => {
                *self = Postings::Many(Box::new(vec![*own, position]));
                true
            }
            Postings::Many(positions) if positions.last() == Some(&position) => false,
            Postings::Many(positions) => {
                positions.push(position);
                true
            }
        }
    }
}

/// A term is a hash already.
#[derive(Debug, Default)]
struct TermHasher(u64);

impl Hasher for TermHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a term hashes as one u64");
    }

    fn write_u64(&mut self, term: u64) {
        self.0 = term;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Shard = HashMap<Term, Postings, BuildHasherDefault<TermHasher>>;

/// All terms, in shards: a table that grows moves all it holds, under the store's lock, so in an
/// index without bounds none is to hold very much.
#[derive(Debug)]
pub(super) struct Terms {
    shards: Box<[Shard]>,
    terms: usize,
    positions: usize,
}

/// The slot of a term in its table, with the slots that a table keeps free.
const TERM_BYTES: usize = (size_of::<(Term, Postings)>() + 1) * 3 / 2;

impl Terms {
    /// No terms yet; a power of two of shards for those to come.
    pub fn new(shards: usize) -> Self {
        Terms { shards: (0..shards).map(|_| Shard::default()).collect(), terms: 0, positions: 0 }
    }

    /// By bits that the tables themselves do not look at: they take the lowest and the highest.
    fn shard_of(&self, term: Term) -> usize {
        (term.0 >> 40) as usize & (self.shards.len() - 1)
    }

    pub fn get(&self, term: Term) -> Option<&Postings> {
        self.shards[self.shard_of(term)].get(&term)
    }

    /// Files `position`, which is not below any filed before.
    pub fn add(&mut self, term: Term, position: i64) {
        let shard = self.shard_of(term);
        match self.shards[shard].entry(term) {
            Entry::Vacant(slot) => {
                slot.insert(Postings::One(position));
                self.terms += 1;
                self.positions += 1;
            }
            Entry::Occupied(slot) => self.positions += usize::from(slot.into_mut().add(position)),
        }
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (Term, &Postings)> {
        self.shards.iter().flatten().map(|(term, postings)| (*term, postings))
    }

    pub fn footprint(&self) -> usize {
        // A list of positions has room for up to twice of what it holds.
        self.terms * TERM_BYTES + self.positions * size_of::<i64>() * 3 / 2
    }
}
