//! The connection that writes, and how a group of appends is run: as one transaction under SQLite's
//! write lock, each request judged with those before it already in.

use crate::commit::deadline::{Call, Patience};
use crate::commit::durability::Durability;
use crate::commit::fair_mutex::{Guard, Patient};
use crate::commit::group_commit::{Outcome, Queue, Work};
use crate::commit::head_watch::Watch;
use crate::domain::AppendRequest;
use crate::error::{Error, Result, Status};
use crate::sqlite::append::group::Prepared;
use crate::sqlite::append::group::run;
use crate::sqlite::append::turns::Turns;
use crate::sqlite::connection::error::busy;
use crate::sqlite::connection::transaction::begin_immediate;
use crate::sqlite::connection::transaction::rollback;
use crate::sqlite::connection::transaction::try_begin_immediate;
use crate::sqlite::connection::transaction::wait_for_lock;
use crate::sqlite::events::reader::Decoder;
use crate::sqlite::state::Shared;
use rusqlite::Connection;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long work that nobody waits for tries to get SQLite's lock; it is tried again later.
const CHORE_PATIENCE: Duration = Duration::from_secs(1);

/// The one connection that writes, and what its holder knows.
#[derive(Debug)]
pub struct Core {
    /// The connection; no transaction is open while nobody holds the core.
    pub connection: Connection,
    pub(super) decoder: Decoder,
    pub(super) turns: Turns,
}

impl Core {
    /// The connection, and scratch for its rows.
    pub fn parts(&mut self) -> (&Connection, &mut Decoder) {
        (&self.connection, &mut self.decoder)
    }
}

/// The queue of appends and the connection that runs them.
#[derive(Debug)]
pub struct Writer {
    queue: Queue<Prepared>,
    /// `None` once the store is closed. Taken before every other lock of the store.
    core: Patient<Option<Core>>,
}

impl Writer {
    /// A writer over its connection.
    pub fn new(connection: Connection, decoder: Decoder) -> Self {
        let core = Core { connection, decoder, turns: Turns::new() };
        Writer { queue: Queue::default(), core: Patient::new(Some(core)) }
    }

    /// The core, as soon as nobody in this process uses it.
    pub fn core(&self) -> CoreGuard<'_> {
        CoreGuard(self.core.lock())
    }

    /// The same, as long as `patience` lasts.
    pub fn core_within(&self, patience: &Patience) -> Result<CoreGuard<'_>> {
        self.core.lock_within(patience, busy).map(CoreGuard)
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
        shared: &Shared,
        request: AppendRequest,
        patience: &Patience,
    ) -> Result<i64> {
        let prepared = Prepared::new(request)?;
        let events = prepared.len();
        self.queue.append(&Groups { writer: self, shared }, prepared, events, patience)
    }

    /// The core with SQLite's write lock, for maintenance. While another process has that lock,
    /// the core is let go of between two tries: an append that comes waits no longer than its own
    /// patience lasts.
    pub fn begin_chore(&self) -> Result<CoreGuard<'_>> {
        let patience = Call::default().start(Some(CHORE_PATIENCE));
        loop {
            let mut guard = self.core();
            match try_begin_immediate(&guard.open()?.connection) {
                Ok(()) => return Ok(guard),
                Err(error) if error.status == Status::Busy => drop(guard),
                Err(error) => return Err(error),
            }
            wait_for_lock(&patience)?;
        }
    }
}

/// How the store runs its groups.
struct Groups<'a> {
    writer: &'a Writer,
    shared: &'a Shared,
}

impl Work for Groups<'_> {
    type Request = Prepared;

    fn run(
        &self,
        patience: &Patience,
        take: impl FnOnce() -> Vec<Prepared>,
    ) -> Result<Vec<Outcome>> {
        wait_for_log(self.shared, patience)?;
        let mut guard = self.writer.core_within(patience)?;
        let core = guard.open()?;
        core.turns.begin();
        begin_immediate(&core.connection, patience)?;
        let begun = Begun(core);
        run(begun.0, self.shared, take())
    }

    fn durability(&self) -> &Durability {
        &self.shared.durability
    }

    fn watch(&self) -> &Watch {
        &self.shared.watch
    }
}

/// The core while a group runs. Whatever becomes of the group, a panic too, it leaves no
/// transaction open.
struct Begun<'a>(&'a mut Core);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        rollback(&self.0.connection);
        self.0.turns.end();
    }
}

/// The core, held.
pub struct CoreGuard<'a>(Guard<'a, Option<Core>>);

impl CoreGuard<'_> {
    /// The core of a store that is not closed.
    pub fn open(&mut self) -> Result<&mut Core> {
        self.0.as_mut().ok_or_else(|| Error::new(Status::Closed, "the store is closed"))
    }
}

/// Waits while a reader of another process keeps the log from starting anew and it is at its
/// longest; maintenance goes on trying.
pub fn wait_for_log(shared: &Shared, patience: &Patience) -> Result<()> {
    while shared.log_held.load(Relaxed) {
        // Maintenance tries no more then.
        shared.watch.check_open()?;
        shared.durability.failure().map_or(Ok(()), Err)?;
        shared.chores.wake();
        wait_for_lock(patience).map_err(|error| match error.status {
            Status::Busy => Error {
                message: "a reader in another process has kept an old snapshot open for so long \
                          that the write-ahead log is at its limit of 1 GiB: end that reader"
                    .into(),
                ..error
            },
            _ => error,
        })?;
    }
    Ok(())
}
