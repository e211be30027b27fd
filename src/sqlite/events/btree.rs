//! Reading rows of `dcb_events` and `dcb_postings` straight from the pages of the database file.
//!
//! Finding one row through SQLite's virtual machine and page cache costs several times as much as
//! reading the page that holds it. So the trees of both tables are walked here without SQLite, and
//! in WAL mode without a lock.
//!
//! Invariant: a walk uses only pages of one version of the file, in which they form one database
//! (`wal_index.rs`). Everything that is kept from one walk to the next (the location of the tree,
//! its interior pages, pages that were read ahead) is kept with its version, and is not used under
//! another. Row checksums cannot replace this check: a transaction that was rolled back may leave
//! intact rows in free pages, at positions that other events have taken since.
//!
//! A row that is not found, or fails a check, is left to SQLite: rows that only the WAL holds, rows
//! that do not fit on a page, and every row while a checkpoint writes the file.
//!
//! One lock guards what is known of a tree. It is not held while a page is read.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::failpoints::{SeededBug, has};
use crate::sql::Value;
use crate::sqlite::events::page::{BRANCH, Branch, Leaf, Walk, be16, be32, child_of, parse_branch};
use crate::sqlite::events::source::Source;
use crate::sqlite::wal::wal_index::{DatabaseFile, FileVersion};

/// How many bytes a scan reads at a time, if a page is not larger.
const RUN_BYTES: usize = 64 * 1024;
/// How many earlier runs of pages a reader keeps, while others may share them, to read into later.
const MAX_SPARE_RUNS: usize = 8;
/// How many children of interior pages are remembered, at 16 bytes each. They cover about ten
/// million events.
const MAX_CHILDREN: usize = 1 << 20;
/// The maximum depth of a b-tree in SQLite.
const MAX_DEPTH: usize = 20;
/// How often a lookup is tried while the file changes under it.
const TRIES: usize = 2;

/// What the connections of a store know about the b-tree of one table.
#[derive(Debug)]
pub struct BTree {
    table: &'static str,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The location of the tree in the version of the file that was seen last.
    location: Option<TreeLocation>,
    /// The interior pages of that version, by page number.
    branches: HashMap<u32, Branch>,
    /// How many children the remembered pages have together.
    children: usize,
    /// The schema cookie and the root page that goes with it. Every change of the schema, and
    /// VACUUM, changes the cookie.
    root: Option<(u32, u32)>,
}

/// The location of a tree in one version of the file.
#[derive(Debug, Clone, Copy)]
pub struct TreeLocation {
    version: FileVersion,
    root: u32,
    /// The size of a page.
    page_size: usize,
    /// How many bytes of a page SQLite uses.
    usable: usize,
}

/// The size of the header at the start of the file.
const FILE_HEADER: usize = 100;
/// The offset of the page size in the header.
const PAGE_SIZE: usize = 16;
/// The offset of the number of unused bytes at the end of each page.
const RESERVED: usize = 20;
/// The offset of the schema cookie.
const SCHEMA_COOKIE: usize = 40;

impl BTree {
    /// Creates the tree of `dcb_events`, whose keys are positions.
    pub fn of_events() -> Self {
        Self::of("dcb_events")
    }

    /// Creates the tree of `dcb_postings`, whose keys are rowids.
    pub fn of_postings() -> Self {
        Self::of("dcb_postings")
    }

    fn of(table: &'static str) -> Self {
        BTree { table, known: RwLock::default() }
    }

    /// Returns whether the tree can be walked for this source.
    pub fn is_in_reach(&self, source: Source<'_>) -> bool {
        source.file().and_then(|file| self.locate(source, &file)).is_some()
    }

    /// Returns the location of the tree in the current version of the file, or `None` if pages of
    /// the file cannot be trusted now.
    fn locate(&self, source: Source<'_>, file: &DatabaseFile<'_>) -> Option<TreeLocation> {
        let state = file.state()?;
        let known = self.read().location.filter(|location| location.version == state.version);
        // This version may have been whole when it was seen, before others wrote to the WAL.
        if known.is_some() || !state.is_whole {
            return known;
        }
        let mut header = [0; FILE_HEADER];
        if !file.read(&mut header, 0, state.version) {
            return None;
        }
        let page_size = match be16(&header, PAGE_SIZE)? {
            1 => 65_536,
            size => usize::from(size),
        };
        let usable = page_size.checked_sub(usize::from(header[RESERVED]))?;
        if !(512..=65_536).contains(&page_size) || usable < 480 {
            return None;
        }
        let root = self.root(source, be32(&header, SCHEMA_COOKIE)?)?;
        let location = TreeLocation { version: state.version, root, page_size, usable };
        let mut known = self.write();
        if known.location.is_none_or(|own| own.version != location.version) {
            *known = Known { location: Some(location), root: known.root, ..Known::default() };
        }
        Some(location)
    }

    /// Returns the root page under the schema with this cookie, or `None` if the source does not
    /// see that schema.
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
        // The snapshot may have another schema than the file, whose last commits are in the WAL.
        let own_cookie = number("PRAGMA schema_version", &[])?;
        if own_cookie as u32 != cookie {
            return None;
        }
        self.write().root = Some((cookie, root));
        Some(root)
    }

    /// Returns the interior page with this number in a version of the file, if it is remembered.
    fn branch(&self, number: u32, version: FileVersion) -> Option<Branch> {
        let known = self.read();
        known.location.filter(|location| location.version == version)?;
        known.branches.get(&number).cloned()
    }

    fn remember(&self, number: u32, branch: &Branch, version: FileVersion) {
        let mut known = self.write();
        if known.location.is_none_or(|location| location.version != version) {
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

/// Which pages are read together with the one that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAhead {
    /// No other page.
    None,
    /// The pages after it, for a forward scan.
    Behind,
    /// The pages before it, for a backward scan.
    Before,
}

/// Reads rows of one tree, and keeps the pages that were read last.
#[derive(Debug, Default)]
pub struct PageReader {
    /// The tree, or `None` if every row is left to SQLite.
    tree: Option<Arc<BTree>>,
    /// Consecutive pages of the file. Others may share them: then later pages are read elsewhere.
    run: Arc<Vec<u8>>,
    /// Memory of earlier runs.
    spare: Vec<Arc<Vec<u8>>>,
    /// The number of the first page in `run`.
    first: u32,
    /// The version of the file that `run` belongs to.
    version: Option<FileVersion>,
    /// A version of the file, and a position from which on it has no row.
    end: Option<(FileVersion, i64)>,
    /// The location of the tree in the version that was used last.
    location: Option<TreeLocation>,
    /// Interior pages of that version, each at the place that its number gives it. No other thread
    /// uses them, so looking at one takes no lock.
    branches: Vec<Option<(u32, Branch)>>,
    /// How many of them are kept.
    max_branches: usize,
    /// The place of a scan in that version.
    walk: Option<Walk>,
}

/// How many interior pages a reader of many rows keeps for itself.
const OWN_BRANCHES: usize = 256;

impl PageReader {
    /// Creates a reader of this tree that has read no page yet.
    pub fn new(tree: Arc<BTree>) -> Self {
        PageReader { tree: Some(tree), ..PageReader::default() }
    }

    /// Creates a reader that keeps inner pages of its own, for a connection that reads many rows.
    pub fn lasting(tree: Arc<BTree>) -> Self {
        PageReader { max_branches: OWN_BRANCHES, ..PageReader::new(tree) }
    }

    /// Returns whether every row is left to SQLite.
    pub fn is_off(&self) -> bool {
        self.tree.is_none()
    }

    /// Returns the leaf page whose range includes `position`, if the file has one.
    pub fn leaf<'s>(
        &mut self,
        source: impl Into<Source<'s>>,
        position: i64,
        ahead: ReadAhead,
    ) -> Option<Leaf<'_>> {
        let source = source.into();
        let file = source.file()?;
        self.leaf_in(&file, source, position, ahead).map(|(leaf, _)| leaf)
    }

    /// Does what [`Self::leaf`] does, in the file of `source`. Also returns the memory that the page
    /// is in, which does not change while it is shared.
    pub fn leaf_in(
        &mut self,
        file: &DatabaseFile<'_>,
        source: Source<'_>,
        position: i64,
        ahead: ReadAhead,
    ) -> Option<(Leaf<'_>, &Arc<Vec<u8>>)> {
        for _ in 0..TRIES {
            let location = self.locate(source, file)?;
            if self.end.is_some_and(|(version, end)| version == location.version && position >= end)
            {
                return None;
            }
            let Some(at) = self.descend(file, location, position, ahead) else {
                // The file has a new version by now, or a page is damaged.
                continue;
            };
            let has = |leaf: Leaf<'_>| leaf.has(position);
            if !Leaf::parse(&self.run[at.clone()], location.usable).is_some_and(has) {
                self.end = Some((location.version, position));
                return None;
            }
            return Some((Leaf::parse(&self.run[at], location.usable)?, &self.run));
        }
        None
    }

    /// Returns the location of the tree in the current version of the file, or `None` if pages of
    /// the file cannot be trusted now.
    fn locate(&mut self, source: Source<'_>, file: &DatabaseFile<'_>) -> Option<TreeLocation> {
        let version = file.state()?.version;
        if let Some(location) = self.location.filter(|location| location.version == version) {
            return Some(location);
        }
        let location = self.tree.as_ref()?.locate(source, file)?;
        self.location = Some(location);
        self.walk = None;
        self.branches.clear();
        self.branches.resize(self.max_branches, None);
        Some(location)
    }

    /// Returns where in `run` the leaf for `position` is, or `None` if a page on the way to it is
    /// damaged, or cannot be read in the version of `location`, which is the reader's own.
    fn descend(
        &mut self,
        file: &DatabaseFile<'_>,
        location: TreeLocation,
        position: i64,
        ahead: ReadAhead,
    ) -> Option<Range<usize>> {
        if ahead != ReadAhead::None
            && let Some(number) = self.walk.as_mut().and_then(|walk| walk.step(position))
        {
            return self.load(file, location, number, ahead);
        }
        let walk_at = |branch: &Branch, index| {
            (ahead != ReadAhead::None).then(|| Walk::new(Arc::clone(branch), index))
        };
        let (mut number, mut walk) = (location.root, None);
        for _ in 0..MAX_DEPTH {
            let place = (number as usize).checked_rem(self.branches.len());
            if let Some(place) = place
                && let Some((own, branch)) = &self.branches[place]
                && *own == number
            {
                let index = child_of(branch, position)?;
                number = branch[index].page;
                walk = walk_at(branch, index);
                continue;
            }
            let tree = Arc::clone(self.tree.as_ref()?);
            let branch = match tree.branch(number, location.version) {
                Some(branch) => branch,
                None => {
                    let at = self.load(file, location, number, ahead)?;
                    let page = &self.run[at.clone()];
                    if *page.first()? != BRANCH {
                        self.walk = walk;
                        return Some(at);
                    }
                    let branch = parse_branch(page)?;
                    tree.remember(number, &branch, location.version);
                    branch
                }
            };
            let index = child_of(&branch, position)?;
            let next = branch[index].page;
            walk = walk_at(&branch, index);
            if let Some(place) = place {
                self.branches[place] = Some((number, branch));
            }
            number = next;
        }
        None
    }

    /// Returns where in `run` a page is, in the version of `location`, after reading it if needed.
    fn load(
        &mut self,
        file: &DatabaseFile<'_>,
        location: TreeLocation,
        number: u32,
        ahead: ReadAhead,
    ) -> Option<Range<usize>> {
        let within = |first: u32, len: usize| {
            let start = usize::try_from(number.checked_sub(first)?).ok()? * location.page_size;
            (start + location.page_size <= len).then_some(start..start + location.page_size)
        };
        let is_known = self.version == Some(location.version)
            || has(SeededBug::BelieveOldPages) && self.version.is_some();
        if is_known && let Some(at) = within(self.first, self.run.len()) {
            return Some(at);
        }
        let most = u32::try_from(RUN_BYTES / location.page_size).ok()?.max(1);
        let (first, count) = match ahead {
            ReadAhead::None => (number, 1),
            ReadAhead::Behind => (number, most),
            ReadAhead::Before => {
                let first = number.saturating_sub(most - 1).max(1);
                (first, number.checked_sub(first)? + 1)
            }
        };
        self.version = None;
        let run = self.unshared_run();
        run.resize(count as usize * location.page_size, 0);
        let offset = u64::from(first.checked_sub(1)?) * location.page_size as u64;
        if !file.read(run, offset, location.version) {
            return None;
        }
        (self.first, self.version) = (first, Some(location.version));
        within(first, self.run.len())
    }

    /// Returns the memory for a run, which nobody shares.
    fn unshared_run(&mut self) -> &mut Vec<u8> {
        if Arc::get_mut(&mut self.run).is_none() {
            let free = self.spare.iter_mut().position(|spare| Arc::get_mut(spare).is_some());
            let run = free.map(|index| self.spare.swap_remove(index)).unwrap_or_default();
            let shared = std::mem::replace(&mut self.run, run);
            if self.spare.len() < MAX_SPARE_RUNS {
                self.spare.push(shared);
            }
        }
        Arc::make_mut(&mut self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::connection::{Location, OpenMode, connect};
    use crate::sqlite::schema;

    /// An interior page with one child.
    fn branch_to(child: u32) -> Branch {
        // The last child is in the header.
        let mut page = [BRANCH, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        page[8..].copy_from_slice(&child.to_be_bytes());
        parse_branch(&page).unwrap()
    }

    #[test]
    fn an_interior_page_is_used_in_its_own_version_of_the_file_only() {
        let folder = tempfile::TempDir::new().unwrap();
        let place = Location::File(folder.path().join("a.db"));
        let mut writer = connect(&place, OpenMode::Create).unwrap();
        schema::create(&mut writer, false).unwrap();
        let reader = connect(&place, OpenMode::Read).unwrap();
        let source = Source::Own(&reader);
        let tree = BTree::of_events();
        let in_version = |work: &mut dyn FnMut(&DatabaseFile<'_>)| {
            reader.execute_batch("BEGIN; SELECT count(*) FROM dcb_meta").unwrap();
            work(&source.file().unwrap());
            reader.execute_batch("COMMIT").unwrap();
        };
        let child = |number, version| {
            tree.branch(number, version)
                .map(|branch| branch[child_of(&branch, i64::MAX).unwrap()].page)
        };

        let mut first = None;
        in_version(&mut |file| {
            let version = tree.locate(source, file).unwrap().version;
            tree.remember(7, &branch_to(70), version);
            assert_eq!(child(7, version), Some(70));
            first = Some(version);
        });
        let first = first.unwrap();
        writer.execute_batch("PRAGMA user_version = 1").unwrap();
        in_version(&mut |file| {
            let version = file.state().unwrap().version;
            assert_ne!(version, first);
            // Nobody has seen this version yet.
            assert_eq!(child(7, version), None);
            tree.remember(8, &branch_to(80), version);
            assert_eq!(child(8, first), None, "remembered for a version that comes later");
            assert_eq!(tree.locate(source, file).unwrap().version, version);
            assert_eq!([child(7, version), child(8, version)], [None; 2]);
            // A walk that has begun in the first version ends after this one was seen.
            tree.remember(7, &branch_to(70), first);
            assert_eq!([child(7, version), child(7, first)], [None; 2]);
            tree.remember(7, &branch_to(71), version);
            assert_eq!([child(7, version), child(7, first)], [Some(71), None]);
        });
    }
}
