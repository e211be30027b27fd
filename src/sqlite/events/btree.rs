//! Reading rows of `dcb_events` and `dcb_postings` straight from the pages of the database file.
//!
//! Finding one row through SQLite's virtual machine and page cache costs several times as much as
//! reading the page that holds it. So the trees of both tables are walked here without SQLite, and
//! in WAL mode without a lock.
//!
//! Invariant: every interior page was read in a version of the file in which its pages form one
//! database (`wal_index.rs`), and a leaf is read in the same version or, under the same schema, in a
//! later one. Row checksums cannot replace this: a transaction that was rolled back may leave intact
//! rows in free pages, at positions that other events have taken since.
//!
//! A leaf in a later version: in WAL mode the file gets committed pages only. So a page that was in
//! the tree once holds rows that were committed, whatever else is being written to the file. As long
//! as nobody changes the schema, they are rows of this table. A mark (`wal_index.rs`) says so.
//!
//! A row that is not found, or fails a check, is left to SQLite: rows that only the WAL holds, rows
//! that do not fit on a page, and while a checkpoint writes the file, every row to which no known
//! interior page leads. The reader of pages is in `page_reader.rs`.
//!
//! One lock guards what is known of a tree. It is not held while a page is read.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::sql::Value;
use crate::sqlite::events::page::{Branch, be16, be32};
use crate::sqlite::events::source::Source;
use crate::sqlite::wal::wal_index::{DatabaseFile, FileVersion};

/// How many children of interior pages are remembered, at 16 bytes each. They cover about ten
/// million events.
const MAX_CHILDREN: usize = 1 << 20;

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
    /// Interior pages of that version and of earlier ones in its era, by page number.
    branches: HashMap<u32, KnownBranch>,
    /// How many children the remembered pages have together.
    children: usize,
    /// The schema cookie and the root page that goes with it. Every change of the schema, and
    /// VACUUM, changes the cookie.
    root: Option<(u32, u32)>,
}

/// An interior page, and the number of the location with which it was read.
#[derive(Debug, Clone)]
pub struct KnownBranch {
    /// The page.
    pub branch: Branch,
    /// The number.
    pub location: u64,
}

/// The location of a tree in one version of the file.
#[derive(Debug, Clone, Copy)]
pub struct TreeLocation {
    /// The version.
    pub version: FileVersion,
    /// The schema cookie in that version.
    pub cookie: u32,
    /// The number of the location: each that is found gets the next one.
    pub number: u64,
    /// The number of the first location of the era. In an era the database is in WAL mode, under one
    /// schema.
    pub era: u64,
    /// Whether it may be used for later versions of its era: no page of the file ever moves without a
    /// change of the schema.
    pub lasts: bool,
    /// The number of the root page.
    pub root: u32,
    /// The size of a page.
    pub page_size: usize,
    /// How many bytes of a page SQLite uses.
    pub usable: usize,
}

/// The size of the header at the start of the file.
const FILE_HEADER: usize = 100;
/// The offset of the page size in the header.
const PAGE_SIZE: usize = 16;
/// The offset of the number of unused bytes at the end of each page.
const RESERVED: usize = 20;
/// The offset of the schema cookie.
const SCHEMA_COOKIE: usize = 40;
/// The offset of a number that only a database with `auto_vacuum` has.
const AUTO_VACUUM: usize = 52;

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
    pub fn locate(&self, source: Source<'_>, file: &DatabaseFile<'_>) -> Option<TreeLocation> {
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
        let cookie = be32(&header, SCHEMA_COOKIE)?;
        let root = self.root(source, cookie)?;
        let version = state.version;
        // A database that vacuums itself moves pages (the number is that of its highest root page).
        let moves = be32(&header, AUTO_VACUUM)? != 0;
        let lasts = matches!(version, FileVersion::Checkpointed(_)) && !moves;
        let mut known = self.write();
        // Under the lock, so that locations are numbered in the order of their versions.
        file.state().filter(|state| state.version == version)?;
        let (number, era) = match known.location {
            // Another connection was faster.
            Some(own) if own.version == version => return Some(own),
            Some(own) if lasts && own.lasts && own.cookie == cookie => (own.number + 1, own.era),
            other => {
                *known = Known { root: known.root, ..Known::default() };
                let number = other.map_or(0, |own| own.number + 1);
                (number, number)
            }
        };
        let location =
            TreeLocation { version, cookie, number, era, lasts, root, page_size, usable };
        known.location = Some(location);
        Some(location)
    }

    /// Returns the location that was found last.
    pub fn last_location(&self) -> Option<TreeLocation> {
        self.read().location
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

    /// Returns the interior page with this number, if it is remembered from the era of `location`.
    pub fn branch(&self, number: u32, location: TreeLocation) -> Option<KnownBranch> {
        let known = self.read();
        known.location.filter(|own| own.era == location.era)?;
        known.branches.get(&number).cloned()
    }

    /// Remembers an interior page that was read in the version of `location`.
    pub fn remember(&self, number: u32, branch: &Branch, location: TreeLocation) {
        let mut known = self.write();
        if known.location.is_none_or(|own| own.number != location.number) {
            return;
        }
        if known.children + branch.len() > MAX_CHILDREN {
            known.branches.clear();
            known.children = 0;
        }
        known.children += branch.len();
        let known_branch = KnownBranch { branch: Arc::clone(branch), location: location.number };
        if let Some(same) = known.branches.insert(number, known_branch) {
            known.children -= same.branch.len();
        }
    }

    /// Forgets the interior pages that were not read with this location.
    pub fn forget_others(&self, location: TreeLocation) {
        let mut known = self.write();
        known.branches.retain(|_, known| known.location == location.number);
        known.children = known.branches.values().map(|known| known.branch.len()).sum();
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::connection::{Location, OpenMode, connect};
    use crate::sqlite::events::page::{BRANCH, child_of, parse_branch};
    use crate::sqlite::schema;

    /// An interior page with one child.
    fn branch_to(child: u32) -> Branch {
        // The last child is in the header.
        let mut page = [BRANCH, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        page[8..].copy_from_slice(&child.to_be_bytes());
        parse_branch(&page).unwrap()
    }

    #[test]
    fn in_rollback_mode_an_interior_page_is_used_in_its_own_version_of_the_file_only() {
        let folder = tempfile::TempDir::new().unwrap();
        let place = Location::File(folder.path().join("a.db"));
        let mut writer = connect(&place, OpenMode::Create).unwrap();
        schema::create(&mut writer, false).unwrap();
        let reader = connect(&place, OpenMode::Read).unwrap();
        let source = Source::Own(&reader, None);
        let tree = BTree::of_events();
        let in_version = |work: &mut dyn FnMut(&DatabaseFile<'_>)| {
            reader.execute_batch("BEGIN; SELECT count(*) FROM dcb_meta").unwrap();
            work(&source.file().unwrap());
            reader.execute_batch("COMMIT").unwrap();
        };
        let child = |number, location| {
            let known = tree.branch(number, location)?;
            Some(known.branch[child_of(&known.branch, i64::MAX).unwrap()].page)
        };

        let mut first = None;
        in_version(&mut |file| {
            let location = tree.locate(source, file).unwrap();
            tree.remember(7, &branch_to(70), location);
            assert_eq!(child(7, location), Some(70));
            first = Some(location);
        });
        let first = first.unwrap();
        writer.execute_batch("PRAGMA user_version = 1").unwrap();
        in_version(&mut |file| {
            let location = tree.locate(source, file).unwrap();
            assert_ne!(location.version, first.version);
            assert_eq!([child(7, location), child(7, first)], [None; 2]);
            tree.remember(8, &branch_to(80), location);
            assert_eq!(child(8, location), Some(80));
            // A walk that has begun in the first version ends after this one was seen.
            tree.remember(7, &branch_to(70), first);
            assert_eq!([child(7, location), child(7, first)], [None; 2]);
            tree.remember(7, &branch_to(71), location);
            assert_eq!([child(7, location), child(7, first)], [Some(71), None]);
        });
    }
}
