//! Reading leaf pages of a table's B-tree by their keys, on behalf of one reader.
//!
//! Invariant: an interior page is read in the version of the file that the reader is at. A leaf is
//! read in that version or, with a mark, in a later one (`btree.rs`).

use std::ops::Range;
use std::sync::Arc;

use crate::failpoints::{SeededBug, has};
use crate::sqlite::events::btree::{BTree, KnownBranch, TreeLocation};
use crate::sqlite::events::page::{BRANCH, Leaf, Walk, child_of, parse_branch};
use crate::sqlite::events::source::Source;
use crate::sqlite::wal::wal_index::{DatabaseFile, FileVersion, SchemaMark};

/// How many bytes a scan reads at a time, if a page is not larger.
const RUN_BYTES: usize = 64 * 1024;
/// How many earlier runs of pages a reader keeps, while others may share them, to read into later.
const MAX_SPARE_RUNS: usize = 8;
/// The maximum depth of a b-tree in SQLite.
const MAX_DEPTH: usize = 20;
/// How often a lookup is tried while the file changes under it.
const TRIES: usize = 2;

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
    /// The era of which `run` is a page, in whichever version it is.
    era: Option<u64>,
    /// A version of the file, and a position from which on it has no row.
    end: Option<(FileVersion, i64)>,
    /// The location of the tree in the version that was used last.
    location: Option<TreeLocation>,
    /// Interior pages of its era, each at the place that its number gives it. No other thread uses
    /// them, so looking at one takes no lock.
    branches: Vec<Option<(u32, KnownBranch)>>,
    /// How many of them are kept.
    max_branches: usize,
    /// Whether interior pages of other versions were used since it was set to `false`.
    used_others: bool,
    /// The place of a scan, and whether it is in an interior page of another version.
    walk: Option<(Walk, bool)>,
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
        let at = match self.find_marked(file, source, position, ahead) {
            Some(at) => at,
            None => self.find(file, source, position, ahead)?,
        };
        let usable = self.location?.usable;
        Some((Leaf::parse(&self.run[at], usable)?, &self.run))
    }

    /// Returns where in `run` the leaf for `position` is, as an earlier version of the file says.
    /// Returns `None` if that version does not tell, or must not be used.
    fn find_marked(
        &mut self,
        file: &DatabaseFile<'_>,
        source: Source<'_>,
        position: i64,
        ahead: ReadAhead,
    ) -> Option<Range<usize>> {
        // Earlier interior pages would hide the bug: they lead to pages that were in use already.
        let may_use = ahead == ReadAhead::None && !has(SeededBug::BelieveOldPages);
        let mark = source.mark().filter(|_| may_use)?;
        if self.location.is_none() {
            let location = self.tree.as_ref()?.last_location()?;
            self.move_to(location);
        }
        let location = self.location.filter(|own| own.lasts && own.cookie == mark.cookie)?;
        if self.is_behind_end(location, position) {
            return None;
        }
        let at = self.descend(file, location, Some(mark), position, ahead)?;
        if self.has_row(&at, location, position) {
            return Some(at);
        }
        self.end = Some((location.version, position));
        None
    }

    /// Returns where in `run` the leaf for `position` is, in the current version of the file.
    fn find(
        &mut self,
        file: &DatabaseFile<'_>,
        source: Source<'_>,
        position: i64,
        ahead: ReadAhead,
    ) -> Option<Range<usize>> {
        for _ in 0..TRIES {
            let location = self.locate(source, file)?;
            if self.is_behind_end(location, position) {
                return None;
            }
            self.used_others = false;
            let at = self.descend(file, location, None, position, ahead);
            match at {
                Some(at) if self.has_row(&at, location, position) => return Some(at),
                // The file has a new version by now, or a page is damaged.
                None if !self.used_others => {}
                Some(_) if !self.used_others => {
                    self.end = Some((location.version, position));
                    return None;
                }
                // Rows may have moved to other pages since an interior page was read.
                _ => self.forget_others(location),
            }
        }
        None
    }

    /// Returns whether it is known that this version of the tree ends before `position`.
    fn is_behind_end(&self, location: TreeLocation, position: i64) -> bool {
        self.end.is_some_and(|(version, end)| version == location.version && position >= end)
    }

    /// Returns whether the leaf here is the one that includes `position`.
    fn has_row(&self, at: &Range<usize>, location: TreeLocation, position: i64) -> bool {
        let page = self.run.get(at.clone());
        page.and_then(|page| Leaf::parse(page, location.usable))
            .is_some_and(|leaf| leaf.has(position))
    }

    /// Forgets the interior pages that were not read with this location.
    fn forget_others(&mut self, location: TreeLocation) {
        self.walk = None;
        for own in &mut self.branches {
            *own = own.take().filter(|(_, known)| known.location == location.number);
        }
        if let Some(tree) = &self.tree {
            tree.forget_others(location);
        }
    }

    /// Returns the location of the tree in the current version of the file, or `None` if pages of
    /// the file cannot be trusted now.
    fn locate(&mut self, source: Source<'_>, file: &DatabaseFile<'_>) -> Option<TreeLocation> {
        let version = file.state()?.version;
        if let Some(location) = self.location.filter(|location| location.version == version) {
            return Some(location);
        }
        let location = self.tree.as_ref()?.locate(source, file)?;
        self.move_to(location);
        Some(location)
    }

    /// Uses this location from now on.
    fn move_to(&mut self, location: TreeLocation) {
        self.walk = None;
        if self.location.is_none_or(|own| own.era != location.era) {
            self.branches.clear();
            self.branches.resize(self.max_branches, None);
        }
        self.location = Some(location);
    }

    /// Returns where in `run` the leaf for `position` is, or `None` if a page on the way to it is
    /// damaged, or cannot be read. Interior pages are read in the version of `location`, which is the
    /// reader's own. With a mark, the leaf may be of a later version.
    fn descend(
        &mut self,
        file: &DatabaseFile<'_>,
        location: TreeLocation,
        mark: Option<SchemaMark>,
        position: i64,
        ahead: ReadAhead,
    ) -> Option<Range<usize>> {
        if ahead != ReadAhead::None
            && let Some((walk, is_of_other)) = &mut self.walk
            && let Some(number) = walk.step(position)
        {
            self.used_others |= *is_of_other;
            return self.load(file, location, mark, number, ahead);
        }
        // An interior page of a later version may lead to a leaf that is free in this one. One of an
        // earlier version is good for all of its children but the last: rows are added at the end.
        let child = |known: &KnownBranch| {
            let index = child_of(&known.branch, position)?;
            let is_other = known.location != location.number;
            let is_last = index + 1 == known.branch.len();
            let is_good =
                !is_other || known.location < location.number && (mark.is_some() || !is_last);
            is_good.then_some((index, is_other))
        };
        let walk_at = |known: &KnownBranch, index, is_other| {
            (ahead != ReadAhead::None)
                .then(|| (Walk::new(Arc::clone(&known.branch), index), is_other))
        };
        let (mut number, mut walk) = (location.root, None);
        for _ in 0..MAX_DEPTH {
            let place = (number as usize).checked_rem(self.branches.len());
            if let Some(place) = place
                && let Some((own, known)) = &self.branches[place]
                && *own == number
                && let Some((index, is_other)) = child(known)
            {
                self.used_others |= is_other;
                walk = walk_at(known, index, is_other);
                number = known.branch[index].page;
                continue;
            }
            let tree = Arc::clone(self.tree.as_ref()?);
            let shared = tree.branch(number, location);
            let (known, (index, is_other)) =
                match shared.and_then(|known| child(&known).map(|child| (known, child))) {
                    Some(found) => found,
                    None => {
                        let at = self.load(file, location, mark, number, ahead)?;
                        let page = &self.run[at.clone()];
                        if *page.first()? != BRANCH {
                            self.walk = walk;
                            return Some(at);
                        }
                        // With a mark, the page may be of a later version.
                        if self.version != Some(location.version) {
                            return None;
                        }
                        let branch = parse_branch(page)?;
                        tree.remember(number, &branch, location);
                        let known = KnownBranch { branch, location: location.number };
                        let child = child(&known)?;
                        (known, child)
                    }
                };
            self.used_others |= is_other;
            walk = walk_at(&known, index, is_other);
            let next = known.branch[index].page;
            if let Some(place) = place {
                self.branches[place] = Some((number, known));
            }
            number = next;
        }
        None
    }

    /// Returns where in `run` a page is, after reading it if needed: in the version of `location`
    /// or, with a mark, in that of a commit up to the mark. Then only `version` says which it is.
    fn load(
        &mut self,
        file: &DatabaseFile<'_>,
        location: TreeLocation,
        mark: Option<SchemaMark>,
        number: u32,
        ahead: ReadAhead,
    ) -> Option<Range<usize>> {
        let within = |first: u32, len: usize| {
            let start = usize::try_from(number.checked_sub(first)?).ok()? * location.page_size;
            (start + location.page_size <= len).then_some(start..start + location.page_size)
        };
        let is_known = self.version == Some(location.version)
            || mark.is_some() && self.era == Some(location.era)
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
        (self.version, self.era) = (None, None);
        let run = self.unshared_run();
        run.resize(count as usize * location.page_size, 0);
        let offset = u64::from(first.checked_sub(1)?) * location.page_size as u64;
        let is_exact = match mark {
            None => file.read(run, offset, location.version).then_some(true),
            Some(mark) => file.read_marked(run, offset, location.version, mark),
        }?;
        self.first = first;
        self.version = is_exact.then_some(location.version);
        self.era = mark.map(|_| location.era);
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
