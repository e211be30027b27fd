//! The store on the host's connections.

use std::ffi::OsStr;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::fair_mutex::FairMutex;
use crate::commit::group_commit;
use crate::commit::group_commit::Outcome;
use crate::commit::head_watch::HeadWatch;
use crate::domain::{AppendRequest, ReadState, Verdict};
use crate::error::{Error, Result, Status};
use crate::sql::host::{BorrowedConnection, ConnectionHandle, Host};
use crate::sql::{SqlConnection, Value};
use crate::sqlite::append::group::{PreparedAppend, Staged, attempt, check_tail};
use crate::sqlite::append::turns::Turns;
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::connection::transaction::{begin_immediate, commit};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::Source;
use crate::sqlite::host::connection::{HostConnection, explain, retry_locked, wait_again};
use crate::sqlite::host::maintenance::{HostMaintenance, index_within};
use crate::sqlite::index::segment_list::{Segments, SegmentsCache};
use crate::sqlite::index::tail::TAIL_EVENTS;
use crate::sqlite::index::view::View;
use crate::sqlite::maintenance::segments::{draft_segment, store_segment};
use crate::sqlite::schema::{FileKind, create_within, detect, no_store};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::StoreState;
use crate::sqlite::wal::host_wal::HostWal;
use crate::sqlite::wal::wal_file::Wal;
use crate::store::diagnosis::Diagnosis;
use crate::store::options::Options;
use crate::store::{Appended, BackupProgress, BatchLimits, Sink, Store};

/// A store on connections that the host lends.
pub struct HostStore {
    host: Box<dyn Host>,
    shared: StoreState,
    /// The file; `None`: a database in memory.
    path: Option<PathBuf>,
    /// What a database in memory is known by.
    identity: Option<i64>,
    /// Held by the append that writes; what it writes with.
    pen: FairMutex<HostWriter>,
}

struct HostWriter {
    decoder: EventReader,
    turns: Turns,
    maintenance_signal: HostMaintenance,
}

impl HostStore {
    /// Opens the store in the host's database, making it if the options allow that: who lends the
    /// connections of a database has chosen it, whatever else is in it.
    pub fn open(host: Box<dyn Host>, options: &Options) -> Result<Self> {
        if options.is_read_only() {
            return Err(Error::invalid(
                "read_only: a store on the host's connections may do what they may",
            ));
        }
        options.check_without_readers()?;
        let busy_timeout = u64::try_from(options.busy_timeout_ms).ok().map(Duration::from_millis);
        let deadline = CallOptions::default().start(busy_timeout);
        let (connection, (judgement, path)) = lend(&*host, &deadline, |connection| {
            connection.settle()?;
            connection.begin_look(&deadline, || Ok((detect(connection)?, path_of(connection)?)))
        })?;
        connection.end();
        if judgement != FileKind::Store {
            if !options.create {
                return Err(no_store());
            }
            begin_immediate(&connection, &deadline)?;
            create_within(&connection, true)?;
            commit(&connection)?;
        }
        let identity = match &path {
            None => Some(mark_in_memory(&connection, &deadline)?),
            Some(_) => None,
        };
        let log = match &path {
            None => None,
            Some(path) => Some(Wal::Hosts(trusted(&connection, path, &deadline)?)),
        };
        let segments = SegmentsCache::default();
        let (snapshot, indexed) = connection.begin_look(&deadline, || {
            let snapshot = Snapshot::take(&connection)?;
            let list = segments.at_version(&connection, snapshot.version)?;
            list.check(snapshot)?;
            Ok((snapshot, list.indexed()))
        })?;
        connection.end();
        let is_far_behind = snapshot.head - indexed > TAIL_EVENTS as i64;
        let tail = if is_far_behind { snapshot.head } else { indexed };
        let mut shared = StoreState::new(log, 0, tail, snapshot.head, busy_timeout);
        if path.is_some() {
            shared.durability.ensure(snapshot.head)?;
            shared.watch.publish(shared.durability.durable());
        }
        shared.segments = segments;
        let mut decoder = EventReader::default();
        if !is_far_behind {
            connection.begin_look(&deadline, || {
                let snapshot = Snapshot::take(&connection)?;
                Ok(shared.tail.catch_up(&connection, &mut decoder, snapshot, indexed)?)
            })?;
            connection.end();
        }
        // The index is missing, or far behind: it is made anew before anything is answered.
        let mut is_behind = is_far_behind;
        while is_behind {
            begin_immediate(&connection, &deadline)?;
            let blocks = match draft_segment(&shared, 1)? {
                Some(draft) => store_segment(&shared, &connection, &mut decoder, draft)?,
                None => None,
            };
            commit(&connection)?;
            is_behind = connection.begin_look(&deadline, || {
                let snapshot = Snapshot::take(&connection)?;
                let indexed = shared.segments.at_version(&connection, snapshot.version)?.indexed();
                Ok(blocks.is_some() && indexed < snapshot.head)
            })?;
            connection.end();
        }
        drop(connection);
        let pen =
            HostWriter { decoder, turns: Turns::new(), maintenance_signal: HostMaintenance::new() };
        Ok(HostStore { host, shared, path, identity, pen: FairMutex::new(pen) })
    }

    /// A connection for a read, in a transaction, and what that sees.
    fn lend(&self, deadline: &Deadline) -> Result<(HostConnection<'_>, Snapshot)> {
        lend(&*self.host, deadline, |connection| {
            // With a log, no reader waits for a writer.
            if self.shared.wal.as_deref().is_some_and(Wal::has_journal) {
                connection.settle()?;
            }
            connection.see_committed()?;
            connection.begin_read(deadline)
        })
    }

    /// How many events are held in memory.
    #[cfg(test)]
    pub fn tail_len(&self) -> usize {
        self.shared.tail.read(crate::sqlite::index::tail::Generations::len)
    }

    /// How many syncs there were.
    #[cfg(test)]
    pub fn syncs(&self) -> u64 {
        self.shared.durability.tampering.count.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// What notes the next commit panics.
    #[cfg(test)]
    pub fn panic_once(&self) {
        self.shared.durability.tampering.panic.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// From now on syncs fail.
    #[cfg(test)]
    pub fn fail_syncs(&self) {
        self.shared.durability.tampering.fail.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    fn explain(&self, error: Error) -> Error {
        explain(error, self.path.is_none())
    }

    fn look(&self, deadline: &Deadline) -> Result<i64> {
        let (connection, snapshot) = self.lend(deadline)?;
        drop(connection);
        self.shared.visible(snapshot.head, false)
    }

    fn diagnosis(&self, deadline: &Deadline) -> Result<Diagnosis> {
        let (snapshot, segments, version) = retry_locked(deadline, || {
            let (connection, snapshot) = self.lend(deadline)?;
            let segments = self.shared.segments.at_version(&connection, snapshot.version)?;
            let database: &dyn SqlConnection = &connection;
            let version = database.query_row("SELECT sqlite_version()", &[], |row| {
                Ok(row.text(0).unwrap_or_default().to_owned())
            })?;
            Ok((snapshot, segments, version))
        })?;
        let visible = self.shared.visible(snapshot.head, false);
        let mut diagnosis = self.shared.diagnosis(visible, &segments, self.path.as_deref())?;
        if let Some(sqlite) = &mut diagnosis.sqlite {
            sqlite.sqlite = version.unwrap_or_default();
        }
        Ok(diagnosis)
    }

    /// Runs an append on a connection of the store's own choice.
    fn write(&self, request: AppendRequest, deadline: &Deadline) -> Result<Outcome> {
        let stored = request.events().len();
        let mut prepared = [PreparedAppend::new(request)?];
        let mut pen = self.pen.lock_within(deadline, group_commit::late)?;
        let _panic = ClosesOnPanic(&self.shared.watch);
        let HostWriter { decoder, turns, maintenance_signal } = &mut *pen;
        let (connection, ()) = lend(&*self.host, deadline, |connection| {
            connection.settle()?;
            connection.see_committed()?;
            turns.begin();
            begin_immediate(connection, deadline)
        })?;
        let outcomes = attempt(&connection, decoder, turns, &self.shared, &mut prepared);
        connection.end();
        turns.end();
        let outcome = outcomes?.remove(0);
        if outcome.answer.is_ok() {
            maintenance_signal.help(&self.shared, &connection, decoder, stored);
        }
        Ok(outcome)
    }

    /// The connection of a transaction that the caller has open, for
    /// [`append_within`](HostStore::append_within).
    pub fn transaction(&self, connection: ConnectionHandle) -> Box<dyn BorrowedConnection> {
        self.host.transaction(connection)
    }

    /// Appends in a transaction of the caller's, which is open on the connection. The events are as
    /// durable as its commit.
    pub fn append_within(
        &self,
        lent: Box<dyn BorrowedConnection + '_>,
        request: AppendRequest,
        call: &CallOptions,
    ) -> Result<Appended> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        if let Some(failure) = self.shared.durability.failure() {
            return Err(failure);
        }
        let mut prepared = PreparedAppend::new(request)?;
        let connection = HostConnection::within(lent, &deadline);
        connection.expect_transaction()?;
        let locked = lock_within(&connection, &deadline);
        // Another database may lack what is locked with.
        let is_busy = locked.as_ref().is_err_and(|error| error.status == Status::Busy);
        let is_other = !is_busy && path_of(&connection)? != self.path
            || locked.is_ok() && self.identity.is_some() && mark_of(&connection)? != self.identity;
        if is_other {
            return Err(Error::invalid("the transaction is one of another database"));
        }
        locked.map_err(|error| self.explain(error))?;
        if let Err(error) = connection.run("SAVEPOINT dcb_append", &[]) {
            // It may be there nevertheless, and would last as long as the transaction.
            let released = connection.run("RELEASE dcb_append", &[]);
            let is_none = |error: &Error| error.detail == rusqlite::ffi::SQLITE_ERROR;
            if released.is_err_and(|error| !is_none(&error)) {
                undo(&connection)?;
            }
            return Err(error);
        }
        let outcome = self
            .attempt_within(&connection, &mut prepared)
            .and_then(|outcome| connection.run("RELEASE dcb_append", &[]).map(|_| outcome));
        if outcome.is_err() {
            undo(&connection)?;
        }
        let (verdict, rests_on) = outcome?;
        if rests_on > self.shared.durability.durable() {
            // What the caller's transaction has stored itself has no position that is known to be
            // its own, so no position becomes durable by this.
            self.shared.durability.check()?;
        }
        verdict
    }

    /// Nothing that the transaction shows enters what is shared: it may be rolled back, and its
    /// positions be taken by others. An error: what was written is to be undone.
    fn attempt_within(
        &self,
        connection: &HostConnection<'_>,
        request: &mut PreparedAppend,
    ) -> Result<(Result<Appended>, i64)> {
        let snapshot = Snapshot::take(connection)?;
        let known = self.shared.segments.newest();
        let segments = Segments::load(connection, snapshot.version, &known)?;
        segments.check(snapshot)?;
        check_tail(&self.shared.tail, snapshot)?;
        // With the write lock, the transaction sees all that is committed; so what the tail holds
        // is a part of it.
        let mut decoder = EventReader::default();
        let view =
            View { source: connection.into(), segments: segments.into(), tail: &self.shared.tail };
        let segments = view.segments.clone();
        let mut staged = Staged::new(view, &mut decoder, snapshot.head);
        let verdict = staged.check(request);
        let answer = match verdict {
            Ok(Verdict::Repeated(last)) => Ok(Appended::repeated(last)),
            Ok(Verdict::New) => {
                let last = staged.store(request)?;
                index_within(&self.shared, connection, &mut decoder, last, &segments)?;
                return Ok((Ok(Appended::new(last)), 0));
            }
            Err(error) => Err(error),
        };
        if connection.is_autocommit() {
            return Err(answer.err().unwrap_or_else(damaged_index));
        }
        let mut outcome = Outcome::new(answer);
        if matches!(&outcome.answer, Err(error) if error.status == Status::DuplicateId) {
            outcome.rests_on = snapshot.head;
        }
        Ok((outcome.answer, outcome.rests_on))
    }

    fn read_some(
        &self,
        reading: &mut ReadState,
        left: &mut BatchLimits,
        deadline: &Deadline,
        sink: &mut dyn Sink,
    ) -> Result<bool> {
        let visible = |head| self.shared.visible(head, false);
        // What was given to the sink is noted in the reading, which goes on behind it.
        retry_locked(deadline, || {
            let (connection, snapshot) = self.lend(deadline)?;
            let decoder = &mut EventReader::default();
            let source = Source::from(&connection);
            let read =
                self.shared.read_within(source, decoder, snapshot, reading, left, &visible, sink);
            Ok(read?)
        })
    }
}

/// A connection on which `begin` has begun a transaction. Of those that a driver has left amid one of
/// somebody else's, what they show may never be committed: the host closes them, and is asked again.
fn lend<'h, T>(
    host: &'h dyn Host,
    deadline: &Deadline,
    mut begin: impl FnMut(&HostConnection<'h>) -> Result<T>,
) -> Result<(HostConnection<'h>, T)> {
    let mut dirty = 0;
    retry_locked(deadline, || {
        while dirty < MAX_DIRTY {
            let connection = HostConnection::acquire(host, deadline)?;
            match begin(&connection) {
                Err(_) if connection.is_dirty() => dirty += 1,
                begun => return begun.map(|begun| (connection, begun)),
            }
        }
        Err(Error::new(Status::Internal, "the host lends connections that are in a transaction"))
    })
}

/// More than a host has in its pool.
const MAX_DIRTY: usize = 1_000;

/// Undoes what an append has written in the caller's transaction; if nothing else does it, the whole
/// transaction, whose commit fails then.
fn undo(connection: &HostConnection<'_>) -> Result<()> {
    let back = ["ROLLBACK TO dcb_append", "RELEASE dcb_append"];
    if back.into_iter().all(|sql| connection.run(sql, &[]).is_ok())
        || connection.run("ROLLBACK", &[]).is_ok()
        // The database has ended it by itself.
        || connection.expect_transaction().is_err_and(|error| error.status == Status::InvalidArgument)
    {
        return Ok(());
    }
    Err(Error::new(
        Status::Io,
        "an append in the transaction failed, and could not be undone: roll the transaction back",
    ))
}

/// What a panic leaves behind is not to be trusted with another append.
struct ClosesOnPanic<'a>(&'a HeadWatch);

impl Drop for ClosesOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}

/// The file of the connection's main database, as its SQLite names it; `None`: it has none.
fn path_of(connection: &dyn SqlConnection) -> Result<Option<PathBuf>> {
    let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    // A path is bytes, of which not all are text.
    let file = connection.query_row(sql, &[], |row| {
        Ok(match row.value(0) {
            Value::Text(path) | Value::Blob(path) => Some(PathBuf::from(OsStr::from_bytes(path))),
            _ => None,
        })
    })?;
    Ok(file.flatten().filter(|file| !file.as_os_str().is_empty()))
}

/// Marks a database in memory, which has no path to be told from another by.
fn mark_in_memory(connection: &HostConnection<'_>, deadline: &Deadline) -> Result<i64> {
    begin_immediate(connection, deadline)?;
    let new = RandomState::new().hash_one(0_u8).cast_signed();
    let sql = "INSERT OR IGNORE INTO dcb_meta (key, value) VALUES ('memory', ?1)";
    connection.run(sql, &[Value::Integer(new)])?;
    commit(connection)?;
    mark_of(connection)?.ok_or_else(damaged_index)
}

fn mark_of(connection: &dyn SqlConnection) -> Result<Option<i64>> {
    let sql = "SELECT value FROM dcb_meta WHERE key = 'memory'";
    Ok(connection.query_row(sql, &[], |row| Ok(row.integer(0)))?.flatten())
}

/// The files beside the database, of which the log was written once more: what an earlier sync of
/// it may have failed for is on the disk by now, or the error is told.
fn trusted(connection: &HostConnection<'_>, path: &Path, deadline: &Deadline) -> Result<HostWal> {
    let beside = HostWal::new(path)?;
    // From before anything is shown that is in it.
    beside.sync()?;
    match begin_immediate(connection, deadline) {
        Ok(()) => {
            let written = beside.write_again();
            connection.end();
            written?;
            beside.sync()?;
        }
        // Who may only read cannot do it.
        Err(error) if error.status == Status::ReadOnly => connection.end(),
        Err(error) => return Err(error),
    }
    Ok(beside)
}

/// How often an outdated snapshot is tried again before it counts as lost.
const MAX_OUTDATED: u32 = 3;

/// Takes the write lock for the caller's transaction, and writes nothing.
fn lock_within(connection: &HostConnection<'_>, deadline: &Deadline) -> Result<()> {
    let sql = "UPDATE dcb_meta SET value = value WHERE key IS NULL";
    let mut outdated = 0;
    while let Err(error) = connection.run(sql, &[]) {
        if error.status != Status::Busy {
            return Err(error);
        }
        let lost = |error| Error {
            message: "the transaction cannot write: roll it back, and run all of it again".into(),
            ..error
        };
        // A transaction that has read, and behind which others have written, never gets it. One
        // that has not may be told the same where another commits just then.
        if error.detail == rusqlite::ffi::SQLITE_BUSY_SNAPSHOT {
            outdated += 1;
            if outdated > MAX_OUTDATED {
                deadline.check_cancel()?;
                return Err(lost(error));
            }
        }
        wait_again(deadline, lost(error))?;
        // While it waited, the transaction may have come to its end in the host.
        connection.expect_transaction()?;
    }
    connection.note_write_lock();
    Ok(())
}

impl Store for HostStore {
    fn append(&self, request: AppendRequest, call: &CallOptions) -> Result<Appended> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        if let Some(failure) = self.shared.durability.failure() {
            return Err(failure);
        }
        let outcome = self.write(request, &deadline).map_err(|error| self.explain(error))?;
        let durability = &self.shared.durability;
        let ensured = durability.ensure(outcome.rests_on);
        self.shared.watch.publish(durability.durable());
        match ensured {
            Err(error) if outcome.rests_on > durability.durable() => Err(error),
            _ => outcome.answer,
        }
    }

    fn read(
        &self,
        reading: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        self.shared.read(reading, batch, call, &mut |reading, left, deadline| {
            self.read_some(reading, left, deadline, sink).map_err(|error| self.explain(error))
        })
    }

    fn head(&self, call: &CallOptions) -> Result<i64> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        self.look(&deadline).map_err(|error| self.explain(error))
    }

    fn wait(&self, after: i64, call: &CallOptions) -> Result<i64> {
        let deadline = self.shared.start(call, None)?;
        let looked = |at_once: &Deadline| self.look(at_once);
        self.shared.wait(after, &deadline, &looked).map_err(|error| self.explain(error))
    }

    fn diagnose(&self, call: &CallOptions) -> Result<Diagnosis> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        self.diagnosis(&deadline).map_err(|error| self.explain(error))
    }

    fn backup(
        &self,
        _path: &Path,
        _call: &CallOptions,
        _progress: &mut dyn FnMut(BackupProgress) -> Result<()>,
    ) -> Result<i64> {
        Err(Error::invalid(
            "store: is on connections of the host's: run VACUUM INTO on one of them, or open the \
             file by its path and copy that store",
        ))
    }

    fn close(&self) {
        self.shared.watch.close();
    }
}
