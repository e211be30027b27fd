//! The write-ahead log as a file: making it longer, writing it once more, syncing it.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commit::durability::Log;
use crate::error::Result;
use crate::failpoints::{SeededBug, has};
use crate::sqlite::wal::database_name::DatabaseName;
use crate::sqlite::wal::file_id::{FileId, file_id_at, file_id_of};
use crate::sqlite::wal::file_ops::{replaced, write_again};
use crate::sqlite::wal::host_wal::HostWal;

/// By how much the file of the WAL is extended ahead of what is written.
const ROOM_STEP: u64 = 1024 * 1024;
/// The length up to which the file of the WAL is extended ahead. Checkpoints keep it below that; where
/// they cannot, it grows write by write.
const MAX_ROOM: u64 = 20 * 1024 * 1024;
/// No room is made, and what there is is given back, where the disk has less than this left.
const MIN_FREE: u64 = 64 * 1024 * 1024;

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
    database: DatabaseName,
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

    /// As [`WalFile::give_back_room`].
    pub fn give_back_room(&self, used: u64) -> Result<bool> {
        match self {
            Wal::Own(log) => log.give_back_room(used),
            Wal::Hosts(_) => Ok(false),
        }
    }

    /// Whether the disk has so little space left that no room is to be kept on it.
    pub fn is_short_of_space(&self) -> bool {
        matches!(self, Wal::Own(log) if is_short_of_space(&log.file))
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

    /// Returns an error as long as the database file has a second name, which the last sync or a
    /// later look has seen: by that name it would have a WAL of its own.
    pub fn check_single_name(&self) -> Result<()> {
        match self {
            Wal::Own(log) => log.database.check_single_name(),
            Wal::Hosts(beside) => beside.check_single_name(),
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

    fn check(&self) -> Result<()> {
        self.check_single_name()
    }
}

impl WalFile {
    fn open(database: &Path, writable: bool) -> Result<Self> {
        let mut name = database.as_os_str().to_owned();
        name.push("-wal");
        let path = PathBuf::from(name);
        let file = File::options().read(true).write(writable).open(&path)?;
        let identity = file_id_of(&file)?;
        Ok(WalFile { file, path, identity, database: DatabaseName::at(database)? })
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
        let is_due = end > 0 && used + ROOM_STEP / 2 > end && end < MAX_ROOM;
        if is_due && !is_short_of_space(&self.file) {
            let zeros = vec![0; ROOM_STEP as usize];
            if let Err(error) = self.file.write_all_at(&zeros, end) {
                // A part of it may have been written, with the last space that there was.
                self.file.set_len(end)?;
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Cuts off what [`Self::make_room`] has added behind the `used` bytes. Returns whether that was
    /// anything. The caller holds SQLite's write lock and has written nothing yet.
    fn give_back_room(&self, used: u64) -> Result<bool> {
        let end = (&self.file).seek(SeekFrom::End(0))?;
        if end <= used {
            return Ok(false);
        }
        self.file.set_len(used)?;
        Ok(true)
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
        let is_in_place = file_id_at(&self.path).is_ok_and(|found| found == self.identity);
        if is_in_place && self.database.is_in_place() { Ok(()) } else { Err(replaced()) }
    }
}

/// Whether the disk of this file has little space left for this user.
fn is_short_of_space(file: &File) -> bool {
    // SAFETY: a struct of integers, which may be zero.
    let mut disk: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the struct valid for writes.
    let is_known = unsafe { libc::fstatvfs(file.as_raw_fd(), &raw mut disk) } == 0;
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)] // not as wide everywhere
    let free = u64::from(disk.f_bavail).saturating_mul(disk.f_frsize as u64);
    is_known && free < MIN_FREE
}
