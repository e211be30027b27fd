//! Intercepts this program's file calls: calls on the files of one folder are recorded, delayed or
//! failed, and passed on.
//!
//! The linker prefers a function of the program to one of the C library. So SQLite and Rust's
//! standard library call the functions that are exported here.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A file from its creation to its deletion. A later file of the same name has another id.
pub type FileId = usize;
/// The id that stands for the folder itself.
pub const FOLDER: FileId = 0;

/// A step in the history of the folder. Steps are recorded in the order in which they happened.
#[derive(Debug, Clone)]
pub enum Step {
    Create {
        file: FileId,
        name: String,
    },
    Unlink {
        name: String,
    },
    Write {
        file: FileId,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        file: FileId,
        len: u64,
    },
    /// A sync of the file starts. It covers the changes that were made before this step.
    SyncBegins {
        file: FileId,
        sync: usize,
    },
    /// A sync of the file ended. The changes that it covers are durable from this step on.
    SyncEnds {
        sync: usize,
    },
    /// A sync failed. The system lost a part of what it had to write and regards it as written, so
    /// that no later sync makes up for it.
    SyncFails {
        file: FileId,
    },
    /// A note of the program.
    Note(String),
}

/// A kind of call that can be failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Open,
    Read,
    Write,
    Truncate,
    /// A sync by SQLite.
    Sync,
    /// A sync by the store, which alone calls `fdatasync`.
    WalSync,
    Map,
    Unlink,
}

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub call: Call,
    /// The first call that fails, counted from 1.
    pub nth: u64,
    /// Whether all later calls fail too.
    pub for_good: bool,
    pub errno: c_int,
    /// Whether the nth write writes half of its bytes, and the next one fails.
    pub short: bool,
}

#[derive(Default)]
struct Disk {
    /// The watched folder with a slash at its end, or empty if nothing is watched.
    folder: Vec<u8>,
    /// The descriptors of files in the folder.
    open: HashMap<c_int, FileId>,
    /// The descriptors whose next sync reports an earlier failure.
    unreported: HashSet<c_int>,
    names: HashMap<String, FileId>,
    files: FileId,
    syncs: usize,
    steps: Option<Vec<Step>>,
    /// Whether the store's own syncs do nothing, and report success.
    forgets_wal_syncs: bool,
    fault: Option<Fault>,
    /// The number of calls that change something, up to the one before which the process ends; 0 if
    /// it does not end.
    left: u64,
    /// How many calls of the fault's kind were made.
    calls: u64,
    failed: u64,
}

static WATCHING: AtomicBool = AtomicBool::new(false);
static DISK: Mutex<Option<Disk>> = Mutex::new(None);

fn disk() -> Option<Guard> {
    if !WATCHING.load(SeqCst) {
        return None;
    }
    Some(Guard(DISK.lock().unwrap_or_else(PoisonError::into_inner)))
}

struct Guard(MutexGuard<'static, Option<Disk>>);

impl std::ops::Deref for Guard {
    type Target = Disk;
    fn deref(&self) -> &Disk {
        self.0.as_ref().expect("watching")
    }
}

impl std::ops::DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Disk {
        self.0.as_mut().expect("watching")
    }
}

/// Watches this folder from now on, instead of any other. No file in it may be open.
pub fn watch(folder: &Path) {
    let mut path = folder.as_os_str().as_encoded_bytes().to_vec();
    path.push(b'/');
    let disk = Disk { folder: path, files: FOLDER + 1, ..Disk::default() };
    *DISK.lock().unwrap_or_else(PoisonError::into_inner) = Some(disk);
    WATCHING.store(true, SeqCst);
}

/// Starts recording.
pub fn record(forgets_wal_syncs: bool) {
    let mut disk = disk().expect("watching");
    disk.steps = Some(Vec::new());
    disk.forgets_wal_syncs = forgets_wal_syncs;
}

/// Ends recording and returns the recorded steps.
pub fn recorded() -> Vec<Step> {
    disk().and_then(|mut disk| disk.steps.take()).unwrap_or_default()
}

/// Records a note of the program.
pub fn note(text: String) {
    if let Some(mut disk) = disk() {
        disk.step(|| Step::Note(text));
    }
}

/// Sets the calls that fail from now on, or none. Returns how many the last fault failed.
pub fn fail(fault: Option<Fault>) -> u64 {
    let mut disk = disk().expect("watching");
    disk.fault = fault;
    disk.calls = 0;
    std::mem::take(&mut disk.failed)
}

/// Ends the process, as a crash would, before its nth call from now on that changes the folder or a
/// file in it.
pub fn end_at(nth: u64) {
    disk().expect("watching").left = nth;
}

impl Disk {
    fn step(&mut self, step: impl FnOnce() -> Step) {
        if let Some(steps) = &mut self.steps {
            steps.push(step());
        }
    }

    /// Returns the name of a path in the folder; that of the folder itself is empty.
    fn name(&self, path: *const c_char) -> Option<String> {
        // SAFETY: the caller passes a terminated path, as the system call demands.
        let path = unsafe { CStr::from_ptr(path) }.to_bytes();
        if !self.folder.is_empty() && path == &self.folder[..self.folder.len() - 1] {
            return Some(String::new());
        }
        let name = path.strip_prefix(self.folder.as_slice())?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    fn opened(&mut self, fd: c_int, name: String) {
        let file = if name.is_empty() {
            FOLDER
        } else if let Some(file) = self.names.get(&name) {
            *file
        } else {
            let file = self.files;
            self.files += 1;
            self.names.insert(name.clone(), file);
            self.step(|| Step::Create { file, name });
            file
        };
        self.open.insert(fd, file);
    }

    /// Returns the error with which this call must fail, if any, and whether a write first writes
    /// half of its bytes. Ends the process if this is the call to end at.
    fn fault(&mut self, call: Call) -> Option<(c_int, bool)> {
        if self.left > 0 && !matches!(call, Call::Read | Call::Map) {
            self.left -= 1;
            if self.left == 0 {
                std::process::abort();
            }
        }
        let fault = self.fault.filter(|fault| fault.call == call)?;
        self.calls += 1;
        let past = self.calls.checked_sub(fault.nth)?;
        if past > 0 && !fault.for_good && !(past == 1 && fault.short) {
            return None;
        }
        self.failed += 1;
        Some((fault.errno, fault.short && past == 0))
    }
}

fn fail_with(errno: c_int) -> c_int {
    // SAFETY: the location is the calling thread's.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Returns the disk and the file of a descriptor, if it is watched.
fn watched(fd: c_int) -> Option<(Guard, FileId)> {
    let disk = disk()?;
    let file = *disk.open.get(&fd)?;
    Some((disk, file))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    // SAFETY: the caller's arguments, passed on.
    let real = || unsafe {
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags as c_long, mode as c_long)
            as c_int
    };
    let Some(mut disk) = disk() else { return real() };
    let Some(name) = disk.name(path) else {
        drop(disk);
        return real();
    };
    if let Some((errno, _)) = disk.fault(Call::Open) {
        return fail_with(errno);
    }
    let fd = real();
    if fd >= 0 {
        disk.opened(fd, name);
    }
    fd
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    if let Some((mut disk, _)) = watched(fd) {
        disk.open.remove(&fd);
        disk.unreported.remove(&fd);
    }
    // SAFETY: the caller's arguments, passed on.
    unsafe { libc::syscall(libc::SYS_close, fd as c_long) as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(fd: c_int, buf: *mut c_void, len: usize, offset: i64) -> isize {
    if let Some((mut disk, _)) = watched(fd)
        && let Some((errno, _)) = disk.fault(Call::Read)
    {
        return fail_with(errno) as isize;
    }
    // SAFETY: the caller's arguments, passed on.
    unsafe { libc::syscall(libc::SYS_pread64, fd as c_long, buf, len, offset) as isize }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, buf: *const c_void, len: usize, offset: i64) -> isize {
    // SAFETY: the caller's arguments, passed on.
    let real = |len: usize| unsafe {
        libc::syscall(libc::SYS_pwrite64, fd as c_long, buf, len, offset) as isize
    };
    let Some((mut disk, file)) = watched(fd) else { return real(len) };
    let mut len = len;
    if let Some((errno, short)) = disk.fault(Call::Write) {
        if !short || len < 2 {
            return fail_with(errno) as isize;
        }
        len /= 2;
    }
    let written = real(len);
    if written > 0 {
        disk.step(|| {
            // SAFETY: the system has just read this many bytes there.
            let data = unsafe { std::slice::from_raw_parts(buf.cast::<u8>(), written as usize) };
            Step::Write { file, offset: offset as u64, data: data.to_vec() }
        });
    }
    written
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, len: i64) -> c_int {
    let watched = watched(fd);
    // SAFETY: the caller's arguments, passed on.
    let real = || unsafe { libc::syscall(libc::SYS_ftruncate, fd as c_long, len) as c_int };
    let Some((mut disk, file)) = watched else { return real() };
    if let Some((errno, _)) = disk.fault(Call::Truncate) {
        return fail_with(errno);
    }
    let done = real();
    if done == 0 {
        disk.step(|| Step::Truncate { file, len: len as u64 });
    }
    done
}

/// Simulates a sync: what was recorded is durable from its end on. A process that watches a folder
/// makes no real sync at all.
fn sync(fd: c_int, call: Call, number: c_long) -> c_int {
    if !WATCHING.load(SeqCst) {
        // SAFETY: the caller's argument, passed on.
        return unsafe { libc::syscall(number, fd as c_long) as c_int };
    }
    let Some((mut disk, file)) = watched(fd) else { return 0 };
    if disk.unreported.remove(&fd) {
        return fail_with(libc::EIO);
    }
    if let Some((errno, _)) = disk.fault(call) {
        // Linux reports the failure once to each open descriptor of the file.
        let others: Vec<c_int> = disk
            .open
            .iter()
            .filter(|(own, of)| **of == file && **own != fd)
            .map(|(own, _)| *own)
            .collect();
        if disk.steps.is_some() {
            disk.unreported.extend(others);
        }
        disk.step(|| Step::SyncFails { file });
        return fail_with(errno);
    }
    if disk.steps.is_none() || (call == Call::WalSync && disk.forgets_wal_syncs) {
        return 0;
    }
    let sync = disk.syncs;
    disk.syncs += 1;
    disk.step(|| Step::SyncBegins { file, sync });
    drop(disk);
    // Gives other threads time to write, and to try to read, during the sync.
    std::thread::sleep(Duration::from_micros(150));
    if let Some((mut disk, _)) = watched(fd) {
        if disk.unreported.remove(&fd) {
            return fail_with(libc::EIO);
        }
        disk.step(|| Step::SyncEnds { sync });
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, Call::Sync, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, Call::WalSync, libc::SYS_fdatasync)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's arguments, passed on.
    let real =
        || unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0 as c_long) as c_int };
    let Some(mut disk) = disk() else { return real() };
    let Some(name) = disk.name(path) else {
        drop(disk);
        return real();
    };
    if let Some((errno, _)) = disk.fault(Call::Unlink) {
        return fail_with(errno);
    }
    let done = real();
    if done == 0 {
        disk.names.remove(&name);
        disk.step(|| Step::Unlink { name });
    }
    done
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap64(
    address: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    if fd >= 0
        && let Some((mut disk, _)) = watched(fd)
        && let Some((errno, _)) = disk.fault(Call::Map)
    {
        fail_with(errno);
        return libc::MAP_FAILED;
    }
    // SAFETY: the caller's arguments, passed on.
    unsafe {
        libc::syscall(
            libc::SYS_mmap,
            address,
            len,
            protection as c_long,
            flags as c_long,
            fd as c_long,
            offset,
        ) as *mut c_void
    }
}
