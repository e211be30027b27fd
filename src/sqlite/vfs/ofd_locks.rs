//! The locks of the library's own copy of SQLite.
//!
//! A host process may have the same file open through a SQLite of its own. POSIX locks belong to
//! the process, so the two copies would not see each other, and each `close` would drop the other's
//! locks. [`install`] has the library's copy take open-file-description locks instead, and keep a
//! descriptor for as long as closing it could cost somebody a lock; the hooks are in `ofd_locks.c`.
//!
//! Nothing else in the process may open and close the database file or its `-shm`.

use std::path::Path;
use std::sync::OnceLock;

/// Which locks a SQLite file is guarded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Open-file-description locks: another SQLite in the same process is seen, and does no harm.
    OpenFileDescription,
    /// POSIX locks, which belong to the process: it must not open the file with another SQLite.
    Process,
}

impl LockKind {
    /// As a diagnosis gives it.
    pub fn name(self) -> &'static str {
        match self {
            LockKind::OpenFileDescription => "open-file-description",
            LockKind::Process => "process",
        }
    }
}

/// What is known of the locks of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLocks {
    /// The locks that this file is guarded with: the file system may refuse what the system offers.
    pub kind: LockKind,
    /// Another SQLite in this process has a lock on the file, so has it open.
    pub foreign: bool,
}

static KIND: OnceLock<LockKind> = OnceLock::new();

/// Has the library's copy of SQLite take locks as the module describes, and says which those are.
///
/// To be called before each connection is opened. After the first call it does nothing, but in the
/// child of a fork, which takes locks of its own from then on: no store was open in its parent then.
pub fn install() -> LockKind {
    let kind = *KIND.get_or_init(|| {
        if hooks::install() { LockKind::OpenFileDescription } else { LockKind::Process }
    });
    if kind == LockKind::OpenFileDescription {
        hooks::adopt();
    }
    kind
}

/// The locks in use: those of [`install`], and POSIX locks before it.
pub fn kind() -> LockKind {
    KIND.get().copied().unwrap_or(LockKind::Process)
}

/// The locks of the database at `path`, if the library has it open and has locked it before.
///
/// For diagnostics: a foreign lock is held by a connection in WAL mode for as long as it is open,
/// in rollback mode only during a transaction.
pub fn inspect(path: &Path) -> Option<FileLocks> {
    if kind() == LockKind::Process {
        return path.exists().then_some(FileLocks { kind: LockKind::Process, foreign: false });
    }
    hooks::inspect(path)
}

/// Whether another SQLite in this process has the database at `path` open beside the library.
pub fn foreign_sqlite(path: &Path) -> bool {
    inspect(path).is_some_and(|locks| locks.foreign)
}

#[cfg(all(target_os = "linux", feature = "bundled-sqlite"))]
mod hooks {
    use std::ffi::{c_char, c_int};
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use rusqlite::ffi;

    use crate::sqlite::vfs::ofd_locks::{FileLocks, LockKind};

    unsafe extern "C" {
        safe fn dcb_locks_prepare() -> c_int;
        safe fn dcb_locks_adopt();
        safe fn dcb_locks_inspect(dev: u64, ino: u64) -> c_int;
        fn dcb_locks_open(path: *const c_char, flags: c_int, mode: c_int) -> c_int;
        fn dcb_locks_close(fd: c_int) -> c_int;
        fn dcb_locks_fcntl(fd: c_int, command: c_int, ...) -> c_int;
    }

    type SystemCall = unsafe extern "C" fn();

    pub(super) fn install() -> bool {
        // SAFETY: the name is a C string; SQLite initialises itself, and keeps its VFSs for ever.
        let vfs = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
        // SAFETY: not NULL, it is one of those VFSs, which nobody changes.
        let Some(set) = unsafe { vfs.as_ref() }.and_then(|vfs| vfs.xSetSystemCall) else {
            return false;
        };
        if dcb_locks_prepare() == 0 {
            return false;
        }
        // SAFETY: SQLite calls each through the type that it is defined with here, as it would
        // the system's own function, and they are as unchanging: the library is never unloaded.
        let calls = unsafe {
            [
                (
                    c"open",
                    std::mem::transmute::<
                        unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int,
                        SystemCall,
                    >(dcb_locks_open),
                ),
                (
                    c"close",
                    std::mem::transmute::<unsafe extern "C" fn(c_int) -> c_int, SystemCall>(
                        dcb_locks_close,
                    ),
                ),
                (
                    c"fcntl",
                    std::mem::transmute::<
                        unsafe extern "C" fn(c_int, c_int, ...) -> c_int,
                        SystemCall,
                    >(dcb_locks_fcntl),
                ),
            ]
        };
        // SAFETY: `vfs` and the names are valid; no connection is open that could use the calls.
        calls
            .iter()
            .all(|(name, call)| unsafe { set(vfs, name.as_ptr(), Some(*call)) == ffi::SQLITE_OK })
    }

    pub(super) fn adopt() {
        dcb_locks_adopt();
    }

    pub(super) fn inspect(path: &Path) -> Option<FileLocks> {
        let file = path.metadata().ok()?;
        let found = dcb_locks_inspect(file.dev(), file.ino());
        if found == 0 {
            return None;
        }
        let kind = if found & 2 != 0 { LockKind::OpenFileDescription } else { LockKind::Process };
        Some(FileLocks { kind, foreign: found & 4 != 0 || listed(file.ino()) })
    }

    /// Whether the system's table of locks has a POSIX lock of this process on `inode`: asking for
    /// one conflicting lock shows only the eldest, which may be another process's.
    fn listed(inode: u64) -> bool {
        let (process, inode) = (std::process::id().to_string(), format!(":{inode}"));
        let table = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        table.lines().any(|line| {
            let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "POSIX");
            words.next().is_some()
                && words.nth(2) == Some(process.as_str())
                && words.next().is_some_and(|file| file.ends_with(&inode))
        })
    }
}

#[cfg(not(all(target_os = "linux", feature = "bundled-sqlite")))]
mod hooks {
    use std::path::Path;

    pub(super) fn install() -> bool {
        false
    }

    pub(super) fn adopt() {}

    pub(super) fn inspect(_path: &Path) -> Option<crate::sqlite::vfs::ofd_locks::FileLocks> {
        None
    }
}
