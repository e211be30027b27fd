//! The write-ahead log as a file: making it longer, writing it once more, syncing it.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commit::durability::Log;
use crate::error::Result;
use crate::failpoints::{SeededBug, has};
use crate::sqlite::wal::file_id::{FileId, file_id_at, file_id_of};
use crate::sqlite::wal::file_ops::{replaced, write_again};
use crate::sqlite::wal::host_wal::HostWal;

/// By how much the log's file is made longer ahead of what is written,
const ROOM_STEP: u64 = 1024 * 1024;
/// and up to which length: beyond what a checkpoint lets it grow to, it grows as it must.
const MAX_ROOM: u64 = 20 * 1024 * 1024;

/// What has to be synced of a database.
#[derive(Debug)]
pub enum Wal {
    /// The log of our own SQLite.
    Own(WalFile),
    /// What the host's SQLite has beside the database.
    Hosts(HostWal),
}

/// The write-ahead log, and what tells that it is still the one at its path.
#[derive(Debug)]
pub struct WalFile {
    /// Opened before the first read, so that the kernel reports a failed write-back to it.
    file: File,
    path: PathBuf,
    identity: FileId,
    database: PathBuf,
    database_identity: FileId,
}

impl Wal {
    /// The log of the database at `database`, which has one.
    pub fn open(database: &Path, writable: bool) -> Result<Self> {
        WalFile::open(database, writable).map(Wal::Own)
    }

    /// As [`WalFile::make_room`]; the host's log is not ours to make longer.
    pub fn make_room(&self, used: u64) -> Result<()> {
        match self {
            Wal::Own(log) => log.make_room(used),
            Wal::Hosts(_) => Ok(()),
        }
    }

    /// As [`WalFile::write_again`].
    pub fn write_again(&self) -> Result<()> {
        match self {
            _ if has(SeededBug::BelieveLog) => Ok(()),
            Wal::Own(log) => log.write_again(),
            Wal::Hosts(beside) => beside.write_again(),
        }
    }

    /// Makes what was committed durable.
    pub fn sync(&self) -> Result<()> {
        match self {
            Wal::Own(log) => log.sync(),
            Wal::Hosts(wal) => wal.sync(),
        }
    }

    /// Whether the database is one of the host's that has no log at the moment, but a journal.
    pub fn has_journal(&self) -> bool {
        matches!(self, Wal::Hosts(beside) if !beside.has_log())
    }
}

impl Log for Arc<Wal> {
    fn sync(&self) -> Result<()> {
        Wal::sync(self)
    }
}

impl WalFile {
    fn open(database: &Path, writable: bool) -> Result<Self> {
        let mut name = database.as_os_str().to_owned();
        name.push("-wal");
        let path = PathBuf::from(name);
        let file = File::options().read(true).write(writable).open(&path)?;
        let identity = file_id_of(&file)?;
        let database_identity = file_id_at(database)?;
        Ok(WalFile { file, path, identity, database: database.to_owned(), database_identity })
    }

    /// Makes the log longer by zeros, if its file has less than a step of room above `used` bytes.
    ///
    /// Syncing bytes that overwrite others costs a fraction of syncing a file that grows. SQLite
    /// takes what follows its last frame for an old log's remains. The caller holds SQLite's write
    /// lock and has written nothing yet: whatever is in the file is below its end.
    fn make_room(&self, used: u64) -> Result<()> {
        // Not by its metadata: see `file_id.rs`. Nothing else uses where the file stands.
        let end = (&self.file).seek(SeekFrom::End(0))?;
        // The very first header of the log is SQLite's to write.
        if end > 0 && used + ROOM_STEP / 2 > end && end < MAX_ROOM {
            let zeros = vec![0; ROOM_STEP as usize];
            self.file.write_all_at(&zeros, end)?;
        }
        Ok(())
    }

    /// Writes the log once more, as it is. The caller holds SQLite's write lock, and syncs the log
    /// when it has let go of it.
    ///
    /// After a write-back that failed, the system has pages in memory that never reached the disk
    /// and that it takes for clean, so that no sync writes them. The log on the disk then ends at
    /// the first of them, whatever comes after; brought into the database as it is in memory and
    /// found as it is on the disk, it would undo a part of what the database has by then.
    fn write_again(&self) -> Result<()> {
        write_again(&self.file)
    }

    /// Makes what is written of the log durable.
    fn sync(&self) -> Result<()> {
        self.file.sync_data()?;
        // A sync of a file that nobody will find again is worth nothing.
        let still = |path: &Path, own| file_id_at(path).is_ok_and(|found| found == own);
        if still(&self.path, self.identity) && still(&self.database, self.database_identity) {
            Ok(())
        } else {
            Err(replaced())
        }
    }
}
