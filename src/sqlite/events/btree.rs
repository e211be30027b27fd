//! Events, and blocks of the index, read straight from the pages of the database file.
//!
//! To find one row costs SQLite's virtual machine and page cache several times as much as it costs
//! to read the page that the row is on. So the trees of `dcb_events` and `dcb_postings` are walked
//! here, without SQLite, and in WAL mode without a lock.
//!
//! A walk believes only pages of one version of the file, in which they make up one database
//! (`wal_index.rs`). Whatever is kept from one walk to the next, the place of the tree, its inner pages
//! and a run of pages that was read ahead, is kept with its version, and is not used under another
//! one. A row's checksum does not do instead: a transaction that was rolled back may leave rows in
//! free pages, whole and with positions that other events have since.
//!
//! What is not found, or does not pass, is left to SQLite: rows that only the WAL holds yet, rows
//! that do not fit on a page, and every row while a checkpoint writes the file.
//!
//! The format of pages and records: <https://sqlite.org/fileformat2.html>.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::failpoints::{Flaw, has};
use crate::sql::{Database, Value};
use crate::sqlite::wal::wal_index::{DatabaseFile, FileVersion};

/// Pages that a scan reads at a time.
const RUN_PAGES: u32 = 16;
/// Children of inner pages that are remembered, at 16 bytes each: those of some ten million events.
const MAX_CHILDREN: usize = 1 << 20;
/// No tree of SQLite's is deeper.
const MAX_DEPTH: usize = 20;
/// How often a row is looked for where the file changes meanwhile.
const TRIES: usize = 2;

/// What the connections of a store know of the tree of a table.
#[derive(Debug)]
pub struct Tree {
    table: &'static str,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where the tree is in the version of the file that was seen last.
    place: Option<Place>,
    /// Inner pages of that version.
    branches: HashMap<u32, Branch>,
    /// How many children these have together.
    children: usize,
    /// The page of the root, and the schema cookie that goes with it: every change of the schema,
    /// and VACUUM, changes the cookie.
    root: Option<(u32, u32)>,
}

/// Where the tree is in one version of the file.
#[derive(Debug, Clone, Copy)]
struct Place {
    version: FileVersion,
    root: u32,
    /// Bytes of a page.
    page: usize,
    /// How many of them SQLite uses.
    usable: usize,
}

/// Bytes at the beginning of the file that say how it is laid out.
const FILE_HEADER: usize = 100;
/// Where these have the page size, the bytes of a page that are not used, and the schema cookie.
const PAGE_SIZE: usize = 16;
const RESERVED: usize = 20;
const SCHEMA_COOKIE: usize = 40;

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
        Tree { table, known: RwLock::default() }
    }

    /// Whether it can be walked on this connection.
    pub fn is_in_reach(&self, connection: &dyn Database) -> bool {
        connection.database_file().and_then(|file| self.locate(connection, &file)).is_some()
    }

    /// Where the tree is in the file as it is now; `None`: pages of the file cannot be believed now.
    fn locate(&self, connection: &dyn Database, file: &DatabaseFile<'_>) -> Option<Place> {
        let state = file.state()?;
        let known = self.read().place.filter(|place| place.version == state.version);
        // The version may have been seen to be whole before others have written to the WAL.
        if known.is_some() || !state.is_whole {
            return known;
        }
        let mut header = [0; FILE_HEADER];
        if !file.read(&mut header, 0, state.version) {
            return None;
        }
        let page = match be16(&header, PAGE_SIZE)? {
            1 => 65_536,
            size => usize::from(size),
        };
        let usable = page.checked_sub(usize::from(header[RESERVED]))?;
        if !(512..=65_536).contains(&page) || usable < 480 {
            return None;
        }
        let root = self.root(connection, be32(&header, SCHEMA_COOKIE)?)?;
        let place = Place { version: state.version, root, page, usable };
        let mut known = self.write();
        if known.place.is_none_or(|own| own.version != place.version) {
            *known = Known { place: Some(place), root: known.root, ..Known::default() };
        }
        Some(place)
    }

    /// The page of the root where the schema has this cookie; `None`: the connection does not see
    /// that schema.
    fn root(&self, connection: &dyn Database, cookie: u32) -> Option<u32> {
        if let Some((_, root)) = self.read().root.filter(|(known, _)| *known == cookie) {
            return Some(root);
        }
        if !connection.is_in_snapshot() {
            return None;
        }
        let number = |sql: &str, values: &[Value<'_>]| {
            let found = connection.query_row(sql, values, |row| Ok(row.integer(0)));
            found.ok().flatten().flatten()
        };
        let by_name = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root = u32::try_from(number(by_name, &[self.table.into()])?).ok()?;
        // The snapshot may be of another schema than the file, whose last commits are in the WAL.
        let own_cookie = number("PRAGMA schema_version", &[])?;
        if own_cookie as u32 != cookie {
            return None;
        }
        self.write().root = Some((cookie, root));
        Some(root)
    }

    /// The inner page of this number in a version of the file, if it is remembered.
    fn branch(&self, number: u32, version: FileVersion) -> Option<Branch> {
        let known = self.read();
        known.place.filter(|place| place.version == version)?;
        known.branches.get(&number).cloned()
    }

    fn remember(&self, number: u32, branch: &Branch, version: FileVersion) {
        let mut known = self.write();
        if known.place.is_none_or(|place| place.version != version) {
            return;
        }
        if known.children + branch.len() > MAX_CHILDREN {
            known.branches.clear();
            known.children = 0;
        }
        known.children += branch.len();
        if let Some(same) = known.branches.insert(number, Arc::clone(branch)) {
            known.children -= same.len();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
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
    /// Pages of the file, one after the other.
    run: Vec<u8>,
    /// The number of the first of them.
    first: u32,
    /// The version of the file that they are of.
    version: Option<FileVersion>,
    /// A version of the file in which no position was found from this one on.
    end: Option<(FileVersion, i64)>,
}

impl Pages {
    /// The pages of a connection of the store with this tree.
    pub fn new(tree: Arc<Tree>) -> Self {
        Pages { tree: Some(tree), ..Pages::default() }
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
        let file = connection.database_file()?;
        for _ in 0..TRIES {
            let place = tree.locate(connection, &file)?;
            if self.end.is_some_and(|(version, end)| version == place.version && position >= end) {
                return None;
            }
            let Some(at) = self.descend(&file, &tree, place, position, ahead) else {
                // The version of the file is another one by now, or the page is damaged.
                continue;
            };
            let has = |leaf: Leaf<'_>| leaf.has(position);
            if !Leaf::parse(&self.run[at.clone()], place).is_some_and(has) {
                self.end = Some((place.version, position));
                return None;
            }
            return Leaf::parse(&self.run[at], place);
        }
        None
    }

    /// Where in the run the leaf is that `position` has to be on; `None` where a page on the way to
    /// it cannot be read in the version of `place`, or is damaged.
    fn descend(
        &mut self,
        file: &DatabaseFile<'_>,
        tree: &Tree,
        place: Place,
        position: i64,
        ahead: Ahead,
    ) -> Option<Range<usize>> {
        let mut number = place.root;
        for _ in 0..MAX_DEPTH {
            let branch = match tree.branch(number, place.version) {
                Some(branch) => branch,
                None => {
                    let at = self.load(file, place, number, ahead)?;
                    let page = &self.run[at.clone()];
                    if *page.first()? != BRANCH {
                        return Some(at);
                    }
                    let branch = parse_branch(page)?;
                    tree.remember(number, &branch, place.version);
                    branch
                }
            };
            number = child_of(&branch, position)?;
        }
        None
    }

    /// Where in the run the page is, in the version of `place`.
    fn load(
        &mut self,
        file: &DatabaseFile<'_>,
        place: Place,
        number: u32,
        ahead: Ahead,
    ) -> Option<Range<usize>> {
        let within = |first: u32, len: usize| {
            let start = usize::try_from(number.checked_sub(first)?).ok()? * place.page;
            (start + place.page <= len).then_some(start..start + place.page)
        };
        let is_known = self.version == Some(place.version)
            || has(Flaw::BelieveOldPages) && self.version.is_some();
        if is_known && let Some(at) = within(self.first, self.run.len()) {
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
        self.version = None;
        self.run.resize(count as usize * place.page, 0);
        let offset = u64::from(first.checked_sub(1)?) * place.page as u64;
        if !file.read(&mut self.run, offset, place.version) {
            return None;
        }
        (self.first, self.version) = (first, Some(place.version));
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
