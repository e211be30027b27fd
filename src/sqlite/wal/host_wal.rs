//! The files that the host's SQLite keeps beside a database which the library never opens.
//!
//! They carry no locks, so opening and closing them drops none of anybody's.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::sqlite::wal::database_name::DatabaseName;
use crate::sqlite::wal::file_id::{FileId, file_id_at, file_id_of, of};
use crate::sqlite::wal::file_ops::{replaced, sync_folder_of, write_again};

/// How often one looks again where a log is replaced while it is looked at.
const TRIES: u32 = 100;

/// The log or the journal of a database, whichever it has at the moment.
#[derive(Debug)]
pub struct HostWal {
    database: DatabaseName,
    log_path: PathBuf,
    journal_path: PathBuf,
    /// Whether it is for who reads the file only.
    only_reads: bool,
    /// The log, opened before what is in it is shown, so that the kernel reports a failed
    /// write-back to it.
    log: Mutex<Option<(File, FileId)>>,
}

impl HostWal {
    /// Of the database at `database`, for who reads it only.
    pub fn of_reader(database: &Path) -> Result<Self> {
        Ok(HostWal { only_reads: true, ..Self::new(database)? })
    }

    /// Of the database at `database`.
    pub fn new(database: &Path) -> Result<Self> {
        let named = |suffix| {
            let mut name = database.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        Ok(HostWal {
            database: DatabaseName::at(database)?,
            log_path: named("-wal"),
            journal_path: named("-journal"),
            only_reads: false,
            log: Mutex::new(None),
        })
    }

    /// As [`DatabaseName::check_single_name`].
    pub fn check_single_name(&self) -> Result<()> {
        self.database.check_single_name()
    }

    /// Returns how the database's files look now, without opening them.
    pub fn look(&self) -> FilesLook {
        let times = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((of(&found), found.len(), found.modified().ok()?))
        };
        let database = self.database.path();
        FilesLook([&self.log_path, &self.journal_path, database].map(times))
    }

    /// Whether the database has a log.
    pub fn has_log(&self) -> bool {
        self.log_path.exists()
    }

    /// Makes what was committed durable.
    ///
    /// In WAL mode that is the log. The last connection of all to leave brings it into the database
    /// and deletes it, and the next one has another; so it may be another each time. In rollback
    /// mode the database was synced by the commit; what is left is the end of the journal.
    pub fn sync(&self) -> Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES {
            if !self.database.is_in_place() {
                return Err(replaced());
            }
            let Some(now) = self.log_identity()? else {
                *log = None;
                return self.sync_journal();
            };
            if log.as_ref().is_none_or(|(_, known)| *known != now) {
                if let Some((old, _)) = log.take() {
                    old.sync_data()?;
                }
                let file = match File::open(&self.log_path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error.into()),
                };
                let own = file_id_of(&file)?;
                self.sync_folder()?;
                *log = Some((file, own));
            }
            if let Some((file, own)) = &*log {
                file.sync_data()?;
                if self.log_identity()? == Some(*own) {
                    return Ok(());
                }
            }
        }
        Err(replaced())
    }

    /// Writes the log once more, if there is one, as it is. The caller holds SQLite's write lock,
    /// and syncs when it has let go of it. See `WalFile::write_again`.
    pub fn write_again(&self) -> Result<()> {
        match File::options().read(true).write(true).open(&self.log_path) {
            Ok(file) => write_again(&file),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn log_identity(&self) -> Result<Option<FileId>> {
        match file_id_at(&self.log_path) {
            Ok(identity) => Ok(Some(identity)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_journal(&self) -> Result<()> {
        match File::open(&self.journal_path) {
            Ok(file) => file.sync_all()?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        self.sync_folder()
    }

    fn sync_folder(&self) -> Result<()> {
        match sync_folder_of(self.database.path()) {
            Err(error) if is_in_vain(&error, self.only_reads) => Ok(()),
            other => other,
        }
    }
}

/// How the files of a database look: each one's identity, length and time of the last write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesLook([Option<(FileId, u64, SystemTime)>; 3]);

impl FilesLook {
    /// Returns how long ago the last write was, or zero if its time is not in the past.
    pub fn age(&self) -> Duration {
        let newest = self.0.iter().flatten().map(|(_, _, written)| *written).max();
        let age = newest.map(|newest| newest.elapsed().unwrap_or_default());
        age.unwrap_or_default()
    }
}

/// Whether there is nothing to be done about a folder that was not synced: what is on a medium that
/// cannot be written has no changes, and some know no syncs of folders (EINVAL). And who only reads
/// need not be allowed to list it.
fn is_in_vain(error: &Error, only_reads: bool) -> bool {
    matches!(error.detail, libc::EINVAL | libc::EROFS)
        || only_reads && matches!(error.detail, libc::EACCES | libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;

    #[test]
    fn a_folder_that_cannot_be_synced_does_not_prevent_reads() {
        let is_ignored = |errno, only_reads| {
            is_in_vain(&std::io::Error::from_raw_os_error(errno).into(), only_reads)
        };
        for (errno, by_all, by_readers) in [
            (libc::EINVAL, true, true),
            (libc::EROFS, true, true),
            (libc::EACCES, false, true),
            (libc::EIO, false, false),
        ] {
            assert_eq!(
                [is_ignored(errno, false), is_ignored(errno, true)],
                [by_all, by_readers],
                "{errno}"
            );
        }
    }

    #[test]
    fn a_wal_may_be_replaced_but_not_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.db"), "x").unwrap();
        let beside = HostWal::new(&at("a.db")).unwrap();
        beside.sync().unwrap();
        std::fs::write(at("a.db-journal"), "x").unwrap();
        beside.sync().unwrap();
        for _ in 0..2 {
            std::fs::write(at("a.db-wal"), "0123456789").unwrap();
            beside.sync().unwrap();
            beside.write_again().unwrap();
            assert_eq!(std::fs::read(at("a.db-wal")).unwrap(), b"0123456789");
            assert!(beside.log.lock().unwrap().is_some());
            std::fs::remove_file(at("a.db-wal")).unwrap();
        }
        beside.sync().unwrap();
        assert!(beside.log.lock().unwrap().is_none());
        std::fs::rename(at("a.db"), at("b.db")).unwrap();
        std::fs::write(at("a.db"), "x").unwrap();
        assert_eq!(beside.sync().unwrap_err().status, Status::Io);
    }
}
