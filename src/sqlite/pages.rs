//! Events, and blocks of the index, read straight from the pages of the database file.
//!
//! To find one row costs SQLite's virtual machine and page cache several times as much as it costs
//! to read the page that the row is on. An event never changes, and its checksum covers its
//! position: bytes of the file that pass as the event at a position are that event, wherever they
//! were found and whatever is written at the same moment. So it is with a block and its number in
//! a segment. So the trees of `dcb_events` and `dcb_postings` are walked here without any lock, and
//! what is not found, or does not pass, is left to SQLite: rows that only the log holds yet, those
//! that do not fit on a page, pages that another program has moved, and all of them while the file
//! is not known to be of one moment, since a checkpoint writes it or was held up (`file.rs`).
//!
//! The format of pages and records: <https://sqlite.org/fileformat2.html>.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, PoisonError, RwLock};

use super::database::Database;
use super::file::FileState;

/// Pages that a scan reads at a time.
const RUN_PAGES: u32 = 16;
/// Children of inner pages that are remembered, at 16 bytes each: those of some ten million events.
const MAX_CHILDREN: usize = 1 << 20;
/// Look-ups after which one is tried again where the file was found to end.
const PATIENCE: u32 = 64;
/// So often what is found may not be what was looked for before the root is looked up again.
const DOUBTS: u32 = 16;
/// No tree of SQLite's is deeper.
const MAX_DEPTH: usize = 20;

/// What the connections of a store know of the tree of a table. All of it may be out of date: what
/// is found by it is checked.
#[derive(Debug)]
pub struct Tree {
    table: &'static str,
    /// The page of the root; 0: not looked up.
    root: AtomicU32,
    /// Bytes of a page, and those of them that SQLite uses.
    page: AtomicU32,
    usable: AtomicU32,
    inner: RwLock<Inner>,
    /// How often what was found was not what was looked for.
    doubts: AtomicU32,
    /// In which state the file was last seen to be whole, which cannot be seen later on.
    whole: RwLock<Option<[u32; 4]>>,
}

#[derive(Debug, Default)]
struct Inner {
    pages: HashMap<u32, Branch>,
    children: usize,
}

/// Where the tree is in the file.
#[derive(Debug, Clone, Copy)]
struct Place {
    root: u32,
    /// Bytes of a page, and those of them that SQLite uses.
    page: usize,
    usable: usize,
}

/// The first byte of an inner page of a table, and of a leaf.
const BRANCH: u8 = 0x05;
const LEAF: u8 = 0x0d;

/// A child of an inner page: its page, and the highest position below it. The last child's is
/// not known: it counts as without end.
#[derive(Debug, Clone, Copy)]
struct Child {
    high: i64,
    page: u32,
}

/// An inner page's children, in order: one piece of memory, since to look into a large tree is to
/// wait for memory.
type Branch = Arc<[Child]>;

fn parse_branch(page: &[u8]) -> Option<Branch> {
    let count = usize::from(be16(page, 3)?);
    let mut children = Vec::with_capacity(count + 1);
    for index in 0..count {
        let cell = page.get(usize::from(be16(page, 12 + 2 * index)?)..)?;
        children.push(Child { high: varint(cell.get(4..)?)?.0, page: be32(cell, 0)? });
    }
    children.push(Child { high: i64::MAX, page: be32(page, 8)? });
    children.is_sorted_by_key(|child| child.high).then(|| children.into())
}

/// How far from where it should be a child is looked for before all are.
const NEAR: usize = 4;

/// The first child whose positions reach up to `position`. Pages of rows that were appended hold
/// about as many positions each, so it is looked for where it should be.
fn child_of(branch: &[Child], position: i64) -> Option<u32> {
    let last = branch.len().checked_sub(1)?;
    let is_below = |index: usize| branch[index].high < position;
    // The children between which the answer is: `low` is below the position, or none is.
    let (mut low, mut high) = (0, last);
    if let [first, .., before_last, _] = branch {
        let span = before_last.high.wrapping_sub(first.high);
        let share = position.wrapping_sub(first.high) as f64 / span.max(1) as f64;
        let guess = (share * (last - 1) as f64) as usize;
        let (from, to) = (guess.saturating_sub(NEAR), guess.saturating_add(NEAR).min(last));
        if from <= to && (from == 0 || is_below(from)) && (to == last || !is_below(to)) {
            (low, high) = (from, to);
        }
    }
    let within = branch[low..high].partition_point(|child| child.high < position);
    branch.get(low + within).map(|child| child.page)
}

impl Tree {
    /// The tree of `dcb_events`, by position.
    pub fn of_events() -> Self {
        Self::of("dcb_events")
    }

    /// The tree of `dcb_postings`, by the number of the row.
    pub fn of_postings() -> Self {
        Self::of("dcb_postings")
    }

    fn of(table: &'static str) -> Self {
        Tree {
            table,
            root: AtomicU32::default(),
            page: AtomicU32::default(),
            usable: AtomicU32::default(),
            inner: RwLock::default(),
            doubts: AtomicU32::default(),
            whole: RwLock::default(),
        }
    }

    /// Whether it can be walked on this connection.
    pub fn is_in_reach(&self, connection: &dyn Database) -> bool {
        self.locate(connection).is_some()
    }

    /// What is found is not the row. Somebody may have had the file rewritten, and the root is
    /// elsewhere by now.
    pub fn doubt(&self) {
        if self.doubts.fetch_add(1, Relaxed) % DOUBTS == DOUBTS - 1 {
            self.root.store(0, Release);
            // Those of the old tree may lead to leaves of another.
            *self.inner.write().unwrap_or_else(PoisonError::into_inner) = Inner::default();
        }
    }

    /// Where the tree is; found out by the first who asks.
    fn locate(&self, connection: &dyn Database) -> Option<Place> {
        let root = self.root.load(Acquire);
        if root != 0 {
            let (page, usable) = (self.page.load(Relaxed), self.usable.load(Relaxed));
            return Some(Place { root, page: page as usize, usable: usable as usize });
        }
        let mut head = [0; 21];
        if !connection.read_file(&mut head, 0, &mut |_| true) {
            return None;
        }
        let page = match be16(&head, 16)? {
            1 => 65_536,
            size => u32::from(size),
        };
        let usable = page.checked_sub(u32::from(head[20]))?;
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root = connection.query_row(sql, &[self.table.into()], |row| Ok(row.integer(0)));
        let root = root.ok()??;
        let root = u32::try_from(root?).ok()?;
        if !(512..=65_536).contains(&page) || usable < 480 {
            return None;
        }
        self.page.store(page, Relaxed);
        self.usable.store(usable, Relaxed);
        self.root.store(root, Release);
        Some(Place { root, page: page as usize, usable: usable as usize })
    }

    /// Whether what the file holds in this state is of one moment.
    fn is_whole(&self, state: FileState) -> bool {
        let known = *self.whole.read().unwrap_or_else(PoisonError::into_inner);
        if state.is_whole && known != Some(state.words) {
            *self.whole.write().unwrap_or_else(PoisonError::into_inner) = Some(state.words);
        }
        state.is_whole || known == Some(state.words)
    }

    fn known(&self, number: u32) -> Option<Branch> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).pages.get(&number).cloned()
    }

    fn remember(&self, number: u32, branch: &Branch) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.children += branch.len();
        if inner.children > MAX_CHILDREN {
            *inner = Inner { pages: HashMap::new(), children: branch.len() };
        }
        if let Some(older) = inner.pages.insert(number, Arc::clone(branch)) {
            inner.children -= older.len();
        }
    }

    fn forget(&self, path: &[u32]) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for number in path {
            if let Some(branch) = inner.pages.remove(number) {
                inner.children -= branch.len();
            }
        }
    }
}

/// How many pages are read at a time, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// One: that of the event that is asked for.
    None,
    /// Those behind it too.
    Behind,
    /// Those before it too.
    Before,
}

/// One connection's pages.
#[derive(Debug, Default)]
pub struct Pages {
    /// `None`: everything is left to SQLite.
    tree: Option<Arc<Tree>>,
    /// Pages of the file, one after the other, the first of them this one.
    run: Vec<u8>,
    first: u32,
    /// The file was found to hold no position from here on,
    end: i64,
    /// which is believed for so many look-ups.
    believed: u32,
    /// The last look-up ended at a page that could not be read.
    is_unread: bool,
}

impl Pages {
    /// The pages of a connection of the store with this tree.
    pub fn new(tree: Arc<Tree>) -> Self {
        Pages { tree: Some(tree), end: i64::MAX, ..Pages::default() }
    }

    /// Whether everything is left to SQLite.
    pub fn are_off(&self) -> bool {
        self.tree.is_none()
    }

    /// The leaf that holds the row of `position`, if there is one in the file.
    pub fn leaf(
        &mut self,
        connection: &dyn Database,
        position: i64,
        ahead: Ahead,
    ) -> Option<Leaf<'_>> {
        let tree = Arc::clone(self.tree.as_ref()?);
        if position >= self.end {
            if self.believed > 0 {
                self.believed -= 1;
                return None;
            }
            self.end = i64::MAX;
        }
        self.is_unread = false;
        let place = tree.locate(connection)?;
        // Once more by what the file holds now, where what was known of it does not lead there.
        for _ in 0..2 {
            let (mut path, mut depth) = ([0; MAX_DEPTH], 0);
            let at = self.descend(connection, &tree, place, position, ahead, &mut path, &mut depth);
            let found = at.filter(|at| {
                Leaf::parse(&self.run[at.clone()], place).is_some_and(|leaf| leaf.has(position))
            });
            if let Some(at) = found {
                return Leaf::parse(&self.run[at], place);
            }
            if self.is_unread {
                return None;
            }
            tree.forget(&path[..depth]);
            self.run.clear();
        }
        (self.end, self.believed) = (position, PATIENCE);
        self.doubt();
        None
    }

    /// What was found is not the row.
    pub fn doubt(&self) {
        // Of what could not be read, nothing is known.
        if let Some(tree) = self.tree.as_ref().filter(|_| !self.is_unread) {
            tree.doubt();
        }
    }

    /// Where in the run the leaf is that `position` has to be on.
    #[expect(clippy::too_many_arguments, reason = "the state of one walk")]
    fn descend(
        &mut self,
        connection: &dyn Database,
        tree: &Tree,
        place: Place,
        position: i64,
        ahead: Ahead,
        path: &mut [u32; MAX_DEPTH],
        depth: &mut usize,
    ) -> Option<Range<usize>> {
        let mut number = place.root;
        while *depth < MAX_DEPTH {
            let branch = match tree.known(number) {
                Some(branch) => branch,
                None => {
                    let at = self.load(connection, tree, place, number, ahead)?;
                    let page = &self.run[at.clone()];
                    if *page.first()? != BRANCH {
                        return Some(at);
                    }
                    let branch = parse_branch(page)?;
                    tree.remember(number, &branch);
                    branch
                }
            };
            path[*depth] = number;
            *depth += 1;
            number = child_of(&branch, position)?;
        }
        None
    }

    /// Where in the run the page is.
    fn load(
        &mut self,
        connection: &dyn Database,
        tree: &Tree,
        place: Place,
        number: u32,
        ahead: Ahead,
    ) -> Option<Range<usize>> {
        let within = |first: u32, len: usize| {
            let start = usize::try_from(number.checked_sub(first)?).ok()? * place.page;
            (start + place.page <= len).then_some(start..start + place.page)
        };
        if let Some(at) = within(self.first, self.run.len()) {
            return Some(at);
        }
        let (first, count) = match ahead {
            Ahead::None => (number, 1),
            Ahead::Behind => (number, RUN_PAGES),
            Ahead::Before => {
                let first = number.saturating_sub(RUN_PAGES - 1).max(1);
                (first, number.checked_sub(first)? + 1)
            }
        };
        self.run.resize(count as usize * place.page, 0);
        let offset = u64::from(first.checked_sub(1)?) * place.page as u64;
        if !connection.read_file(&mut self.run, offset, &mut |state| tree.is_whole(state)) {
            self.run.clear();
            self.is_unread = true;
            return None;
        }
        self.first = first;
        within(first, self.run.len())
    }
}

/// A leaf, which is a page of rows.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    page: &'a [u8],
    usable: usize,
    /// The position of its first row, and how many rows it has.
    first: i64,
    len: u16,
}

impl<'a> Leaf<'a> {
    fn parse(page: &'a [u8], place: Place) -> Option<Self> {
        let is_leaf = *page.first()? == LEAF;
        let leaf = Leaf { page, usable: place.usable, first: 0, len: be16(page, 3)? };
        (is_leaf && leaf.len > 0).then_some(())?;
        let (_, cell) = varint(leaf.cell(0)?)?;
        Some(Leaf { first: varint(cell)?.0, ..leaf })
    }

    /// Whether it is where the row of `position` would be.
    fn has(&self, position: i64) -> bool {
        let last = self.len.checked_sub(1).and_then(|last| self.key(last));
        self.first <= position && last.is_some_and(|last| position <= last)
    }

    fn cell(&self, index: u16) -> Option<&'a [u8]> {
        let at = be16(self.page, 8 + 2 * usize::from(index))?;
        self.page.get(usize::from(at)..)
    }

    fn key(&self, index: u16) -> Option<i64> {
        let (_, cell) = varint(self.cell(index)?)?;
        Some(varint(cell)?.0)
    }

    /// The record of `position`, if it is here as a whole. Nothing of it is checked but its length.
    pub fn record(&self, position: i64) -> Option<&'a [u8]> {
        // Events have no gaps; of blocks there are few on a page.
        let near =
            u16::try_from(position.checked_sub(self.first)?).ok().filter(|at| *at < self.len);
        let is_it = |index: &u16| self.key(*index) == Some(position);
        let index = near.filter(is_it).or_else(|| (0..self.len).find(is_it))?;
        let (size, cell) = varint(self.cell(index)?)?;
        let (_, cell) = varint(cell)?;
        let size = usize::try_from(size).ok()?;
        // A longer row goes on on other pages.
        if size > self.usable - 35 {
            return None;
        }
        cell.get(..size)
    }

    /// The row of `position`, if it is here as a whole. Nothing of it is checked but its shape.
    pub fn row(&self, position: i64) -> Option<RawRow<'a>> {
        RawRow::parse(position, self.record(position)?)
    }
}

/// A row as its record has it.
#[derive(Debug, Clone, Copy)]
pub struct RawRow<'a> {
    /// Its position.
    pub position: i64,
    /// Its texts, from `type` to `metadata`, one after the other,
    pub text: &'a [u8],
    /// and the length of each; `None`: NULL.
    pub lengths: [Option<usize>; 5],
    /// The column `timestamp`.
    pub timestamp_us: i64,
    /// The column `checksum`.
    pub checksum: i64,
}

impl<'a> RawRow<'a> {
    fn parse(position: i64, record: &'a [u8]) -> Option<Self> {
        let (size, mut types) = varint(record)?;
        let mut body = record.get(usize::try_from(size).ok()?..)?;
        let mut next_type = || {
            let (serial, rest) = varint(types)?;
            types = rest;
            Some(serial)
        };
        // The position is the row's key: its column is empty.
        (next_type()? == 0).then_some(())?;
        let mut lengths = [None; 5];
        for length in &mut lengths {
            *length = match next_type()? {
                0 => None,
                text if text >= 13 && text % 2 == 1 => Some(usize::try_from((text - 13) / 2).ok()?),
                _ => return None,
            };
        }
        let text;
        let all = lengths.iter().flatten().try_fold(0_usize, |sum, len| sum.checked_add(*len))?;
        (text, body) = body.split_at_checked(all)?;
        let timestamp_us = integer(next_type()?, &mut body)?;
        let checksum = integer(next_type()?, &mut body)?;
        Some(RawRow { position, text, lengths, timestamp_us, checksum })
    }
}

/// A row of `dcb_postings` as its record has it.
#[derive(Debug, Clone, Copy)]
pub struct RawBlock<'a> {
    /// The block. (What the other columns say, it says itself.)
    pub bytes: &'a [u8],
}

impl<'a> RawBlock<'a> {
    /// Of a record. Nothing of it is checked but its shape.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let (size, mut types) = varint(record)?;
        let mut body = record.get(usize::try_from(size).ok()?..)?;
        // The segment, and what the block begins with.
        for _ in 0..3 {
            let serial;
            (serial, types) = varint(types)?;
            integer(serial, &mut body)?;
        }
        let length = match varint(types)?.0 {
            blob if blob >= 12 && blob % 2 == 0 => usize::try_from((blob - 12) / 2).ok()?,
            _ => return None,
        };
        Some(RawBlock { bytes: body.get(..length)? })
    }
}

/// An integer of a record, taken off its body.
fn integer(serial: i64, body: &mut &[u8]) -> Option<i64> {
    let bytes = match serial {
        1..=4 => serial as usize,
        5 => 6,
        6 => 8,
        8..=9 => return Some(serial - 8),
        _ => return None,
    };
    let number;
    (number, *body) = body.split_at_checked(bytes)?;
    let first = i64::from(*number.first()? as i8);
    Some(number[1..].iter().fold(first, |number, byte| number << 8 | i64::from(*byte)))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// A number of one to nine bytes, and what follows it.
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        if index == 8 {
            value = value << 8 | u64::from(*byte);
        } else {
            value = value << 7 | u64::from(byte & 0x7f);
            if *byte >= 0x80 {
                continue;
            }
        }
        return Some((value as i64, &bytes[index + 1..]));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_child_is_found_where_a_plain_search_finds_it(
            steps in prop::collection::vec(prop_oneof![9 => 0..13_i64, 1 => 0..5_000_i64], 0..400),
            start in prop_oneof![0..1_000_i64, Just(i64::MIN)],
        ) {
            let mut high = start;
            let highs = steps.iter().map(|step| { high = high.wrapping_add(*step); high });
            let highs: Vec<i64> = highs.chain([i64::MAX]).collect();
            let child = |(page, high): (usize, &i64)| Child { high: *high, page: page as u32 };
            let branch: Vec<Child> = highs.iter().enumerate().map(child).collect();
            for position in highs.iter().flat_map(|high| [high.saturating_sub(1), *high, high.saturating_add(1)]) {
                let plain = highs.partition_point(|high| *high < position) as u32;
                prop_assert_eq!(child_of(&branch, position), Some(plain));
            }
        }
    }
}
