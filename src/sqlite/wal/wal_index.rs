//! The database file and its shared memory as SQLite has them open: nothing else may open them.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicU32, fence};

use rusqlite::{Connection, ffi};

use crate::error::Result;
use crate::sqlite::connection::error::{busy, from_sqlite};

/// SQLite's lock of who checkpoints, and the words of the log's index in which it counts how many
/// frames the log has and how many were brought into the database:
/// <https://sqlite.org/walformat.html#the_wal_index_file_format>.
const CHECKPOINT_LOCK: c_int = 1;
const FRAMES: usize = 4;
/// The word in which the header counts the commits.
const COMMITS: usize = 2;
const BACKFILLED: usize = 24;
/// How many a checkpoint that has begun would bring in.
const ATTEMPTED: usize = 32;
/// What differs from one beginning of the log to the next.
const SALT: [usize; 2] = [8, 9];
/// Words of the log's index that are looked at.
const WORDS: usize = 33;
/// The header of the log's index, in words. It is there twice, the first of them written last.
pub type Header = [u32; 12];
/// How much of the shared memory is mapped at a time.
const SHM_REGION: c_int = 32768;

/// The file of the connection, and what can be done with it.
///
/// It is the connection's own, open as long as that is.
fn file_of(connection: &Connection) -> Option<(*mut ffi::sqlite3_file, &ffi::sqlite3_io_methods)> {
    open_file(connection, ffi::SQLITE_FCNTL_FILE_POINTER)
}

/// The one of the connection's files that `which` asks for, if it is open.
fn open_file(
    connection: &Connection,
    which: c_int,
) -> Option<(*mut ffi::sqlite3_file, &ffi::sqlite3_io_methods)> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the connection is open and this thread's own as long as it is borrowed; a file that
    // SQLite gives has its methods for as long as it is open.
    unsafe {
        let found = ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            which,
            (&raw mut file).cast(),
        );
        let methods = file.as_ref().and_then(|file| file.pMethods.as_ref())?;
        (found == ffi::SQLITE_OK).then_some((file, methods))
    }
}

/// A version of the database file: while it lasts, no page of the file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileVersion {
    /// In WAL mode, where only checkpoints write the file: the salts of the WAL, and how many of its
    /// frames were checkpointed.
    Checkpointed([u32; 3]),
    /// In rollback mode, where every commit writes the file: the change counter of the first page
    /// (<https://sqlite.org/fileformat2.html#file_change_counter>), read under the SHARED lock.
    Committed(u32),
}

/// A version of the database file, and whether its pages make up one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    /// The version.
    pub version: FileVersion,
    /// Whether every page is known to be as the last commit in the file left it: no reader held up
    /// the last checkpoint, or the WAL was reset since.
    pub is_whole: bool,
}

/// Where the first page holds the change counter.
const CHANGE_COUNTER: u64 = 24;

/// The database file of a connection, from which pages are read without SQLite.
///
/// In WAL mode that takes no lock. In rollback mode it takes a transaction that has read, whose
/// SHARED lock keeps the file as it is.
pub struct DatabaseFile<'a> {
    file: *mut ffi::sqlite3_file,
    methods: &'a ffi::sqlite3_io_methods,
    /// The beginning of the WAL-index; `None`: the database is in rollback mode.
    index: Option<&'a [AtomicU32; WORDS]>,
}

impl<'a> DatabaseFile<'a> {
    /// The file of this connection; `None` where its pages cannot be read now.
    pub fn of(connection: &'a Connection) -> Option<Self> {
        let (file, methods) = file_of(connection)?;
        let index = index_of(connection, file, methods).ok()?;
        (index.is_some() || has_read_lock(connection)).then_some(DatabaseFile {
            file,
            methods,
            index,
        })
    }

    /// The state of the file now; `None`: a checkpoint is writing it or was cut off, or the state
    /// cannot be read.
    pub fn state(&self) -> Option<FileState> {
        match self.index {
            Some(index) => checkpointed(index),
            None => {
                let mut counter = [0; 4];
                self.read_at(&mut counter, CHANGE_COUNTER).then_some(())?;
                let version = FileVersion::Committed(u32::from_be_bytes(counter));
                Some(FileState { version, is_whole: true })
            }
        }
    }

    /// Fills `buffer` with the bytes of the file from `offset` on, and with zeros behind its end.
    /// Returns whether all of them are of `version`.
    pub fn read(&self, buffer: &mut [u8], offset: u64, version: FileVersion) -> bool {
        let is_current = || self.state().is_some_and(|state| state.version == version);
        match self.index {
            Some(_) => is_current() && self.read_at(buffer, offset) && is_current(),
            // The lock keeps the version for as long as this value lives.
            None => is_current() && self.read_at(buffer, offset),
        }
    }

    /// Fills `buffer` as [`Self::read`] does. Returns whether all of its bytes are of `version`, or
    /// `None` if they may be of a later commit than that of `mark`.
    pub fn read_marked(
        &self,
        buffer: &mut [u8],
        offset: u64,
        version: FileVersion,
        mark: SchemaMark,
    ) -> Option<bool> {
        let is_current = || self.state().is_some_and(|state| state.version == version);
        let was_current = is_current();
        self.read_at(buffer, offset).then_some(())?;
        let is_exact = was_current && is_current();
        (is_exact || self.is_within(mark)).then_some(is_exact)
    }

    /// Returns whether the file is in WAL mode and holds no page of a later commit than that of
    /// `mark`. What was read before the call was then no later, either.
    pub fn is_within(&self, mark: SchemaMark) -> bool {
        let Some(index) = self.index else { return false };
        fence(SeqCst);
        let [salt, other_salt, backfilled, attempted] =
            [SALT[0], SALT[1], BACKFILLED, ATTEMPTED].map(|at| index[at].load(SeqCst));
        [salt, other_salt] == mark.salts && backfilled.max(attempted) <= mark.frames
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        let (Ok(len), Ok(offset)) = (c_int::try_from(buffer.len()), i64::try_from(offset)) else {
            return false;
        };
        let Some(read) = self.methods.xRead else { return false };
        // SAFETY: the file is open while the connection is borrowed; `buffer` has `len` bytes.
        let read = unsafe { read(self.file, buffer.as_mut_ptr().cast(), len, offset) };
        matches!(read, ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ)
    }
}

/// Whether the first `len` bytes of the connection's file are zeros, or as many as it has. They are
/// read whether the file is a database or not, and whatever its journal says.
pub fn is_all_zero(connection: &Connection, len: usize) -> bool {
    let Some((file, methods)) = file_of(connection) else { return false };
    let mut buffer = vec![0; len];
    DatabaseFile { file, methods, index: None }.read_at(&mut buffer, 0)
        && buffer.iter().all(|byte| *byte == 0)
}

/// The beginning of the log's index, if the connection has a log; an error: it cannot be had.
fn index_of<'a>(
    connection: &Connection,
    file: *mut ffi::sqlite3_file,
    methods: &'a ffi::sqlite3_io_methods,
) -> std::result::Result<Option<&'a [AtomicU32; WORDS]>, ()> {
    if !has_log(connection) {
        return Ok(None);
    }
    log_index(file, methods).ok().flatten().map(Some).ok_or(())
}

/// Whether the connection's file is a database in WAL mode, by its first page. The connection need
/// not have the WAL open: <https://sqlite.org/fileformat2.html#file_format_version_numbers>.
pub fn is_in_wal_mode(connection: &Connection) -> bool {
    let Some((file, methods)) = file_of(connection) else { return false };
    let mut header = [0; 20];
    let read = DatabaseFile { file, methods, index: None }.read_at(&mut header, 0);
    read && header.starts_with(b"SQLite format 3\0") && header[19] == 2
}

/// Whether the connection is in a transaction that has read: in rollback mode it has the SHARED
/// lock then.
fn has_read_lock(connection: &Connection) -> bool {
    // SAFETY: the connection is open and this thread's own as long as it is borrowed.
    let state = unsafe { ffi::sqlite3_txn_state(connection.handle(), c"main".as_ptr()) };
    state >= ffi::SQLITE_TXN_READ
}

/// The state of a file with this beginning of its WAL-index.
///
/// While a checkpoint writes, a page may lead to one that is not written yet. A checkpoint that a
/// reader held up leaves such pages behind: those that were written again above the frames that it
/// has checkpointed.
fn checkpointed(index: &[AtomicU32; WORDS]) -> Option<FileState> {
    fence(SeqCst);
    let words = [SALT[0], SALT[1], BACKFILLED, ATTEMPTED].map(|at| index[at].load(SeqCst));
    // After those: the WAL has all the frames by now that a checkpoint has found in it.
    let frames = index[FRAMES].load(SeqCst);
    let [salt, other_salt, backfilled, attempted] = words;
    let version = FileVersion::Checkpointed([salt, other_salt, backfilled]);
    let is_whole = backfilled == 0 || backfilled == frames;
    (backfilled == attempted).then_some(FileState { version, is_whole })
}

/// Whether the connection, which reads or has read, has the database's log open.
fn has_log(connection: &Connection) -> bool {
    open_file(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER).is_some()
}

/// The beginning of the log's index, which every connection to the database shares.
///
/// The connection has been in a transaction, and the database has a log.
fn log_index(
    file: *mut ffi::sqlite3_file,
    methods: &ffi::sqlite3_io_methods,
) -> Result<Option<&[AtomicU32; WORDS]>> {
    let Some(map) = methods.xShmMap else { return Ok(None) };
    let mut region = ptr::null_mut();
    // SAFETY: the file is open while its methods are borrowed.
    told(unsafe { map(file, 0, SHM_REGION, 0, &mut region) })?;
    // SAFETY: what is mapped stays so while the file is open, is longer than what is looked at, and
    // aligned to a page; whoever else changes it does so word by word at the least.
    Ok(unsafe { region.cast::<[AtomicU32; WORDS]>().cast_const().as_ref() })
}

/// What a method of a file has answered.
fn told(code: c_int) -> Result<()> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        ffi::SQLITE_BUSY => Err(busy()),
        code => Err(from_sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))),
    }
}

/// The header of the log's index as it is now; `None`: it is being written, or there is none. The
/// connection has been in a transaction before, and the database has a log.
pub fn log_header(connection: &Connection) -> Option<Header> {
    const LEN: usize = size_of::<Header>() / size_of::<u32>();
    let (file, methods) = file_of(connection)?;
    let index = log_index(file, methods).ok()??;
    let header: Header = std::array::from_fn(|at| index[at].load(Acquire));
    fence(SeqCst);
    // As SQLite reads it: two that differ are being written.
    (0..LEN).all(|at| index[LEN + at].load(Acquire) == header[at]).then_some(header)
}

/// A commit in WAL mode, and the schema that the database has had since an earlier one: under one
/// schema, a page of the table of events stays a page of that table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaMark {
    /// The salts of the WAL that has the commit.
    salts: [u32; 2],
    /// How many frames the WAL has up to the commit.
    frames: u32,
    /// The schema cookie, which every change of the schema and every `VACUUM` increments.
    pub cookie: u32,
}

impl SchemaMark {
    /// Creates the mark of the commit that has made this header.
    pub fn new(header: Header, cookie: u32) -> Self {
        SchemaMark { salts: SALT.map(|at| header[at]), frames: header[FRAMES], cookie }
    }
}

/// The state of the WAL under SQLite's write lock, before a transaction has written anything: by
/// this, the transaction's own commit is recognized.
#[derive(Debug, Clone, Copy)]
pub struct LogMark {
    header: Header,
    /// How many pages the connection had written by then.
    written: u32,
}

impl LogMark {
    /// Returns the state now; `None`: it cannot be told. The connection's transaction holds SQLite's
    /// write lock and has written nothing yet.
    pub fn of(connection: &Connection) -> Option<Self> {
        Some(LogMark { header: log_header(connection)?, written: pages_written(connection)? })
    }

    /// Returns the header that the transaction has found.
    pub fn header(self) -> Header {
        self.header
    }

    /// Returns the header that the transaction's commit has made, or `None` if the header is of a
    /// later commit by now, or cannot be told from one.
    ///
    /// The header counts the commits. In a WAL that is not reset, each commit also adds frames behind
    /// those that were there, so the one that ends at as many frames as this connection has added is
    /// its own. This takes a transaction that has written each page once: a small one, which the page
    /// cache holds until the commit. A larger one, or one that resets the WAL, is not recognized.
    pub fn header_of_commit(self, connection: &Connection) -> Option<Header> {
        let header = log_header(connection)?;
        let added = pages_written(connection)?.wrapping_sub(self.written);
        let is_same_log = SALT.iter().all(|&at| header[at] == self.header[at]);
        let is_next = header[COMMITS] == self.header[COMMITS].wrapping_add(1);
        let is_own = header[FRAMES] == self.header[FRAMES].checked_add(added)?;
        (is_same_log && is_next && is_own && (1..=FEW_PAGES).contains(&added)).then_some(header)
    }
}

/// A transaction of so many pages fits into the page cache of every connection.
const FEW_PAGES: u32 = 64;

/// Returns how many pages the connection has written to the WAL since it was opened.
fn pages_written(connection: &Connection) -> Option<u32> {
    let (mut written, mut highest) = (0, 0);
    // SAFETY: the connection is open and this thread's own as long as it is borrowed; the outputs
    // are valid for writes.
    let code = unsafe {
        let of = ffi::SQLITE_DBSTATUS_CACHE_WRITE;
        ffi::sqlite3_db_status(connection.handle(), of, &raw mut written, &raw mut highest, 0)
    };
    (code == ffi::SQLITE_OK).then_some(written.cast_unsigned())
}

/// How many bytes of the WAL hold frames that were committed; `None`: that cannot be told. The
/// caller holds SQLite's write lock.
pub fn used_bytes(connection: &Connection) -> Option<u64> {
    const WAL_HEADER: u64 = 32;
    const FRAME_HEADER: u64 = 24;
    let header = log_header(connection)?;
    let [_, _, first, second] = header[3].to_ne_bytes();
    let page = match u16::from_ne_bytes([first, second]) {
        1 => 65_536,
        page if page >= 512 => u64::from(page),
        // No transaction has been in this WAL yet.
        _ => return None,
    };
    Some(WAL_HEADER + u64::from(header[FRAMES]) * (FRAME_HEADER + page))
}

/// Has the next checkpoint bring in the whole log, also what SQLite counts as brought in already.
/// The caller holds SQLite's write lock; `busy` where somebody is checkpointing.
///
/// Where all is counted, the count stays: it was synced before it was counted. And readers may be
/// at the database itself then, for as long as they like, which would hold a checkpoint up.
///
/// SQLite does the same when it makes the shared memory anew, under the same two locks: who reads
/// the database itself, since all was brought in, goes on finding there what he found.
pub fn forget_backfill(connection: &Connection) -> Result<()> {
    let Some((file, methods)) = file_of(connection) else { return Ok(()) };
    let Some(lock) = methods.xShmLock else { return Ok(()) };
    let change = |how| {
        // SAFETY: the file is open while the connection is borrowed.
        told(unsafe { lock(file, CHECKPOINT_LOCK, 1, how | ffi::SQLITE_SHM_EXCLUSIVE) })
    };
    change(ffi::SQLITE_SHM_LOCK)?;
    let index = log_index(file, methods);
    if let Ok(Some(index)) = index
        && index[BACKFILLED].load(SeqCst) != index[FRAMES].load(SeqCst)
    {
        index[BACKFILLED].store(0, SeqCst);
    }
    change(ffi::SQLITE_SHM_UNLOCK)?;
    index.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;

    #[test]
    fn a_commit_is_told_from_those_that_follow_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        let [one, two] = [(); 2].map(|()| Connection::open(&path).unwrap());
        one.execute_batch(
            "PRAGMA journal_mode = wal; CREATE TABLE a (b); INSERT INTO a VALUES (0)",
        )
        .unwrap();
        let run = |sql: &str| {
            one.execute_batch("BEGIN IMMEDIATE").unwrap();
            let mark = LogMark::of(&one).unwrap();
            assert_eq!(log_header(&one), Some(mark.header()));
            one.execute_batch(sql).unwrap();
            one.execute_batch("COMMIT").unwrap();
            mark
        };
        let add = "INSERT INTO a VALUES (zeroblob(20000))";
        let found = run(add).header_of_commit(&one);
        assert!(found.is_some() && found == log_header(&two));
        // Nothing was written.
        assert_eq!(run("SELECT * FROM a").header_of_commit(&one), None);
        // Another connection has committed since: as many frames, fewer, or more.
        for other in [add, "INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (zeroblob(90000))"] {
            let mark = run(add);
            assert_eq!(mark.header_of_commit(&one), log_header(&one));
            two.execute_batch(other).unwrap();
            assert_eq!(mark.header_of_commit(&one), None, "{other}");
        }
        // A page that is written twice adds one frame, and the other connection adds the rest.
        one.execute_batch("PRAGMA cache_size = 4; PRAGMA cache_spill = 4").unwrap();
        let mark = run("INSERT INTO a VALUES (zeroblob(200000)); UPDATE a SET b = zeroblob(30000)");
        assert_eq!(mark.header_of_commit(&one), None);
        for _ in 0..300 {
            two.execute_batch("INSERT INTO a VALUES (1)").unwrap();
            assert_eq!(mark.header_of_commit(&one), None);
        }
        // A commit that resets the WAL.
        one.execute_batch("PRAGMA wal_checkpoint(RESTART)").unwrap();
        assert_eq!(run(add).header_of_commit(&one), None);
        let found = run(add).header_of_commit(&one);
        assert!(found.is_some() && found == log_header(&two));
    }

    #[test]
    fn only_a_commit_changes_the_header_in_the_wal_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        let [one, two] = [(); 2].map(|()| Connection::open(&path).unwrap());
        one.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (b)").unwrap();
        two.execute_batch("SELECT * FROM a").unwrap();
        let mut headers = vec![log_header(&two).unwrap()];
        for round in 0..20 {
            one.execute_batch("INSERT INTO a VALUES (1)").unwrap();
            let header = log_header(&two).unwrap();
            assert_eq!(log_header(&one), Some(header));
            assert!(!headers.contains(&header));
            one.execute_batch("BEGIN IMMEDIATE; INSERT INTO a VALUES (2); ROLLBACK").unwrap();
            two.execute_batch("SELECT * FROM a; PRAGMA wal_checkpoint(PASSIVE)").unwrap();
            assert_eq!(log_header(&two), Some(header));
            headers.push(header);
            if round % 7 == 6 {
                // The next commit resets the WAL.
                two.execute_batch("PRAGMA wal_checkpoint(RESTART)").unwrap();
            }
        }
    }

    #[test]
    fn a_mark_bounds_what_was_checkpointed() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        let [one, two] = [(); 2].map(|()| Connection::open(&path).unwrap());
        one.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (b)").unwrap();
        two.execute_batch("SELECT * FROM a").unwrap();
        let insert = || one.execute_batch("INSERT INTO a VALUES (1)").unwrap();
        let checkpoint = || two.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
        let mark = || SchemaMark::new(log_header(&two).unwrap(), 1);
        let is_within = |mark| DatabaseFile::of(&two).unwrap().is_within(mark);
        insert();
        let early = mark();
        insert();
        let late = mark();
        assert!(is_within(early) && is_within(late));
        checkpoint();
        assert!(!is_within(early) && is_within(late));
        // The next commit begins the WAL again.
        insert();
        assert!(!is_within(late) && is_within(mark()));
        one.execute_batch("PRAGMA journal_mode = delete").unwrap_err();
    }

    #[test]
    fn a_file_is_whole_after_a_complete_checkpoint() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        let [one, two] = [(); 2].map(|()| Connection::open(&path).unwrap());
        let state = || DatabaseFile::of(&one).and_then(|file| file.state());
        let is_whole = || state().map(|state| state.is_whole);
        let insert = || one.execute_batch("INSERT INTO a VALUES (1)").unwrap();
        let checkpoint = || one.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
        one.execute_batch("CREATE TABLE a (b)").unwrap();
        // There is no WAL, and no WAL-index is created. Only a lock keeps the file unchanged.
        assert_eq!(is_whole(), None);
        one.execute_batch("BEGIN; SELECT * FROM a").unwrap();
        assert_eq!(is_whole(), Some(true));
        one.execute_batch("COMMIT").unwrap();
        assert!(!folder.path().join("a.db-shm").exists());
        one.execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0").unwrap();
        insert();
        assert_eq!(is_whole(), Some(true));
        two.execute_batch("BEGIN; SELECT * FROM a").unwrap();
        insert();
        let before = state();
        checkpoint();
        assert_eq!(is_whole(), Some(false));
        two.execute_batch("COMMIT; BEGIN; SELECT * FROM a").unwrap();
        checkpoint();
        assert_eq!(is_whole(), Some(true));
        let after = state();
        // A reader keeps the WAL from being reset, so this commit follows in it. The file has not
        // changed: its version is the same as before.
        insert();
        assert_eq!(is_whole(), Some(false));
        assert_eq!(state().map(|state| state.version), after.map(|state| state.version));
        two.execute_batch("COMMIT").unwrap();
        checkpoint();
        insert();
        assert_eq!(is_whole(), Some(true));
        let reset = state();
        assert!(
            before != after && after != reset && reset != before,
            "{before:?}, {after:?}, {reset:?}"
        );
        // A checkpoint that has begun and not ended.
        let (file, methods) = file_of(&one).unwrap();
        let index = log_index(file, methods).unwrap().unwrap();
        index[ATTEMPTED].store(1, SeqCst);
        assert_eq!(state(), None);
        checkpoint();
        assert_eq!(is_whole(), Some(true));
    }

    #[test]
    fn the_backfill_is_not_reset_during_a_checkpoint() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        let [one, two] = [(); 2].map(|()| Connection::open(&path).unwrap());
        one.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (b)").unwrap();
        two.execute_batch("PRAGMA wal_checkpoint(PASSIVE); PRAGMA wal_autocheckpoint = 0").unwrap();
        let count = || {
            let shared = std::fs::read(folder.path().join("a.db-shm")).unwrap();
            let at = 4 * BACKFILLED;
            u32::from_ne_bytes(shared[at..at + 4].try_into().unwrap())
        };
        let before = count();
        assert!(before > 0);
        forget_backfill(&two).unwrap();
        assert_eq!(count(), before, "the whole WAL is checkpointed");
        let reader = Connection::open(&path).unwrap();
        one.execute_batch("INSERT INTO a VALUES (1)").unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM a").unwrap();
        one.execute_batch("INSERT INTO a VALUES (2)").unwrap();
        two.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
        let before = count();
        assert!(before > 0);
        let (file, methods) = file_of(&one).unwrap();
        let lock = |how| {
            // SAFETY: the connection is open.
            unsafe {
                methods.xShmLock.unwrap()(file, CHECKPOINT_LOCK, 1, how | ffi::SQLITE_SHM_EXCLUSIVE)
            }
        };
        assert_eq!(lock(ffi::SQLITE_SHM_LOCK), ffi::SQLITE_OK);
        assert_eq!(forget_backfill(&two).unwrap_err().status, Status::Busy);
        assert_eq!(count(), before);
        assert_eq!(lock(ffi::SQLITE_SHM_UNLOCK), ffi::SQLITE_OK);
        forget_backfill(&two).unwrap();
        assert_eq!(count(), 0);
        // The checkpoint lock is free again.
        assert_eq!(lock(ffi::SQLITE_SHM_LOCK), ffi::SQLITE_OK);
        assert_eq!(lock(ffi::SQLITE_SHM_UNLOCK), ffi::SQLITE_OK);
    }
}
