//! The connection that writes, and how a group of appends is run: as one transaction under SQLite's
//! write lock, each request judged with those before it already in.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rusqlite::Connection;

use crate::commit::Appended;
use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::fair_mutex::{FairMutex, Guard};
use crate::commit::group_commit::{Committer, GroupCommit, Outcome};
use crate::commit::head_watch::HeadWatch;
use crate::domain::AppendRequest;
use crate::error::{Error, Result, Status};
use crate::sqlite::append::connection::WriterConnection;
use crate::sqlite::append::group::{PreparedAppend, run};
use crate::sqlite::append::turns::Turns;
use crate::sqlite::connection::error::busy;
use crate::sqlite::connection::transaction::{
    begin_immediate, rollback, try_begin_immediate, wait_for_lock,
};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::state::StoreState;

/// How long work that nobody waits for tries to get SQLite's lock; it is tried again later.
const CHORE_PATIENCE: Duration = Duration::from_secs(1);

/// The queue of appends and the connection that runs them.
#[derive(Debug)]
pub struct Writer {
    queue: GroupCommit<PreparedAppend>,
    /// `None` once the store is closed. Taken before every other lock of the store.
    core: FairMutex<Option<WriterConnection>>,
}

impl Writer {
    /// A writer over its connection.
    pub fn new(connection: Connection, decoder: EventReader) -> Self {
        let core = WriterConnection { connection, decoder, turns: Turns::new() };
        Writer { queue: GroupCommit::default(), core: FairMutex::new(Some(core)) }
    }

    /// The core, as soon as nobody in this process uses it.
    pub fn core(&self) -> WriterGuard<'_> {
        WriterGuard(self.core.lock())
    }

    /// The same, as long as `deadline` lasts.
    pub fn core_within(&self, deadline: &Deadline) -> Result<WriterGuard<'_>> {
        self.core.lock_within(deadline, busy).map(WriterGuard)
    }

    /// How many requests wait.
    #[cfg(test)]
    pub fn queued(&self) -> usize {
        self.queue.queued()
    }

    /// Ends the writer and gives its connection.
    pub fn close(&self) -> Option<Connection> {
        self.core().0.take().map(|core| core.connection)
    }

    /// Appends, alone or with others.
    pub fn append(
        &self,
        shared: &StoreState,
        request: AppendRequest,
        deadline: &Deadline,
    ) -> Result<Appended> {
        let prepared = PreparedAppend::new(request)?;
        let events = prepared.len();
        self.queue.append(&GroupRunner { writer: self, shared }, prepared, events, deadline)
    }

    /// The core with SQLite's write lock, for maintenance. While another process has that lock,
    /// the core is let go of between two tries: an append that comes waits no longer than its own
    /// patience lasts.
    pub fn begin_chore(&self) -> Result<WriterGuard<'_>> {
        self.begin_chore_within(&CallOptions::default().start(None))
    }

    /// The same, as long as `deadline` lasts, and no longer than a chore tries.
    pub fn begin_chore_within(&self, deadline: &Deadline) -> Result<WriterGuard<'_>> {
        let tries = deadline.at_most(CHORE_PATIENCE);
        loop {
            let mut guard = self.core_within(deadline)?;
            match try_begin_immediate(&guard.open()?.connection) {
                Ok(()) => return Ok(guard),
                Err(error) if error.status == Status::Busy => drop(guard),
                Err(error) => return Err(error),
            }
            wait_for_lock(&tries)?;
        }
    }
}

/// How the store runs its groups.
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
        wait_for_log(self.shared, deadline)?;
        let mut guard = self.writer.core_within(deadline)?;
        let core = guard.open()?;
        core.turns.begin();
        begin_immediate(&core.connection, deadline)?;
        let begun = ActiveGroup(core);
        run(begun.0, self.shared, take())
    }

    fn make_durable(&self, position: i64) -> Result<()> {
        self.shared.durability.ensure(position)
    }

    fn durable(&self) -> i64 {
        self.shared.durability.durable()
    }

    fn failure(&self) -> Option<Error> {
        self.shared.durability.failure()
    }

    fn watch(&self) -> &HeadWatch {
        &self.shared.watch
    }
}

/// The core while a group runs. Whatever becomes of the group, a panic too, it leaves no
/// transaction open.
struct ActiveGroup<'a>(&'a mut WriterConnection);

impl Drop for ActiveGroup<'_> {
    fn drop(&mut self) {
        rollback(&self.0.connection);
        self.0.turns.end();
    }
}

/// The core, held.
pub struct WriterGuard<'a>(Guard<'a, Option<WriterConnection>>);

impl WriterGuard<'_> {
    /// The core of a store that is not closed.
    pub fn open(&mut self) -> Result<&mut WriterConnection> {
        self.0.as_mut().ok_or_else(|| Error::new(Status::Closed, "the store is closed"))
    }
}

/// Waits while the WAL is at its limit and readers of other processes keep it from being reset;
/// maintenance goes on trying.
pub fn wait_for_log(shared: &StoreState, deadline: &Deadline) -> Result<()> {
    while shared.log_held.load(Relaxed) {
        // Maintenance tries no more then.
        shared.watch.check_open()?;
        shared.durability.failure().map_or(Ok(()), Err)?;
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
