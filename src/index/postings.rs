//! Postings: for each term, the ascending list of the positions that have it.

use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use crate::domain::{PositionRange, Term};
use crate::position::Position;

/// The positions of one term, ascending. Most terms have one position, which is stored in place.
#[derive(Debug)]
#[allow(clippy::box_collection)] // a third of the size in a table of mostly single positions
pub(super) enum Postings {
    One(Position),
    Many(Box<Vec<Position>>),
}

impl Postings {
    pub fn len(&self) -> usize {
        match self {
            Postings::One(_) => 1,
            Postings::Many(positions) => positions.len(),
        }
    }

    /// Returns the position at `index`, which must be less than the number of positions.
    pub fn get(&self, index: usize) -> Position {
        match self {
            Postings::One(position) => *position,
            Postings::Many(positions) => positions[index],
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Position> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Returns the indexes of the positions in `span`.
    pub fn range(&self, span: PositionRange) -> Range<usize> {
        let from = self.count_through(span.after);
        from..self.count_through(span.through).max(from)
    }

    /// Returns how many positions are at or below `position`.
    fn count_through(&self, position: Position) -> usize {
        let len = self.len();
        // Most ranges begin before the first position or end after the last one.
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

    /// Adds a position that is not below the last one. Returns whether it is new.
    fn add(&mut self, position: Position) -> bool {
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

/// A hasher that returns the term itself, since a term is a hash already.
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

/// All terms, in shards. A growing table moves all of its entries while the store's lock is held,
/// so an unbounded index has many small tables.
#[derive(Debug)]
pub(super) struct Terms {
    shards: Box<[Shard]>,
    terms: usize,
    positions: usize,
}

/// The bytes that a term takes in its table, including a share of the free slots.
const TERM_BYTES: usize = (size_of::<(Term, Postings)>() + 1) * 3 / 2;

impl Terms {
    /// Returns an empty set of terms. `shards` must be a power of two.
    pub fn new(shards: usize) -> Self {
        Terms { shards: (0..shards).map(|_| Shard::default()).collect(), terms: 0, positions: 0 }
    }

    /// Returns the shard of a term. It uses the middle bits, since the tables themselves use the
    /// lowest and the highest.
    fn shard_of(&self, term: Term) -> usize {
        (term.0 >> 40) as usize & (self.shards.len() - 1)
    }

    pub fn get(&self, term: Term) -> Option<&Postings> {
        self.shards[self.shard_of(term)].get(&term)
    }

    /// Adds a position to a term. It must not be below any position added before.
    pub fn add(&mut self, term: Term, position: Position) {
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

    pub fn iter(&self) -> impl Iterator<Item = (Term, &Postings)> {
        self.shards.iter().flatten().map(|(term, postings)| (*term, postings))
    }

    /// Returns the number of positions of all terms together.
    pub fn count_positions(&self) -> usize {
        self.positions
    }

    pub fn footprint(&self) -> usize {
        // A list has room for up to twice its positions, so one and a half times on average.
        self.terms * TERM_BYTES + self.positions * size_of::<Position>() * 3 / 2
    }
}
