//! Opening a SQLite store: judging the file, making its WAL durable, loading the index.

pub mod explain;
mod judge;
pub mod wal_match;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sqlite::append::writer::Writer;
use crate::sqlite::cache::{DEFAULT_CACHE_BYTES, ReadCaches};
use crate::sqlite::connection::error::{busy, from_sqlite, is_busy, with_system_reason};
use crate::sqlite::connection::transaction::{
    begin_immediate, end_left_over, retry, retry_busy, wait_for_lock,
};
use crate::sqlite::connection::{Location, OpenMode, connect, real_path};
use crate::sqlite::events::btree::BTree;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::index::segment_list::SegmentsCache;
use crate::sqlite::maintenance::Maintenance;
use crate::sqlite::maintenance::segments::write_segment;
use crate::sqlite::open::explain::{Purpose, check_path, explain};
use crate::sqlite::open::judge::{
    is_of_creation, judge_unchanged, no_database, unfinished, would_be_undone,
};
use crate::sqlite::read::pool::{DEFAULT_MAX_READERS, ReaderPool};
use crate::sqlite::schema::{
    FORMAT, FileKind, create, detect_in_transaction, format_of, no_store, upgrade,
};
use crate::sqlite::state::StoreState;
use crate::sqlite::store::{Connections, SqliteStore, read_ahead};
use crate::sqlite::wal::file_id;
use crate::sqlite::wal::file_ops::sync_folder_of;
use crate::sqlite::wal::host_wal::HostWal;
use crate::sqlite::wal::owner_access::create_for_owner;
use crate::sqlite::wal::wal_file::Wal;
use crate::sqlite::wal::wal_index::forget_backfill;
use crate::store::options::Options;
use crate::threads::spawn;

impl SqliteStore {
    /// Opens the store at `place`. Creates it if the options allow that.
    pub fn open(place: Location, options: &Options) -> Result<Self> {
        let busy_timeout = u64::try_from(options.busy_timeout_ms).ok().map(Duration::from_millis);
        let deadline = CallOptions::default().start(busy_timeout);
        match place {
            Location::Memory if options.is_read_only() => {
                Err(Error::invalid("read_only: a database in memory would stay empty"))
            }
            Location::Memory => {
                options.check_without_readers()?;
                open_memory(busy_timeout, options.import)
            }
            Location::File(path) if options.is_read_only() => {
                open_read_only(path.clone(), options, busy_timeout, &deadline)
                    .map_err(|error| explain(error, &path, Purpose::Read))
            }
            Location::File(path) => open_file(path.clone(), options, busy_timeout, &deadline)
                .map_err(|error| explain(error, &path, Purpose::Write)),
        }
    }
}

pub fn open_memory(busy_timeout: Option<Duration>, import: bool) -> Result<SqliteStore> {
    let mut connection = connect(&Location::Memory, OpenMode::Create)?;
    create(&mut connection, false)?;
    const START: Position = Position::START;
    let mut shared = StoreState::new(None, START, START, START, busy_timeout);
    shared.import = import;
    let writer = Writer::new(connection, EventReader::default());
    Ok(SqliteStore {
        shared: Arc::new(shared),
        connections: Connections::Memory(Arc::new(writer)),
        maintenance: Mutex::new(None),
        read_ahead: None,
    })
}

pub fn open_read_only(
    path: PathBuf,
    options: &Options,
    busy_timeout: Option<Duration>,
    deadline: &Deadline,
) -> Result<SqliteStore> {
    let max_readers = options.reader_limit(DEFAULT_MAX_READERS)?;
    let cache_bytes = options.cache_limit(DEFAULT_CACHE_BYTES)?;
    let immutable = options.immutable;
    let place = Location::File(path.clone());
    check_path(&path)?;
    // A file that is missing is told as that, whatever SQLite would say.
    let found = file_id::find(&path)?;
    if immutable {
        wal_match::check_alone(&path)?;
    } else {
        found.check_single_name()?;
        create_for_owner(&path)?;
    }
    let detect = |role| {
        let connection = retry(deadline, || connect(&place, role))?;
        let kind = retry(deadline, || {
            detect_in_transaction(&connection)
                .map_err(|error| with_system_reason(error, &connection))
        })?;
        Ok::<_, Error>((role, connection, kind))
    };
    let detected = match detect(if immutable { OpenMode::Immutable } else { OpenMode::Read }) {
        // The disk has no space for the index of the WAL.
        Err(error) if error.status == Status::Full => {
            detect(OpenMode::ReadWithOwnIndex).map_err(|_| error)
        }
        other => other,
    };
    let (role, connection, kind) =
        detected.map_err(|error| match would_be_undone(&error, &place) {
            true if is_of_creation(&place) => no_store(),
            true => unfinished(),
            false => explain_read_only(error, &path),
        })?;
    match kind {
        FileKind::Store if immutable => {}
        FileKind::Store => {
            retry(deadline, || wal_match::check(&connection, &real_path(&connection, &path)))?;
        }
        FileKind::Empty | FileKind::Foreign => return Err(no_store()),
    }
    let is_logged = !immutable && is_in_wal_mode(&connection)?;
    let log = match role {
        // Nobody writes it.
        OpenMode::Immutable => None,
        // It comes and goes, since no connection is kept.
        OpenMode::ReadWithOwnIndex => {
            Some(Wal::Hosts(HostWal::of_reader(&real_path(&connection, &path))?))
        }
        _ if is_logged => Some(Wal::open(&real_path(&connection, &path), false)?),
        // A journal, or none; and a log, once somebody opens it to write.
        _ => Some(Wal::Hosts(HostWal::of_reader(&real_path(&connection, &path))?)),
    };
    let segments = SegmentsCache::default();
    let (snapshot, list) = retry(deadline, || segments.now(&connection))?;
    retry(deadline, || check_head(&connection, snapshot.head))?;
    // Nothing is known to be durable until it was synced by us.
    let durable = if immutable { snapshot.head } else { Position::START };
    let shared = StoreState::new(log, durable, list.indexed(), Position::START, busy_timeout);
    let tree = Arc::new(BTree::of_events());
    let path = real_path(&connection, &path);
    let caches = Arc::new(ReadCaches::new(cache_bytes));
    let seen = Arc::clone(&shared.snapshots);
    let readers = ReaderPool::new(path, role, tree, caches, max_readers, is_logged, seen)?;
    if role != OpenMode::ReadWithOwnIndex {
        // Without any connection here, the last writer to leave would delete the log.
        end_left_over(&connection)?;
        readers.keep(connection);
    }
    let (shared, readers) = (Arc::new(shared), Arc::new(readers));
    Ok(SqliteStore {
        read_ahead: read_ahead(&shared, &readers, max_readers),
        shared,
        connections: Connections::ReadOnly(readers),
        maintenance: Mutex::new(None),
    })
}

pub fn open_file(
    path: PathBuf,
    options: &Options,
    busy_timeout: Option<Duration>,
    deadline: &Deadline,
) -> Result<SqliteStore> {
    let max_readers = options.reader_limit(DEFAULT_MAX_READERS)?;
    let cache_bytes = options.cache_limit(DEFAULT_CACHE_BYTES)?;
    let place = Location::File(path.clone());
    check_path(&path)?;
    wal_match::check_empty(&path)?;
    match file_id::find(&path) {
        Ok(found) => found.check_single_name()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let (judgement, judged_by) = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() == 1 => return Err(no_database()),
        Ok(metadata) if metadata.len() > 0 => judge_unchanged(&place, deadline)?,
        Ok(_) => (FileKind::Empty, None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && options.create => {
            (FileKind::Empty, None)
        }
        Err(error) => return Err(error.into()),
    };
    let adopts = match judgement {
        FileKind::Store => false,
        FileKind::Empty if options.create => false,
        FileKind::Foreign if options.adopt => true,
        FileKind::Empty | FileKind::Foreign => return Err(no_store()),
    };
    let role = if options.create { OpenMode::Create } else { OpenMode::Write };
    let mut connection = retry(deadline, || connect(&place, role))?;
    // An opening that fails leaves the log as it is: it may be the log that could not be synced.
    let leave_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(leave_log, true).map_err(from_sqlite)?;
    // Until everything that was there is known to be on the disk.
    retry_busy(deadline, || connection.pragma_update(None, "synchronous", "full"))?;
    enter_wal_mode(&connection, deadline)
        .map_err(|error| with_system_reason(error, &connection))?;
    drop(judged_by);
    let real_path = real_path(&connection, &path);
    if judgement != FileKind::Store {
        // So that the journal of entering this mode does not come back to a file that has grown.
        sync_folder_of(&real_path)?;
        retry(deadline, || create(&mut connection, adopts))?;
    }
    let segments = SegmentsCache::default();
    let (snapshot, list) = retry(deadline, || segments.now(&connection))?;
    retry(deadline, || check_head(&connection, snapshot.head))?;
    // Opened before the log is trusted with anything of ours, after SQLite has made it.
    let log = Wal::open(&real_path, true)?;
    under_write_lock(&connection, deadline, || log.write_again())?;
    // Nor is what others have brought in of it trusted, as long as they have it open: a sync of
    // theirs that failed is not told to who came after it.
    retry(deadline, || under_write_lock(&connection, deadline, || forget_backfill(&connection)))?;
    log.sync()?;
    bring_in_log(&connection, deadline)?;
    sync_folder_of(&real_path)?;
    if retry(deadline, || format_of(&connection))?.is_some_and(|format| format < FORMAT) {
        retry(deadline, || upgrade(&mut connection))?;
    }
    retry_busy(deadline, || connection.pragma_update(None, "synchronous", "normal"))?;

    let head = snapshot.head;
    let (mut shared, is_far_behind) =
        StoreState::for_writing(Some(log), head, head, segments, busy_timeout);
    shared.import = options.import;
    let shared = Arc::new(shared);
    let tree = Arc::new(BTree::of_events());
    let caches = Arc::new(ReadCaches::new(cache_bytes));
    let mut decoder = EventReader::of_writer(Arc::clone(&tree), Arc::clone(&caches));
    if !is_far_behind {
        shared.index.tail.catch_up(&connection, &mut decoder, snapshot, list.indexed())?;
    }
    // By its full path: the process may change its working folder.
    let seen = Arc::clone(&shared.snapshots);
    let readers =
        ReaderPool::new(real_path, OpenMode::Read, tree, caches, max_readers, true, seen)?;
    let readers = Arc::new(readers);
    connection.set_db_config(leave_log, false).map_err(from_sqlite)?;
    let writer = Arc::new(Writer::new(connection, decoder));
    if is_far_behind {
        while retry(deadline, || write_segment(&shared, &writer, 1))? {}
    }
    let for_maintenance = retry(deadline, || connect(&place, OpenMode::Write))?;
    let maintenance = Maintenance::new(
        Arc::clone(&shared),
        Arc::clone(&writer),
        Arc::clone(&readers),
        for_maintenance,
    );
    let thread = spawn("dcb-maintenance", move || maintenance.run())?;
    Ok(SqliteStore {
        read_ahead: read_ahead(&shared, &readers, max_readers),
        shared,
        connections: Connections::ReadWrite(writer, readers),
        maintenance: Mutex::new(Some(thread)),
    })
}

/// Runs `work` under SQLite's write lock, in a transaction that writes nothing.
fn under_write_lock(
    connection: &Connection,
    deadline: &Deadline,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    begin_immediate(connection, deadline)?;
    let done = work();
    // One that stays open would look like a reader that holds the checkpoint up.
    connection.execute_batch("ROLLBACK").map_err(from_sqlite)?;
    done
}

/// Adds advice to the error for a WAL that cannot be read without writing beside it.
fn explain_read_only(error: Error, path: &Path) -> Error {
    let is_stuck = matches!(
        error.detail,
        rusqlite::ffi::SQLITE_READONLY_CANTINIT | rusqlite::ffi::SQLITE_READONLY_DIRECTORY
    ) || error.detail & 0xff == rusqlite::ffi::SQLITE_CANTOPEN;
    if !is_stuck || !path.exists() {
        return error;
    }
    let message = if wal_match::check_alone(path).is_ok() {
        "the log beside the file neither exists nor can be made here: if nobody writes the file, \
         open it with the option immutable"
    } else {
        "the log (-wal) of the file can be read only where its index (-shm) can be made beside it: \
         copy the file and the log to where that is so"
    };
    Error { message: message.into(), ..error }
}

/// The head is the key of a row, and SQLite returns a key without reading the row. In a damaged file
/// it may be the key of another table.
fn check_head(connection: &Connection, head: Position) -> Result<()> {
    if head > Position::START {
        EventReader::default().at(connection, head, |_| Ok(()))?;
    }
    Ok(())
}

fn is_in_wal_mode(connection: &Connection) -> Result<bool> {
    let mode: String =
        connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(from_sqlite)?;
    Ok(mode.eq_ignore_ascii_case("wal"))
}

fn enter_wal_mode(connection: &Connection, deadline: &Deadline) -> Result<()> {
    let mode: String = retry_busy(deadline, || {
        connection.query_row("PRAGMA journal_mode = wal", [], |row| row.get(0))
    })?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(Error::new(
        Status::Io,
        format!("the file system does not allow a write-ahead log (the journal mode stays {mode})"),
    ))
}

/// Checkpoints, with a full sync, what the WAL held when the store was opened. Its last writer may
/// have died between a write and its sync, or a sync of its may have failed.
fn bring_in_log(connection: &Connection, deadline: &Deadline) -> Result<()> {
    let mut first_log = None;
    loop {
        let checkpoint = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        match checkpoint {
            Ok((busy, log, done)) => {
                let wanted = *first_log.get_or_insert(log);
                if busy == 0 && (done >= wanted || log < wanted) {
                    return Ok(());
                }
            }
            Err(error) if is_busy(&error) => {}
            Err(error) => return Err(from_sqlite(error)),
        }
        wait_for_lock(deadline).map_err(|error| match error.status {
            Status::Busy => Error {
                message: "a reader in another process keeps the log from being made durable".into(),
                ..busy()
            },
            _ => error,
        })?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_name_too_long_for_the_wal_creates_no_file() {
        let folder = tempfile::TempDir::new().unwrap();
        for (len, fits) in [(247, true), (248, false), (255, false), (256, false)] {
            let path = folder.path().join("n".repeat(len));
            let opened = SqliteStore::open(Location::File(path.clone()), &Options::default());
            match opened {
                Ok(store) => store.close(),
                Err(error) => assert_eq!((error.status, fits), (Status::Io, false), "{error}"),
            }
            assert_eq!(path.exists(), fits, "{len} bytes");
        }
    }

    #[test]
    fn an_error_for_a_missing_wal_suggests_immutable() {
        use rusqlite::ffi::{
            SQLITE_CANTOPEN, SQLITE_CANTOPEN_ISDIR, SQLITE_READONLY_CANTINIT,
            SQLITE_READONLY_DIRECTORY, SQLITE_READONLY_RECOVERY,
        };
        let folder = tempfile::TempDir::new().unwrap();
        for (detail, is_explained) in [
            (SQLITE_CANTOPEN, true),
            (SQLITE_CANTOPEN_ISDIR, true),
            (SQLITE_READONLY_CANTINIT, true),
            (SQLITE_READONLY_DIRECTORY, true),
            (SQLITE_READONLY_RECOVERY, false),
        ] {
            let error = Error { detail, ..Error::new(Status::ReadOnly, "as SQLite says") };
            let explained = explain_read_only(error.clone(), folder.path());
            assert_eq!(explained.message.contains("immutable"), is_explained, "{detail}");
            assert_eq!((explained.status, explained.detail), (Status::ReadOnly, detail));
            // If the file does not exist, the error stays as it is.
            assert_eq!(explain_read_only(error.clone(), &folder.path().join("none")), error);
        }
        // A file with a WAL cannot be opened as immutable.
        let path = folder.path().join("a.db");
        std::fs::write(&path, "x").unwrap();
        std::fs::write(folder.path().join("a.db-wal"), [0; 100]).unwrap();
        let error = Error { detail: SQLITE_CANTOPEN, ..Error::new(Status::Io, "as SQLite says") };
        assert!(explain_read_only(error, &path).message.contains("copy the file and the log"));
    }
}
