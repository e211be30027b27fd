//! Making the log durable, apart from writing it: one sync serves every append that was
//! committed before the sync began, and nobody is answered before.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result, Status};
use crate::testing::{Flaw, has};

/// By how much the log's file is made longer ahead of what is written,
const ROOM_STEP: u64 = 1024 * 1024;
/// and up to which length: beyond what a checkpoint lets it grow to, it grows as it must.
const MAX_ROOM: u64 = 20 * 1024 * 1024;

/// The write-ahead log, and what tells that it is still the one at its path.
#[derive(Debug)]
pub struct Log {
    /// Opened before the first read, so that the kernel reports a failed write-back to it.
    file: File,
    path: PathBuf,
    identity: (u64, u64),
    database: PathBuf,
    database_identity: (u64, u64),
}

impl Log {
    /// The log of the database at `database`, which has one.
    pub fn open(database: &Path, writable: bool) -> Result<Self> {
        let mut name = database.as_os_str().to_owned();
        name.push("-wal");
        let path = PathBuf::from(name);
        let file = File::options().read(true).write(writable).open(&path)?;
        let identity = identity(&file.metadata()?);
        let database_identity = identity_at(database)?;
        Ok(Log { file, path, identity, database: database.to_owned(), database_identity })
    }

    /// Makes the log longer by zeros, if its file has less than a step of room above `used` bytes.
    ///
    /// Syncing bytes that overwrite others costs a fraction of syncing a file that grows. SQLite
    /// takes what follows its last frame for an old log's remains. The caller holds SQLite's write
    /// lock and has written nothing yet: whatever is in the file is below its end.
    pub fn make_room(&self, used: u64) -> Result<()> {
        let end = self.file.metadata()?.len();
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
    pub fn write_again(&self) -> Result<()> {
        let mut piece = vec![0; 256 * 1024];
        let mut at = 0;
        loop {
            let count = self.file.read_at(&mut piece, at)?;
            if count == 0 {
                return Ok(());
            }
            self.file.write_all_at(&piece[..count], at)?;
            at += count as u64;
        }
    }

    /// Makes what is written of the log durable.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data()?;
        // A sync of a file that nobody will find again is worth nothing.
        let still = |path: &Path, own| {
            std::fs::metadata(path).is_ok_and(|metadata| identity(&metadata) == own)
        };
        if still(&self.path, self.identity) && still(&self.database, self.database_identity) {
            Ok(())
        } else {
            Err(replaced())
        }
    }
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Which file is at `path`: its device and inode.
pub fn identity_at(path: &Path) -> Result<(u64, u64)> {
    Ok(identity(&std::fs::metadata(path)?))
}

/// The answer of whoever finds another file where the store's was, or none.
pub fn replaced() -> Error {
    Error::new(
        Status::Io,
        "the database or its log was moved, replaced or deleted while the store was open",
    )
}

/// Makes the entries of a file's folder durable, so that the file is found after a power failure.
pub fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Up to where the events are durable, and who is making it further.
#[derive(Debug)]
pub struct Durability {
    /// `None`: nothing is ever durable, or everything that can be read is.
    log: Option<Log>,
    durable: AtomicI64,
    state: Mutex<State>,
    changed: Condvar,
    /// What the tests do to a sync.
    #[cfg(test)]
    pub tampering: Tampering,
}

#[cfg(test)]
#[derive(Debug, Default)]
pub struct Tampering {
    /// A sync waits for this.
    pub stall: Mutex<()>,
    /// Every sync fails.
    pub fail: std::sync::atomic::AtomicBool,
    /// How many there were.
    pub count: std::sync::atomic::AtomicU64,
    /// What notes the next commit panics.
    pub panic: std::sync::atomic::AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Committed, so in the log, if perhaps not yet on the disk.
    written: i64,
    syncing: bool,
    failed: Option<Error>,
}

impl Durability {
    /// Everything up to `durable` is so already.
    pub fn new(log: Option<Log>, durable: i64) -> Self {
        Durability {
            log,
            durable: AtomicI64::new(durable),
            state: Mutex::new(State { written: durable, ..State::default() }),
            changed: Condvar::new(),
            #[cfg(test)]
            tampering: Tampering::default(),
        }
    }

    /// The log, if there is one.
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// The position up to which events are known to be durable.
    pub fn durable(&self) -> i64 {
        self.durable.load(SeqCst)
    }

    /// The failure after which nothing more becomes durable, if there was one.
    pub fn failure(&self) -> Option<Error> {
        self.state().failed.clone()
    }

    /// Returns when the events up to `position`, all of them committed, are durable.
    ///
    /// One of the callers syncs, for all; those who come while it does wait for the next sync,
    /// since theirs may have been written too late for this one.
    pub fn ensure(&self, position: i64) -> Result<()> {
        if position <= self.durable() {
            return Ok(());
        }
        let mut state = self.state();
        state.written = state.written.max(position);
        loop {
            if position <= self.durable() {
                return Ok(());
            }
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if state.syncing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.sync_for_all(state);
        }
    }

    /// Syncs the log, so that a failure to write it is not found out by a descriptor of SQLite's
    /// first: it is told to each descriptor once, and SQLite would try again, over a hole.
    pub fn check(&self) -> Result<()> {
        let mut state = self.state();
        while state.syncing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed.is_none() {
            state = self.sync_for_all(state);
        }
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// From here on nothing more becomes durable, for a reason that was met elsewhere.
    pub fn fail(&self, error: &Error) {
        self.state().failed.get_or_insert_with(|| lost(error));
        self.changed.notify_all();
    }

    /// Syncs the log for all that is committed. One sync at a time: of two at once, only one would
    /// be told of a failure.
    fn sync_for_all<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.syncing = true;
        let target = state.written;
        drop(state);
        let outcome = self.sync();
        let mut state = self.state();
        state.syncing = false;
        match outcome {
            Ok(()) => {
                self.durable.fetch_max(target, SeqCst);
            }
            // The kernel may have dropped what it could not write and call the next sync a
            // success: from here on no sync of this store is believed.
            Err(error) => state.failed = Some(lost(&error)),
        }
        self.changed.notify_all();
        state
    }

    fn sync(&self) -> Result<()> {
        #[cfg(test)]
        {
            self.tampering.count.fetch_add(1, SeqCst);
            drop(self.tampering.stall.lock());
            if self.tampering.fail.load(SeqCst) {
                return Err(std::io::Error::from_raw_os_error(libc::EIO).into());
            }
        }
        if has(Flaw::AnswerBeforeSync) {
            return Ok(());
        }
        self.log.as_ref().map_or(Ok(()), Log::sync)
    }

    /// Notes events that are committed, so that the sync of somebody else serves them too.
    pub fn note_written(&self, position: i64) {
        #[cfg(test)]
        assert!(!self.tampering.panic.swap(false, SeqCst), "as the test asked");
        let mut state = self.state();
        state.written = state.written.max(position);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost(error: &Error) -> Error {
    Error {
        message: format!(
            "the log could not be made durable ({}): close the store and open it again",
            error.message
        )
        .into(),
        ..error.clone()
    }
}
