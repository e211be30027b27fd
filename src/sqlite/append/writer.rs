//! The writer of a store: the queue of appends, and the connection that runs them in groups.
//!
//! Invariant: only the thread that holds the lock on the connection uses it. A leader holds the
//! lock for one group, and maintenance for one slice of its work.

use std::time::Duration;

use rusqlite::Connection;

use crate::commit::Appended;
use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::fair_mutex::{FairMutex, Guard};
use crate::commit::group_commit::{Committer, GroupCommit, Outcome};
use crate::commit::head_watch::HeadWatch;
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sqlite::append::connection::WriterConnection;
use crate::sqlite::append::group::{PreparedAppend, run};
use crate::sqlite::append::turns::Turns;
use crate::sqlite::connection::error::busy;
use crate::sqlite::connection::transaction::{
    begin_immediate, rollback, try_begin_immediate, wait_for_lock,
};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::state::StoreState;

/// How long maintenance tries to get SQLite's write lock. It tries again later.
const MAINTENANCE_TIMEOUT: Duration = Duration::from_secs(1);

/// The queue of appends and the connection that runs them.
#[derive(Debug)]
pub struct Writer {
    queue: GroupCommit<PreparedAppend>,
    /// The connection; `None` once the store is closed. Lock order: before every other lock of the
    /// store but `IndexState::segmenting`.
    connection: FairMutex<Option<WriterConnection>>,
}

impl Writer {
    /// Creates a writer that owns this connection.
    pub fn new(connection: Connection, reader: EventReader) -> Self {
        let connection = WriterConnection { connection, reader, turns: Turns::new() };
        Writer { queue: GroupCommit::default(), connection: FairMutex::new(Some(connection)) }
    }

    /// Acquires the connection, waiting until no other thread of this process uses it.
    pub fn lock(&self) -> WriterGuard<'_> {
        WriterGuard(self.connection.lock())
    }

    /// Acquires the connection as [`Writer::lock`] does, or fails with `busy` at the deadline.
    pub fn lock_within(&self, deadline: &Deadline) -> Result<WriterGuard<'_>> {
        self.connection.lock_within(deadline, busy).map(WriterGuard)
    }

    /// Returns how many requests wait.
    #[cfg(test)]
    pub fn queued(&self) -> usize {
        self.queue.queued()
    }

    /// Closes the writer and returns its connection, which is `None` if it was closed before.
    pub fn close(&self) -> Option<Connection> {
        self.lock().0.take().map(|writer| writer.connection)
    }

    /// Appends the events of a prepared request, in a group with other requests that wait.
    pub fn append(
        &self,
        shared: &StoreState,
        prepared: PreparedAppend,
        deadline: &Deadline,
    ) -> Result<Appended> {
        let events = prepared.len();
        self.queue.append(&GroupRunner { writer: self, shared }, prepared, events, deadline)
    }

    /// The core with SQLite's write lock, for maintenance. While another process has that lock,
    /// the core is let go of between two tries: an append that comes waits no longer than its own
    /// patience lasts.
    pub fn begin_maintenance(&self) -> Result<WriterGuard<'_>> {
        self.begin_maintenance_within(&CallOptions::default().start(None))
    }

    /// The same, as long as `deadline` lasts, and no longer than a chore tries.
    pub fn begin_maintenance_within(&self, deadline: &Deadline) -> Result<WriterGuard<'_>> {
        let tries = deadline.at_most(MAINTENANCE_TIMEOUT);
        loop {
            let mut guard = self.lock_within(deadline)?;
            match try_begin_immediate(&guard.open()?.connection) {
                Ok(()) => return Ok(guard),
                Err(error) if error.status == Status::Busy => drop(guard),
                Err(error) => return Err(error),
            }
            wait_for_lock(&tries)?;
        }
    }
}

/// Runs the groups of appends of one store.
struct GroupRunner<'a> {
    writer: &'a Writer,
    shared: &'a StoreState,
}

impl Committer for GroupRunner<'_> {
    type Request = PreparedAppend;

    fn run(
        &self,
        deadline: &Deadline,
        take: impl FnOnce() -> Vec<PreparedAppend>,
    ) -> Result<Vec<Outcome>> {
        self.shared.maintenance_signal.touch();
        wait_for_wal(self.shared, deadline)?;
        let mut guard = self.writer.lock_within(deadline)?;
        let core = guard.open()?;
        core.turns.begin();
        begin_immediate(&core.connection, deadline)?;
        let begun = ActiveGroup(core);
        run(begun.0, self.shared, take())
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

/// The connection while a group runs. Dropping it rolls back an open transaction, even if the group
/// panics.
struct ActiveGroup<'a>(&'a mut WriterConnection);

impl Drop for ActiveGroup<'_> {
    fn drop(&mut self) {
        rollback(&self.0.connection);
        self.0.turns.end();
    }
}

/// The lock on the writer's connection.
pub struct WriterGuard<'a>(Guard<'a, Option<WriterConnection>>);

impl WriterGuard<'_> {
    /// Returns the connection, or fails with `closed` if the store is closed.
    pub fn open(&mut self) -> Result<&mut WriterConnection> {
        self.0.as_mut().ok_or_else(|| Error::new(Status::Closed, "the store is closed"))
    }
}

/// Waits while the WAL is at its limit and readers of other processes keep it from being reset;
/// maintenance goes on trying.
pub fn wait_for_wal(shared: &StoreState, deadline: &Deadline) -> Result<()> {
    while shared.checkpoints.is_log_held() {
        // Maintenance has stopped if the store is closed or a sync has failed.
        shared.commits.watch.check_open()?;
        shared.commits.durability.failure().map_or(Ok(()), Err)?;
        shared.maintenance_signal.wake();
        wait_for_lock(deadline).map_err(|error| match error.status {
            Status::Busy => Error {
                message: "the write-ahead log is at its limit of 1 GiB, and readers in other \
                          processes keep it from being reset: end their transactions, an old \
                          snapshot first"
                    .into(),
                ..error
            },
            _ => error,
        })?;
    }
    Ok(())
}
