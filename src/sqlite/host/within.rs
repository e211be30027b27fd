//! Appends in a transaction of the caller's.
//!
//! Invariant: an append adds all of its events to the transaction, or leaves it unchanged. What only
//! the transaction sees never enters the tail, the index or the durable position.

use std::sync::{Arc, MutexGuard, PoisonError};

use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::group_commit::Outcome;
use crate::domain::{AppendRequest, Verdict};
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sql::host::{BorrowedConnection, ConnectionHandle};
use crate::sql::{ROWS_PER_INSERT, SqlConnection, Value};
use crate::sqlite::append::group::{PreparedAppend, Staged, check_tail};
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::host::connection::{HostConnection, triggers, wait_again};
use crate::sqlite::host::identity::{mark_of, path_of};
use crate::sqlite::host::maintenance::{index_within, is_segment_due};
use crate::sqlite::host::overlay::{Overlay, Seen, write_mark};
use crate::sqlite::host::store::HostStore;
use crate::sqlite::index::segment_list::Segments;
use crate::sqlite::index::tail::Generations;
use crate::sqlite::index::view::View;
use crate::sqlite::snapshot::Snapshot;
use crate::store::Appended;

impl HostStore {
    /// Returns the connection of a transaction that the caller has open, for
    /// [`append_within`](HostStore::append_within).
    pub fn transaction(&self, connection: ConnectionHandle) -> Box<dyn BorrowedConnection> {
        self.host.transaction(connection)
    }

    /// Appends in the transaction that the caller has open on the connection. The events are as
    /// durable as its commit.
    pub fn append_within(
        &self,
        lent: Box<dyn BorrowedConnection + '_>,
        request: AppendRequest,
        call: &CallOptions,
    ) -> Result<Appended> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        if let Some(failure) = self.shared.commits.durability.failure() {
            return Err(failure);
        }
        let prepared = self.shared.prepare(request)?;
        let connection = HostConnection::within(lent, &deadline);
        connection.expect_transaction()?;
        let look = self.lock_and_look(&connection, &deadline);
        let is_other = match &look {
            Ok(_) => {
                path_of(&connection)? != self.path
                    || self.identity.is_some() && mark_of(&connection)? != self.identity
            }
            // Another database may lack what is locked with, or read.
            Err(error) if error.status != Status::Busy => path_of(&connection)? != self.path,
            Err(_) => false,
        };
        if is_other {
            return Err(Error::invalid("the transaction is one of another database"));
        }
        let look = look.map_err(|error| self.explain(error))?;
        let is_single = look.is_expected && self.is_single(&prepared, look.seen.snapshot);
        if !is_single {
            set_savepoint(&connection)?;
        }
        let release = || match is_single {
            true => Ok(0),
            false => connection.run("RELEASE dcb_append", &[]),
        };
        let outcome = self
            .attempt_within(&connection, prepared, look.seen, is_single)
            .and_then(|outcome| release().map(|_| outcome));
        if outcome.is_err() {
            match is_single {
                true => undo_single(&connection, look.seen.snapshot.head)?,
                false => undo(&connection)?,
            }
        }
        let (verdict, rests_on, overlay) = outcome?;
        *self.overlay() = overlay;
        if let Ok(Appended { last, is_repeated: false }) = verdict {
            self.poll.await_commit(last);
            self.shared.commits.watch.alert();
        }
        if rests_on > self.shared.commits.durability.durable() {
            // What the caller's transaction has stored itself has no position that is known to be
            // its own, so no position becomes durable by this.
            self.shared.commits.durability.check()?;
        }
        verdict
    }

    /// Takes the write lock for the caller's transaction, and returns what the transaction sees then.
    fn lock_and_look(&self, connection: &HostConnection<'_>, deadline: &Deadline) -> Result<Look> {
        let head = self.shared.index.tail.read(Generations::head);
        let version = self.shared.index.segments.newest().version;
        let expected = self.overlay().expected(head, version);
        if lock_within(connection, deadline, expected)?
            && let Some(seen) = expected
        {
            return Ok(Look { seen, is_expected: true });
        }
        Ok(Look { seen: Seen::take(connection)?, is_expected: false })
    }

    /// Returns whether the append is one statement. SQLite undoes a statement that fails, so it needs
    /// no savepoint, which would make SQLite copy pages.
    fn is_single(&self, request: &PreparedAppend, snapshot: Snapshot) -> bool {
        let overlay = self.overlay();
        let head = snapshot.head.saturating_add(request.len() as u64);
        let indexed = overlay.newest_segments(snapshot.version).map(|segments| segments.indexed());
        request.len() <= ROWS_PER_INSERT
            && !overlay.is_long()
            && indexed.is_some_and(|indexed| !is_segment_due(&self.shared, head, indexed))
    }

    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges and writes the append. What the transaction sees does not enter the tail, only the
    /// overlay: after a rollback, other events take its positions. After an error, the caller undoes
    /// what was written.
    fn attempt_within(
        &self,
        connection: &HostConnection<'_>,
        mut request: PreparedAppend,
        seen: Seen,
        is_single: bool,
    ) -> Result<(Result<Appended>, Position, Overlay)> {
        let Seen { snapshot, mark } = seen;
        let mut overlay = std::mem::take(&mut *self.overlay());
        let committed = self.shared.index.segments.newest();
        let segments = overlay.segments(connection, snapshot, mark, &committed)?;
        segments.check(snapshot)?;
        // With the write lock, the transaction sees all that is committed; so what the tail holds
        // is a part of it.
        let covered = check_tail(&self.shared.index.tail, snapshot)?.max(segments.indexed());
        let mut decoder = EventReader::default();
        overlay.enter(connection, &mut decoder, snapshot, mark, covered)?;
        overlay.note_seen(seen, Arc::clone(&segments));
        let is_long = overlay.is_long();
        let view = View {
            source: connection.into(),
            segments: Arc::clone(&segments),
            tail: &self.shared.index.tail,
        };
        let mut staged = Staged::over(view, &mut decoder, overlay.take_index(), snapshot.head);
        let verdict = staged.check(&request);
        let answer = match verdict {
            Ok(Verdict::Repeated(last)) => Ok(Appended::repeated(last)),
            Ok(Verdict::New) => {
                let last = staged.store(&mut request)?;
                staged.into_index().into_iter().for_each(|index| overlay.give_back(index));
                let is_indexed = !is_single
                    && index_within(
                        &self.shared,
                        connection,
                        &mut decoder,
                        last,
                        &segments,
                        is_long,
                    )?;
                let segments = if is_indexed {
                    let version = Snapshot::take(connection)?.version;
                    Arc::new(Segments::load(connection, version, &segments)?)
                } else {
                    segments
                };
                match write_mark(connection) {
                    Ok(Some(written)) => overlay.note_append(written, request, last, segments),
                    Ok(None) => overlay = Overlay::default(),
                    // The old mark says less, and nothing that is wrong.
                    Err(_) if is_single && connection.expect_transaction().is_ok() => {
                        overlay = Overlay::default();
                    }
                    Err(error) => return Err(error),
                }
                return Ok((Ok(Appended::new(last)), Position::START, overlay));
            }
            Err(error) => Err(error),
        };
        staged.into_index().into_iter().for_each(|index| overlay.give_back(index));
        if connection.is_autocommit() {
            return Err(answer.err().unwrap_or_else(damaged_index));
        }
        let mut outcome = Outcome::new(answer);
        if matches!(&outcome.answer, Err(error) if error.status == Status::DuplicateId) {
            outcome.rests_on = snapshot.head;
        }
        Ok((outcome.answer, outcome.rests_on, overlay))
    }
}

/// What an append finds in the caller's transaction.
struct Look {
    seen: Seen,
    /// Whether the transaction sees what the store expected.
    is_expected: bool,
}

/// Sets the savepoint that an append returns to if it fails.
fn set_savepoint(connection: &HostConnection<'_>) -> Result<()> {
    let Err(error) = connection.run("SAVEPOINT dcb_append", &[]) else { return Ok(()) };
    // It may be there nevertheless, and would last as long as the transaction.
    let released = connection.run("RELEASE dcb_append", &[]);
    let is_none = |error: &Error| error.detail == rusqlite::ffi::SQLITE_ERROR;
    if released.is_err_and(|error| !is_none(&error)) {
        undo(connection)?;
    }
    Err(error)
}

/// Checks that a failed append of one statement has left nothing. A driver may report a failure
/// although the statement took effect, and a trigger of the program's may keep what it did before it
/// failed. Then the whole transaction is rolled back.
fn undo_single(connection: &HostConnection<'_>, head: Position) -> Result<()> {
    let is_undone = || {
        let now = Snapshot::take(connection)?.head;
        Ok::<_, Error>(now == head && !triggers::may_keep_changes(connection)?)
    };
    if !is_over(connection) && !is_undone().unwrap_or(false) {
        return roll_back(connection);
    }
    Ok(())
}

/// Undoes what an append has written in the caller's transaction. If the savepoint cannot be rolled
/// back, it rolls the whole transaction back, so that its commit fails.
fn undo(connection: &HostConnection<'_>) -> Result<()> {
    let back = ["ROLLBACK TO dcb_append", "RELEASE dcb_append"];
    if back.into_iter().all(|sql| connection.run(sql, &[]).is_ok()) {
        return Ok(());
    }
    roll_back(connection)
}

fn roll_back(connection: &HostConnection<'_>) -> Result<()> {
    if connection.run("ROLLBACK", &[]).is_ok() || is_over(connection) {
        return Ok(());
    }
    Err(Error::new(
        Status::Io,
        "an append in the transaction failed, and could not be undone: roll the transaction back",
    ))
}

/// Returns whether SQLite has ended the transaction.
fn is_over(connection: &HostConnection<'_>) -> bool {
    connection.expect_transaction().is_err_and(|error| error.status == Status::InvalidArgument)
}

/// The statement that takes the write lock.
const LOCK: &str = "UPDATE main.dcb_meta SET value = value WHERE key IS NULL";

/// The statement that takes the write lock. It updates a row to its own value if the transaction
/// sees the expected mark, version of the segment list, and head.
const LOCK_IF: &str = "UPDATE main.dcb_meta SET value = value WHERE key = 'within' AND value = ? \
                       AND (SELECT value FROM main.dcb_meta WHERE key = 'index') = ? \
                       AND (SELECT max(position) FROM main.dcb_events) = ?";

/// How often the lock is tried with an outdated snapshot before the append fails.
const MAX_OUTDATED: u32 = 3;

/// Takes the write lock for the caller's transaction, and changes nothing. Returns whether the
/// transaction sees what is expected. One statement does both, because each one costs time.
fn lock_within(
    connection: &HostConnection<'_>,
    deadline: &Deadline,
    expected: Option<Seen>,
) -> Result<bool> {
    let values = expected.map(|Seen { snapshot, mark }| {
        let numbers = [mark.unwrap_or_default(), snapshot.version, snapshot.head.get()];
        numbers.map(Value::Integer)
    });
    let (sql, values) = match &values {
        Some(values) => (LOCK_IF, &values[..]),
        None => (LOCK, &[][..]),
    };
    let mut outdated = 0;
    loop {
        let error = match connection.run(sql, values) {
            Ok(changes) => {
                connection.note_write_lock();
                return Ok(changes == 1);
            }
            Err(error) => error,
        };
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
}
