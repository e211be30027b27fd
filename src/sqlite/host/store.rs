//! The store on the host's connections.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::fair_mutex::FairMutex;
use crate::commit::group_commit::{Committer, GroupCommit, Outcome, late};
use crate::commit::head_watch::HeadWatch;
use crate::domain::{AppendRequest, EventId, ReadState, SequencedEvent};
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sql::SqlConnection;
use crate::sql::host::Host;
use crate::sqlite::append::turns::Turns;
use crate::sqlite::connection::transaction::begin_immediate;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::Source;
use crate::sqlite::host::connection::{HostConnection, explain, retry_locked};
use crate::sqlite::host::group::{QueuedAppend, run};
use crate::sqlite::host::maintenance::HostMaintenance;
use crate::sqlite::host::overlay::Overlay;
use crate::sqlite::host::poll::HostPoll;
use crate::sqlite::read::BATCH_BYTES;
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::StoreState;
use crate::sqlite::wal::wal_file::Wal;
use crate::store::diagnosis::Diagnosis;
use crate::store::{Appended, BackupProgress, BatchLimits, Sink, Store};

/// A store on connections that the host lends.
pub struct HostStore {
    pub(super) host: Box<dyn Host>,
    pub(super) shared: StoreState,
    /// The file; `None`: a database in memory.
    pub(super) path: Option<PathBuf>,
    /// What a database in memory is known by.
    pub(super) identity: Option<i64>,
    /// The appends that wait for a leader.
    pub(super) queue: GroupCommit<QueuedAppend>,
    /// What groups are written with, for one leader at a time.
    pub(super) writer: FairMutex<HostWriter>,
    /// What the transactions of callers see above the tail. An append there takes it, and leaves an
    /// empty one to any that runs beside it.
    pub(super) overlay: Mutex<Overlay>,
    /// What the polls of waits know.
    pub(super) poll: HostPoll,
}

/// What a leader writes its group with, besides a connection.
pub(super) struct HostWriter {
    pub decoder: EventReader,
    pub turns: Turns,
    pub maintenance: HostMaintenance,
}

impl HostStore {
    /// A connection for a read, in a transaction, and what that sees.
    fn lend(&self, deadline: &Deadline) -> Result<(HostConnection<'_>, Snapshot)> {
        lend(&*self.host, deadline, |connection| {
            // With a log, no reader waits for a writer.
            if self.shared.checkpoints.wal.is_some() && !self.has_log() {
                connection.settle(false)?;
            }
            connection.see_committed()?;
            connection.begin_read(deadline)
        })
    }

    /// Whether the file has a log, which the store syncs itself.
    fn has_log(&self) -> bool {
        self.shared.checkpoints.wal.as_deref().is_some_and(|wal| !wal.has_journal())
    }

    /// How many events are held in memory.
    #[cfg(test)]
    pub fn tail_len(&self) -> usize {
        self.shared.index.tail.read(crate::sqlite::index::tail::Generations::len)
    }

    /// What a poll of a wait finds.
    #[cfg(test)]
    pub fn polled(&self) -> Result<Position> {
        self.poll(&self.shared.deadline(), false)
    }

    /// How often the waits were told to look.
    #[cfg(test)]
    pub fn alerts(&self) -> usize {
        self.shared.commits.watch.alerts()
    }

    /// How many syncs there were.
    #[cfg(test)]
    pub fn syncs(&self) -> u64 {
        self.shared.commits.durability.tampering.count.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// What notes the next commit panics.
    #[cfg(test)]
    pub fn panic_once(&self) {
        self.shared
            .commits
            .durability
            .tampering
            .panic
            .store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// From now on syncs fail.
    #[cfg(test)]
    pub fn fail_syncs(&self) {
        self.shared
            .commits
            .durability
            .tampering
            .fail
            .store(true, std::sync::atomic::Ordering::SeqCst);
    }

    pub(super) fn explain(&self, error: Error) -> Error {
        explain(error, self.path.is_none())
    }

    fn look(&self, deadline: &Deadline) -> Result<Position> {
        let (connection, snapshot) = self.lend(deadline)?;
        drop(connection);
        self.shared.visible(snapshot.head, false)
    }

    /// Looks for events of others on behalf of a wait. As long as the files do not change, that costs
    /// no statement.
    fn poll(&self, deadline: &Deadline, is_first: bool) -> Result<Position> {
        let Some(Wal::Hosts(wal)) = self.shared.checkpoints.wal.as_deref() else {
            return self.look(deadline);
        };
        self.poll.head(wal.look(), is_first, || self.look(deadline))
    }

    fn diagnosis(&self, deadline: &Deadline) -> Result<Diagnosis> {
        let (snapshot, segments, version) = retry_locked(deadline, || {
            let (connection, snapshot) = self.lend(deadline)?;
            let segments = self.shared.index.segments.at_version(&connection, snapshot.version)?;
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

    /// How many appends wait for a leader.
    #[cfg(test)]
    pub fn queued(&self) -> usize {
        self.queue.queued()
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
pub(super) fn lend<'h, T>(
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

impl Committer for HostStore {
    type Request = QueuedAppend;

    fn run(
        &self,
        deadline: &Deadline,
        take: impl FnOnce() -> Vec<QueuedAppend>,
    ) -> Result<Vec<Outcome>> {
        let mut writer = self.writer.lock_within(deadline, late)?;
        let HostWriter { decoder, turns, maintenance } = &mut *writer;
        let (connection, ()) = lend(&*self.host, deadline, |connection| {
            connection.settle(self.has_log())?;
            connection.see_committed()?;
            turns.begin();
            begin_immediate(connection, deadline)
        })?;
        let group = take();
        let events = group.iter().map(|queued| queued.prepared.len()).sum();
        let outcomes = run(&connection, decoder, turns, &self.shared, group, deadline);
        connection.end();
        turns.end();
        if outcomes.iter().any(|outcome| outcome.answer.is_ok()) {
            maintenance.help(&self.shared, &connection, decoder, events);
        }
        Ok(outcomes)
    }

    fn make_durable(&self, position: Position) -> Result<()> {
        self.shared.commits.durability.ensure(position)
    }

    fn durable(&self) -> Position {
        self.shared.commits.durability.durable()
    }

    fn failure(&self) -> Option<Error> {
        self.shared.commits.durability.failure()
    }

    fn watch(&self) -> &HeadWatch {
        &self.shared.commits.watch
    }
}

impl Store for HostStore {
    fn append(&self, request: AppendRequest, call: &CallOptions) -> Result<Appended> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        let prepared = self.shared.prepare(request)?;
        let events = prepared.len();
        let queued = QueuedAppend { prepared, deadline: deadline.clone() };
        self.queue.append(self, queued, events, &deadline).map_err(|error| self.explain(error))
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

    fn batch_bytes(&self) -> usize {
        BATCH_BYTES
    }

    fn find(&self, id: EventId<'_>, call: &CallOptions) -> Result<Option<SequencedEvent>> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        let visible = |head| self.shared.visible(head, false);
        let found = retry_locked(&deadline, || {
            let (connection, snapshot) = self.lend(&deadline)?;
            let (source, decoder) = (Source::from(&connection), &mut EventReader::default());
            Ok(self.shared.find_within(source, decoder, snapshot, id, &visible)?)
        });
        found.map_err(|error| self.explain(error))
    }

    fn head(&self, call: &CallOptions) -> Result<Position> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        self.look(&deadline).map_err(|error| self.explain(error))
    }

    fn wait(&self, after: Position, call: &CallOptions) -> Result<Position> {
        let deadline = self.shared.start(call, None)?;
        // The first one looks at the database, whatever the files say.
        let is_first = Cell::new(true);
        let looked = |at_once: &Deadline| self.poll(at_once, is_first.replace(false));
        let interval = || self.poll.interval();
        self.shared.wait(after, &deadline, &looked, &interval).map_err(|error| self.explain(error))
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
    ) -> Result<Position> {
        Err(Error::invalid(
            "store: is on connections of the host's: run VACUUM INTO on one of them, or open the \
             file by its path and copy that store",
        ))
    }

    fn close(&self) {
        self.shared.commits.watch.close();
    }
}
