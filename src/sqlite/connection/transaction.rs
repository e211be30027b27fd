//! Transactions on a connection, and waiting for SQLite's locks.

use std::time::Duration;

use crate::commit::deadline::Deadline;
use crate::error::{Error, Result, Status};
use crate::sql::SqlConnection;
use crate::sqlite::connection::error::{busy, from_sqlite, is_busy};

/// How long a thread sleeps between two tries for SQLite's lock: flat, so that nobody who came
/// early is left behind by somebody who came late.
const LOCK_POLL: Duration = Duration::from_micros(500);

/// Undoes a transaction that could not be undone when it ended: even that takes memory. Else the
/// connection would go on seeing the database as it was then, and keep the lock that it had.
pub fn end_left_over(connection: &dyn SqlConnection) -> Result<()> {
    if connection.is_autocommit() { Ok(()) } else { connection.run("ROLLBACK", &[]).map(drop) }
}

/// A transaction, which is undone when this is dropped, unless it has ended.
pub struct Transaction<'a>(pub &'a dyn SqlConnection);

impl<'a> Transaction<'a> {
    /// Begins one that reads.
    pub fn begin(connection: &'a dyn SqlConnection) -> Result<Self> {
        end_left_over(connection)?;
        connection.run("BEGIN", &[])?;
        Ok(Transaction(connection))
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // If this fails, whoever uses the connection next does it.
        let _ = end_left_over(self.0);
    }
}

/// Runs `attempt` until it meets no lock, as long as `deadline` lasts.
pub fn retry_busy<T>(
    deadline: &Deadline,
    mut attempt: impl FnMut() -> rusqlite::Result<T>,
) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if is_busy(&error) => wait_for_lock(deadline)?,
            other => return other.map_err(from_sqlite),
        }
    }
}

/// As [`retry_busy`], of what says `busy` itself.
pub fn retry<T>(deadline: &Deadline, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if error.status == Status::Busy => wait_for_lock(deadline)?,
            other => return other,
        }
    }
}

/// Sleeps until the next try for a lock is due; `busy` or `cancelled` when there is to be none.
pub fn wait_for_lock(deadline: &Deadline) -> Result<()> {
    deadline.check_cancel()?;
    if deadline.is_over() {
        return Err(busy());
    }
    std::thread::sleep(deadline.nap(Some(LOCK_POLL)).unwrap_or(LOCK_POLL));
    Ok(())
}

/// Takes SQLite's write lock, as long as `deadline` lasts.
pub fn begin_immediate(connection: &dyn SqlConnection, deadline: &Deadline) -> Result<()> {
    retry(deadline, || try_begin_immediate(connection))
}

pub fn try_begin_immediate(connection: &dyn SqlConnection) -> Result<()> {
    end_left_over(connection)?;
    connection.run("BEGIN IMMEDIATE", &[]).map(drop)
}

/// Commits the transaction.
pub fn commit(connection: &dyn SqlConnection) -> Result<()> {
    connection.run("COMMIT", &[]).map(drop).map_err(|error| match error.status {
        // SQLite writes the log, with the mark of the commit, before it asks for memory and for room
        // for its index: whoever recovers the log finds the transaction there.
        Status::NoMemory => Error { status: Status::Io, ..error },
        Status::Full if error.detail == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
            Error { status: Status::Io, ..error }
        }
        _ => error,
    })
}

impl Transaction<'_> {
    /// Commits it, or has undone it.
    pub fn commit(self) -> Result<()> {
        commit(self.0)
    }
}

/// Undoes the transaction, if one is open.
pub fn rollback(connection: &dyn SqlConnection) {
    // If this fails, whoever uses the connection next does it.
    let _ = end_left_over(connection);
}
