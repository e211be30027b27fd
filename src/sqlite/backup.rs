//! Copying a store that is in use to a new file.
//!
//! The pages are copied by SQLite's online backup API inside a read transaction of the source
//! connection. Between two steps that API looks for changes by other connections and starts over
//! when it finds one; a connection in a read transaction sees none, so the copy is one pass over
//! one snapshot however fast others write, and can report its progress and be cancelled between
//! steps.
//!
//! The copy is written under a temporary name, synced, checked, and renamed last. So a file with
//! the name that the caller asked for is always a whole store.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::commit::deadline::{CallOptions, Deadline};
use crate::domain::{Direction, PositionRange};
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sqlite::connection::error::from_sqlite;
use crate::sqlite::connection::transaction::{Transaction, retry, wait_for_lock};
use crate::sqlite::connection::{Location, OpenMode, connect};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::open::explain::check_path;
use crate::sqlite::schema::{FileKind, detect_in_transaction};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::StoreState;
use crate::sqlite::store::{Connections, SqliteStore};
use crate::sqlite::wal::file_ops::{beside, sync_folder_of};
use crate::store::BackupProgress;

/// Pages that are copied between two looks at the cancel: 2 MiB, some milliseconds.
const STEP_PAGES: i32 = if cfg!(any(test, feature = "testing")) { 4 } else { 512 };
/// Instructions of SQLite's, and events, between two looks at the cancel while the copy is checked.
const CHECK_INSTRUCTIONS: i32 = 10_000;
const CHECK_EVENTS: i64 = 1_024;

impl SqliteStore {
    /// Copies the store to a new file at `path`, and returns the head of the copy.
    pub(super) fn copy_to(
        &self,
        path: &Path,
        call: &CallOptions,
        progress: &mut dyn FnMut(BackupProgress) -> Result<()>,
    ) -> Result<Position> {
        let limit = Limit {
            shared: Arc::clone(&self.shared),
            lock: self.shared.start(call, self.shared.busy_timeout)?,
            whole: call.start(None),
        };
        limit.check()?;
        let target = Target::new(path)?;
        let (draft, snapshot) = match &self.connections {
            Connections::ReadOnly(readers) | Connections::ReadWrite(_, readers) => {
                let draft = Draft::create(&target, std::fs::metadata(readers.path())?.mode())?;
                // Not one of the pool's: a long copy would leave the reads one less.
                let reader = retry(&limit.lock, || readers.open())?;
                let snapshot = copy(&reader.connection, &draft, &limit, progress)?;
                (draft, snapshot)
            }
            Connections::Memory(writer) => {
                let draft = Draft::create(&target, 0o666)?;
                let mut core = writer.lock_within(&limit.lock)?;
                let snapshot = copy(core.open()?.parts().0, &draft, &limit, progress)?;
                (draft, snapshot)
            }
        };
        // An event that was committed and not yet synced could be lost by the store and kept by the
        // copy.
        self.shared.commits.durability.ensure(snapshot.head)?;
        draft.set_rollback_mode()?;
        draft.file.sync_all()?;
        limit.check()?;
        check(&draft.path, snapshot, &limit)?;
        limit.check()?;
        draft.publish(&target)?;
        Ok(snapshot.head)
    }
}

/// What ends a copy early.
#[derive(Clone)]
struct Limit {
    shared: Arc<StoreState>,
    /// How long it may wait for a lock.
    lock: Deadline,
    /// How long it may take.
    whole: Deadline,
}

impl Limit {
    fn check(&self) -> Result<()> {
        self.shared.commits.watch.check_open()?;
        self.whole.check_cancel()?;
        if self.whole.is_over() {
            return Err(Error::new(
                Status::Timeout,
                "the backup was not complete within the time given",
            ));
        }
        Ok(())
    }
}

/// Where the copy is to be.
struct Target {
    path: PathBuf,
}

impl Target {
    fn new(path: &Path) -> Result<Self> {
        let ends_in_name = path.as_os_str().as_bytes().last().is_some_and(|last| *last != b'/');
        if path.file_name().is_none() || !ends_in_name {
            return Err(Error::invalid("path: must be that of a file"));
        }
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(Error::invalid("path: must not contain a NUL"));
        }
        // The process may change its working folder while the copy is made.
        let target = Target { path: std::path::absolute(path)? };
        check_path(&target.path).map_err(|error| error.at("path"))?;
        target.check_free()?;
        Ok(target)
    }

    /// Nothing is there, nor beside it what SQLite would take for a part of the copy.
    fn check_free(&self) -> Result<()> {
        if self.path.symlink_metadata().is_ok() {
            return Err(exists());
        }
        for end in ["-wal", "-shm", "-journal"] {
            if beside(&self.path, end).symlink_metadata().is_ok() {
                return Err(Error::invalid(format!(
                    "path: there is a {end} file of another database beside it: move it away"
                ))
                .with_detail(libc::EEXIST));
            }
        }
        Ok(())
    }
}

fn exists() -> Error {
    Error::invalid("path: there is a file already, and a backup never replaces one")
        .with_detail(libc::EEXIST)
}

/// The copy under its temporary name, deleted when this is dropped.
struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    /// An empty file in the target's folder that nobody may use who may not use the source, of
    /// which `mode` is the file mode.
    fn create(target: &Target, mode: u32) -> Result<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = LAST.fetch_add(1, Relaxed) + 1;
            let name = format!(".dcb-backup-{}-{number}", std::process::id());
            let path = target.path.with_file_name(name);
            let mode = mode & 0o666 | 0o600;
            match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path)
            {
                Ok(file) => return Ok(Draft { path, file }),
                // Of a process with the same number that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::from(error).at("path")),
            }
        }
    }

    /// Has the copy of a database in WAL mode be one in rollback mode, so that reading it makes no
    /// files beside it. See <https://sqlite.org/fileformat2.html#file_format_version_numbers>.
    fn set_rollback_mode(&self) -> Result<()> {
        self.file.write_all_at(&[1, 1], 18)?;
        Ok(())
    }

    /// Gives the copy its name, for good.
    fn publish(self, target: &Target) -> Result<()> {
        target.check_free()?;
        match rename_to_new(&self.path, &target.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            Err(error) => return Err(Error::from(error).at("path")),
        }
        sync_folder_of(&target.path).inspect_err(|_| {
            let _ = std::fs::remove_file(&target.path);
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It has no name of its own any more once it is published.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Copies the database of `source` into `draft`, and returns the snapshot that was copied.
fn copy(
    source: &Connection,
    draft: &Draft,
    limit: &Limit,
    progress: &mut dyn FnMut(BackupProgress) -> Result<()>,
) -> Result<Snapshot> {
    let mut copy = connect(&Location::File(draft.path.clone()), OpenMode::Write)?;
    // If this ends early the file is deleted, so there is nothing to undo and nothing to sync.
    copy.query_row("PRAGMA journal_mode = memory", [], |_| Ok(())).map_err(from_sqlite)?;
    copy.pragma_update(None, "synchronous", "off").map_err(from_sqlite)?;
    let (moment, snapshot) = retry(&limit.lock, || {
        let moment = Transaction::begin(source)?;
        let snapshot = Snapshot::take(source)?;
        Ok((moment, snapshot))
    })?;
    let backup = Backup::new(source, &mut copy).map_err(from_sqlite)?;
    loop {
        limit.check()?;
        let step = backup.step(STEP_PAGES).map_err(from_sqlite)?;
        if matches!(step, StepResult::Done | StepResult::More) {
            let now = backup.progress();
            progress(BackupProgress {
                done_pages: i64::from(now.pagecount - now.remaining),
                total_pages: i64::from(now.pagecount),
            })?;
        }
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => wait_for_lock(&limit.lock)?,
        }
    }
    drop(backup);
    drop(moment);
    copy.close().map_err(|(_, error)| from_sqlite(error))?;
    Ok(snapshot)
}

/// Checks that the file at `path` is a whole store with the events of `snapshot`.
fn check(path: &Path, snapshot: Snapshot, limit: &Limit) -> Result<()> {
    // The only one to open it; and nothing is made beside it.
    let mut copy = connect(&Location::File(path.to_owned()), OpenMode::Immutable)?;
    let ends = limit.clone();
    copy.progress_handler(CHECK_INSTRUCTIONS, Some(move || ends.check().is_err()))
        .map_err(from_sqlite)?;
    let checked = check_store(&copy, snapshot, limit);
    // SQLite says only that it was interrupted.
    limit.check()?;
    checked
}

fn check_store(copy: &Connection, snapshot: Snapshot, limit: &Limit) -> Result<()> {
    let damaged = |what: &str| {
        Error::new(Status::Corrupt, format!("the copy is damaged, so the store may be: {what}"))
    };
    if detect_in_transaction(copy)? != FileKind::Store {
        return Err(damaged("it is not a store"));
    }
    let found: String =
        copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(from_sqlite)?;
    if found != "ok" {
        return Err(damaged(&found));
    }
    if Snapshot::take(copy)? != snapshot {
        return Err(damaged("it does not end where the store did"));
    }
    let span = PositionRange { after: Position::START, through: snapshot.head };
    EventReader::default().scan(copy, span, Direction::Forward, |event| {
        if event.position.get() % CHECK_EVENTS == 0 {
            limit.check()?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(())
}

/// Renames a file, unless there is one of the new name already: then `AlreadyExists`.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_exclusively(from, to) {
        // The system or the file system cannot do it.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOSYS | libc::EINVAL | libc::EPERM | libc::ENOTSUP)
            ) =>
        {
            // This does not replace a file either, but for a moment there are two names.
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        other => other,
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_exclusively(from: &Path, to: &Path) -> io::Result<()> {
    let from = CString::new(from.as_os_str().as_bytes())?;
    let to = CString::new(to.as_os_str().as_bytes())?;
    // By its number, since older C libraries have no function for it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: the paths are terminated, and borrowed for the call.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::RENAME_NOREPLACE,
        ) != 0
    };
    #[cfg(target_vendor = "apple")]
    // SAFETY: as above.
    let failed = unsafe { libc::renamex_np(from.as_ptr(), to.as_ptr(), libc::RENAME_EXCL) != 0 };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_exclusively(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_way_to_rename_replaces_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let link = |from: &Path, to: &Path| {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        };
        for rename in [rename_to_new, link] {
            std::fs::write(at("a"), "a").unwrap();
            std::fs::write(at("b"), "b").unwrap();
            let refused = rename(&at("a"), &at("b")).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(std::fs::read(at("b")).unwrap(), b"b");
            rename(&at("a"), &at("c")).unwrap();
            assert_eq!((std::fs::read(at("c")).unwrap(), at("a").exists()), (b"a".into(), false));
            std::fs::remove_file(at("c")).unwrap();
        }
    }
}
