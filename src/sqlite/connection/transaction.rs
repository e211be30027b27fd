//! Transactions on a connection, and waiting for SQLite's locks until a deadline.
//!
//! Invariant: no transaction outlives its owner. A rollback can fail, because it allocates memory;
//! the next user of the connection then repeats it.

use std::time::Duration;

use crate::commit::deadline::Deadline;
use crate::error::{Error, Result, Status};
use crate::sql::SqlConnection;
use crate::sqlite::connection::error::{busy, from_sqlite, is_busy};

/// How long a thread sleeps between two tries for SQLite's lock. The interval is constant, because
/// with backoff an early waiter would poll less often than a late one.
const LOCK_POLL: Duration = Duration::from_micros(500);

/// Rolls back a transaction whose rollback failed earlier. Otherwise the connection would keep its
/// old snapshot and its lock.
pub fn end_left_over(connection: &dyn SqlConnection) -> Result<()> {
    if connection.is_autocommit() { Ok(()) } else { connection.run("ROLLBACK", &[]).map(drop) }
}

/// A transaction that is rolled back when this is dropped, unless it has ended.
pub struct Transaction<'a>(pub &'a dyn SqlConnection);

impl<'a> Transaction<'a> {
    /// Begins a transaction that reads.
    pub fn begin(connection: &'a dyn SqlConnection) -> Result<Self> {
        end_left_over(connection)?;
        connection.run("BEGIN", &[])?;
        Ok(Transaction(connection))
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // If this fails, the next user of the connection repeats it.
        let _ = end_left_over(self.0);
    }
}

/// Calls `attempt` again while it fails because of a lock, until the deadline.
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

/// Does the same as [`retry_busy`] for an operation that returns the library's errors.
pub fn retry<T>(deadline: &Deadline, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if error.status == Status::Busy => wait_for_lock(deadline)?,
            other => return other,
        }
    }
}

/// Sleeps until the next try for a lock. Fails with `busy` at the deadline, or with `cancelled`.
pub fn wait_for_lock(deadline: &Deadline) -> Result<()> {
    deadline.check_cancel()?;
    if deadline.is_over() {
        return Err(busy());
    }
    std::thread::sleep(deadline.nap(Some(LOCK_POLL)).unwrap_or(LOCK_POLL));
    Ok(())
}

/// Begins a transaction with SQLite's write lock, retrying until the deadline.
pub fn begin_immediate(connection: &dyn SqlConnection, deadline: &Deadline) -> Result<()> {
    retry(deadline, || try_begin_immediate(connection))
}

/// Begins a transaction with SQLite's write lock. Fails with `busy` if another connection holds it.
pub fn try_begin_immediate(connection: &dyn SqlConnection) -> Result<()> {
    end_left_over(connection)?;
    connection.run("BEGIN IMMEDIATE", &[]).map(drop)
}

/// Commits the transaction.
pub fn commit(connection: &dyn SqlConnection) -> Result<()> {
    connection.run("COMMIT", &[]).map(drop).map_err(|error| match error.status {
        // SQLite writes the WAL, with the mark of the commit, before it allocates memory and space for
        // the WAL-index. A process that recovers the WAL then finds the transaction committed.
        Status::NoMemory => Error { status: Status::Io, ..error },
        Status::Full if error.detail == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
            Error { status: Status::Io, ..error }
        }
        _ => error,
    })
}

impl Transaction<'_> {
    /// Commits the transaction. If that fails, the transaction is rolled back.
    pub fn commit(self) -> Result<()> {
        commit(self.0)
    }
}

/// Rolls back the transaction, if one is open.
pub fn rollback(connection: &dyn SqlConnection) {
    // If this fails, the next user of the connection repeats it.
    let _ = end_left_over(connection);
}
