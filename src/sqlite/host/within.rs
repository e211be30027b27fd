//! Appends in a transaction of the caller's.
//!
//! Invariant: an append leaves the transaction as it was, or with all of its events. Nothing that
//! only the transaction sees enters the tail, the index or the durable position.

use std::sync::{Arc, MutexGuard, PoisonError};

use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::group_commit::Outcome;
use crate::domain::{AppendRequest, Verdict};
use crate::error::{Error, Result, Status};
use crate::sql::SqlConnection;
use crate::sql::host::{BorrowedConnection, ConnectionHandle};
use crate::sqlite::append::group::{PreparedAppend, Staged, check_tail};
use crate::sqlite::connection::error::damaged_index;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::host::connection::{HostConnection, wait_again};
use crate::sqlite::host::identity::{mark_of, path_of};
use crate::sqlite::host::maintenance::index_within;
use crate::sqlite::host::overlay::{Overlay, Seen, write_mark};
use crate::sqlite::host::store::HostStore;
use crate::sqlite::index::segment_list::Segments;
use crate::sqlite::index::view::View;
use crate::sqlite::snapshot::Snapshot;
use crate::store::Appended;

impl HostStore {
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
        if let Some(failure) = self.shared.commits.durability.failure() {
            return Err(failure);
        }
        let prepared = PreparedAppend::new(request)?;
        let connection = HostConnection::within(lent, &deadline);
        connection.expect_transaction()?;
        let seen = lock_within(&connection, &deadline).and_then(|()| Seen::take(&connection));
        let is_other = match &seen {
            Ok(seen) => {
                seen.path != self.path
                    || self.identity.is_some() && mark_of(&connection)? != self.identity
            }
            // Another database may lack what is locked with, or read.
            Err(error) if error.status != Status::Busy => path_of(&connection)? != self.path,
            Err(_) => false,
        };
        if is_other {
            return Err(Error::invalid("the transaction is one of another database"));
        }
        let seen = seen.map_err(|error| self.explain(error))?;
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
            .attempt_within(&connection, prepared, &seen)
            .and_then(|outcome| connection.run("RELEASE dcb_append", &[]).map(|_| outcome));
        if outcome.is_err() {
            undo(&connection)?;
        }
        let (verdict, rests_on, overlay) = outcome?;
        *self.overlay() = overlay;
        if rests_on > self.shared.commits.durability.durable() {
            // What the caller's transaction has stored itself has no position that is known to be
            // its own, so no position becomes durable by this.
            self.shared.commits.durability.check()?;
        }
        verdict
    }

    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing that the transaction shows enters the tail: it may be rolled back, and its positions
    /// be taken by others. The overlay knows that. An error: what was written is to be undone.
    fn attempt_within(
        &self,
        connection: &HostConnection<'_>,
        mut request: PreparedAppend,
        seen: &Seen,
    ) -> Result<(Result<Appended>, i64, Overlay)> {
        let Seen { snapshot, mark, .. } = *seen;
        let mut overlay = std::mem::take(&mut *self.overlay());
        let committed = self.shared.index.segments.newest();
        let segments = overlay.segments(connection, snapshot, mark, &committed)?;
        segments.check(snapshot)?;
        // With the write lock, the transaction sees all that is committed; so what the tail holds
        // is a part of it.
        let covered = check_tail(&self.shared.index.tail, snapshot)?.max(segments.indexed());
        let mut decoder = EventReader::default();
        overlay.enter(connection, &mut decoder, snapshot, mark, covered)?;
        overlay.note_segments(mark, Arc::clone(&segments));
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
                let is_indexed =
                    index_within(&self.shared, connection, &mut decoder, last, &segments, is_long)?;
                let segments = if is_indexed {
                    let version = Snapshot::take(connection)?.version;
                    Arc::new(Segments::load(connection, version, &segments)?)
                } else {
                    segments
                };
                match write_mark(connection)? {
                    Some(written) => overlay.note_append(written, request, segments),
                    None => overlay = Overlay::default(),
                }
                return Ok((Ok(Appended::new(last)), 0, overlay));
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
