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

use crate::failpoints::{SeededBug, has};
use crate::sql::Value;
use crate::sqlite::events::page::{BRANCH, Branch, Leaf, be16, be32, child_of, parse_branch};
use crate::sqlite::events::source::Source;
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
pub struct BTree {
    table: &'static str,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where the tree is in the version of the file that was seen last.
    place: Option<TreeLocation>,
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
pub struct TreeLocation {
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

impl BTree {
    /// The tree of `dcb_events`, by position.
    pub fn of_events() -> Self {
        Self::of("dcb_events")
    }

    /// The tree of `dcb_postings`, by the number of the row.
    pub fn of_postings() -> Self {
        Self::of("dcb_postings")
    }

    fn of(table: &'static str) -> Self {
        BTree { table, known: RwLock::default() }
    }

    /// Whether it can be walked in this source.
    pub fn is_in_reach(&self, source: Source<'_>) -> bool {
        source.file().and_then(|file| self.locate(source, &file)).is_some()
    }

    /// Where the tree is in the file as it is now; `None`: pages of the file cannot be believed now.
    fn locate(&self, source: Source<'_>, file: &DatabaseFile<'_>) -> Option<TreeLocation> {
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
        let root = self.root(source, be32(&header, SCHEMA_COOKIE)?)?;
        let place = TreeLocation { version: state.version, root, page, usable };
        let mut known = self.write();
        if known.place.is_none_or(|own| own.version != place.version) {
            *known = Known { place: Some(place), root: known.root, ..Known::default() };
        }
        Some(place)
    }

    /// The page of the root where the schema has this cookie; `None`: the source does not see
    /// that schema.
    fn root(&self, source: Source<'_>, cookie: u32) -> Option<u32> {
        if let Some((_, root)) = self.read().root.filter(|(known, _)| *known == cookie) {
            return Some(root);
        }
        let connection = source.sql().ok().filter(|connection| connection.is_in_snapshot())?;
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
pub enum ReadAhead {
    /// One: that of the event that is asked for.
    None,
    /// Those behind it too.
    Behind,
    /// Those before it too.
    Before,
}

/// One source's pages.
#[derive(Debug, Default)]
pub struct PageReader {
    /// `None`: everything is left to SQLite.
    tree: Option<Arc<BTree>>,
    /// Pages of the file, one after the other.
    run: Vec<u8>,
    /// The number of the first of them.
    first: u32,
    /// The version of the file that they are of.
    version: Option<FileVersion>,
    /// A version of the file in which no position was found from this one on.
    end: Option<(FileVersion, i64)>,
}

impl PageReader {
    /// The pages of a source of the store with this tree.
    pub fn new(tree: Arc<BTree>) -> Self {
        PageReader { tree: Some(tree), ..PageReader::default() }
    }

    /// Whether everything is left to SQLite.
    pub fn are_off(&self) -> bool {
        self.tree.is_none()
    }

    /// The leaf that holds the row of `position`, if there is one in the file.
    pub fn leaf<'s>(
        &mut self,
        source: impl Into<Source<'s>>,
        position: i64,
        ahead: ReadAhead,
    ) -> Option<Leaf<'_>> {
        let tree = Arc::clone(self.tree.as_ref()?);
        let source = source.into();
        let file = source.file()?;
        for _ in 0..TRIES {
            let place = tree.locate(source, &file)?;
            if self.end.is_some_and(|(version, end)| version == place.version && position >= end) {
                return None;
            }
            let Some(at) = self.descend(&file, &tree, place, position, ahead) else {
                // The version of the file is another one by now, or the page is damaged.
                continue;
            };
            let has = |leaf: Leaf<'_>| leaf.has(position);
            if !Leaf::parse(&self.run[at.clone()], place.usable).is_some_and(has) {
                self.end = Some((place.version, position));
                return None;
            }
            return Leaf::parse(&self.run[at], place.usable);
        }
        None
    }

    /// Where in the run the leaf is that `position` has to be on; `None` where a page on the way to
    /// it cannot be read in the version of `place`, or is damaged.
    fn descend(
        &mut self,
        file: &DatabaseFile<'_>,
        tree: &BTree,
        place: TreeLocation,
        position: i64,
        ahead: ReadAhead,
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
        place: TreeLocation,
        number: u32,
        ahead: ReadAhead,
    ) -> Option<Range<usize>> {
        let within = |first: u32, len: usize| {
            let start = usize::try_from(number.checked_sub(first)?).ok()? * place.page;
            (start + place.page <= len).then_some(start..start + place.page)
        };
        let is_known = self.version == Some(place.version)
            || has(SeededBug::BelieveOldPages) && self.version.is_some();
        if is_known && let Some(at) = within(self.first, self.run.len()) {
            return Some(at);
        }
        let (first, count) = match ahead {
            ReadAhead::None => (number, 1),
            ReadAhead::Behind => (number, RUN_PAGES),
            ReadAhead::Before => {
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
