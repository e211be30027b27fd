//! The name of a database file, which must stay the only one: a second name would have a WAL of its own.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::error::Result;
use crate::sqlite::wal::file_id::{FileId, Found, find};

/// The database file, watched for whether it is still at its path and has no other name.
#[derive(Debug)]
pub struct DatabaseName {
    path: PathBuf,
    identity: FileId,
    /// Whether the last look found a second name.
    has_other_name: AtomicBool,
}

impl DatabaseName {
    /// The database at `path`, which must have one name only.
    pub fn at(path: &Path) -> Result<Self> {
        let found = find(path)?;
        found.check_single_name()?;
        let has_other_name = AtomicBool::new(false);
        Ok(DatabaseName { path: path.to_owned(), identity: found.identity, has_other_name })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is still at its path.
    pub fn is_in_place(&self) -> bool {
        self.look().is_some()
    }

    /// Returns an error as long as the file has a second name. Costs nothing as long as
    /// [`Self::is_in_place`] has not seen one.
    pub fn check_single_name(&self) -> Result<()> {
        if !self.has_other_name.load(Relaxed) {
            return Ok(());
        }
        self.look().map_or(Ok(()), |found| found.check_single_name())
    }

    fn look(&self) -> Option<Found> {
        let found = find(&self.path).ok().filter(|found| found.identity == self.identity)?;
        self.has_other_name.store(found.check_single_name().is_err(), Relaxed);
        Some(found)
    }
}
