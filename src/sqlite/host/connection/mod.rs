//! A connection borrowed from the host: the library runs statements on it and returns it unchanged.
//!
//! Between acquire and release, only the library uses the connection. It may change settings then.
//! It restores them before the release, or tells the host to close the connection.
//!
//! In a transaction of the caller's, the library changes no setting. The host may end that
//! transaction between any two statements, as `database/sql` does when a context ends, and its pool
//! then hands the connection to another user, with every setting that was not yet restored. The cost
//! of this rule: if the transaction holds no lock yet, its first statement waits for one with the
//! connection's own busy timeout or handler, and neither the deadline of the call nor its cancel ends
//! that wait. Once the transaction holds a lock, SQLite returns `SQLITE_BUSY` at once without calling
//! a handler, and the library waits.

mod settings;
pub mod triggers;

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::time::Duration;

use rusqlite::ffi;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::error::{Error, Result, Status};
use crate::sql::host::{BorrowedConnection, Failure, Host, Reply};
use crate::sql::row_codec::Rows;
use crate::sql::{ROWS_PER_INSERT, Row, SqlConnection, Value, insert_of_rows};
use crate::sqlite::connection::transaction::wait_for_lock;
use crate::sqlite::events::source::Source;
use crate::sqlite::host::of_host;
use crate::sqlite::snapshot::Snapshot;

/// The most keys that one statement looks up.
const KEYS: usize = 128;
/// How long the library tries to restore a connection while a lock prevents it.
const RESTORING: Duration = Duration::from_secs(1);

/// A connection borrowed from the host.
pub struct HostConnection<'h> {
    lent: RefCell<Box<dyn BorrowedConnection + 'h>>,
    /// Whether the transaction is the caller's. Then the library neither begins nor ends it.
    is_callers: bool,
    /// Whether a transaction of the library's own is open.
    in_transaction: Cell<bool>,
    /// Whether a statement has failed in that transaction. SQLite may then have ended it.
    in_doubt: Cell<bool>,
    /// Whether a commit failed with an unknown outcome.
    is_commit_in_doubt: Cell<bool>,
    /// Whether the host returned the connection with an open transaction that a driver had left.
    is_dirty: Cell<bool>,
    /// Whether the transaction has the write lock. Its statements then wait for other locks until
    /// `deadline`.
    is_writing: Cell<bool>,
    /// When the statements of the transaction stop waiting for locks.
    deadline: RefCell<Deadline>,
    /// The statements that restore changed settings. Empty in a transaction of the caller's.
    restoring: RefCell<Vec<String>>,
}

impl<'h> HostConnection<'h> {
    /// Borrows a connection. If the host has to open one, that may find the database locked.
    pub fn acquire(host: &'h dyn Host, deadline: &Deadline) -> Result<Self> {
        deadline.check_cancel()?;
        let lent = retry_locked(deadline, || {
            host.acquire(deadline.left()).map_err(|failure| of_host(&failure))
        })?;
        Ok(Self::new(lent, false, deadline))
    }

    /// Wraps a connection on which the caller has a transaction open.
    pub fn within(lent: Box<dyn BorrowedConnection + 'h>, deadline: &Deadline) -> Self {
        Self::new(lent, true, deadline)
    }

    fn new(lent: Box<dyn BorrowedConnection + 'h>, is_callers: bool, deadline: &Deadline) -> Self {
        HostConnection {
            lent: RefCell::new(lent),
            is_callers,
            in_transaction: Cell::new(false),
            in_doubt: Cell::new(false),
            is_commit_in_doubt: Cell::new(false),
            is_dirty: Cell::new(false),
            is_writing: Cell::new(false),
            deadline: RefCell::new(deadline.clone()),
            restoring: RefCell::default(),
        }
    }

    /// Returns whether the connection came with an open transaction. The host closes such a
    /// connection, and the library acquires another one.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty.get()
    }

    /// Returns whether a commit of the library failed with an unknown outcome.
    pub fn is_commit_in_doubt(&self) -> bool {
        self.is_commit_in_doubt.get()
    }

    /// Returns an error if no transaction is open. SQLite may have ended the caller's, and then each
    /// statement would be a transaction of its own.
    pub fn expect_transaction(&self) -> Result<()> {
        // In a transaction it does nothing but fail, with the code of a statement that makes no
        // sense, or with none where the host knows none.
        if let Err(failure) = self.lent.borrow_mut().run("BEGIN", &[]) {
            if failure.code > 0 && failure.code & 0xff != ffi::SQLITE_ERROR {
                return Err(of_host(&failure));
            }
            self.in_doubt.set(false);
            return Ok(());
        }
        if self.lent.borrow_mut().run("ROLLBACK", &[]).is_err() {
            self.lent.borrow_mut().spoil();
        }
        Err(Error::invalid("there is no transaction any more: the database has ended it"))
    }

    /// Sets the deadline until which a writing transaction waits for locks.
    pub fn limit(&self, deadline: &Deadline) {
        *self.deadline.borrow_mut() = deadline.clone();
    }

    /// Notes that the caller's transaction holds the write lock.
    pub fn note_write_lock(&self) {
        self.is_writing.set(true);
    }

    /// Begins a read transaction and takes its snapshot.
    pub fn begin_read(&self, deadline: &Deadline) -> Result<Snapshot> {
        self.begin_look(deadline, || Snapshot::take(self))
    }

    /// Begins a read transaction with a first query. If the query finds a table locked, the
    /// transaction ends and begins again: connections with a shared cache lock tables, and a reader
    /// that held one table lock while it waits for another could deadlock with a writer.
    pub fn begin_look<T>(
        &self,
        deadline: &Deadline,
        mut look: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        retry_locked(deadline, || {
            self.end();
            self.run("BEGIN", &[])?;
            look()
        })
    }

    /// Rolls the transaction back, also after an error in it.
    pub fn end(&self) {
        if !self.in_transaction.get() {
            return;
        }
        let was_in_doubt = self.in_doubt.replace(false);
        self.is_writing.set(false);
        let deadline = CallOptions::default().start(Some(RESTORING));
        if retry_locked(&deadline, || self.run("ROLLBACK", &[])).is_err() {
            // Where the database had ended it by itself, there was none to be rolled back.
            let is_free =
                was_in_doubt && self.run("BEGIN", &[]).is_ok() && self.run("ROLLBACK", &[]).is_ok();
            if !is_free {
                self.lent.borrow_mut().spoil();
            }
            self.in_transaction.set(false);
        }
        self.in_doubt.set(false);
    }

    /// Returns whether no statement of the transaction has failed. Otherwise the caller must roll it
    /// back.
    fn note<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.in_doubt.set(self.in_transaction.get() || self.is_callers);
        }
        outcome
    }

    /// Asks the host to run a statement. A transaction with the write lock stays open and tries again
    /// while readers block it. They block a commit in rollback mode, and the tables of a shared
    /// cache. No new reader gets such a table while a writer waits for it.
    fn ask(
        &self,
        mut statement: impl FnMut(&mut dyn BorrowedConnection) -> std::result::Result<Reply, Failure>,
    ) -> Result<Reply> {
        loop {
            let outcome = statement(&mut **self.lent.borrow_mut());
            let error = match outcome {
                Ok(reply) => return Ok(reply),
                Err(failure) => of_host(&failure),
            };
            if error.status != Status::Busy || !self.is_writing.get() {
                return Err(error);
            }
            wait_again(&self.deadline.borrow(), error.clone())?;
            // A lock that was refused ends no transaction. But without one the statement would be
            // a transaction of its own.
            match self.expect_transaction() {
                Err(_) if !self.is_callers => return Err(error),
                present => present?,
            }
        }
    }

    fn give(
        &self,
        first: Reply,
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let mut reply = first;
        loop {
            let mut columns = Vec::new();
            let mut rows = Rows::new(&reply.rows);
            let mut walk = Ok(ControlFlow::Continue(()));
            while matches!(walk, Ok(ControlFlow::Continue(()))) {
                match rows.next(&mut columns) {
                    Ok(true) => walk = visit(&Row::untyped(&columns)),
                    Ok(false) => break,
                    Err(error) => walk = Err(error),
                }
            }
            if !matches!(walk, Ok(ControlFlow::Continue(()))) {
                if reply.is_more {
                    self.lent.borrow_mut().finish();
                }
                return walk;
            }
            if !reply.is_more {
                return Ok(ControlFlow::Continue(()));
            }
            let next = self.lent.borrow_mut().more().map_err(|failure| of_host(&failure));
            reply = self.note(next)?;
        }
    }

    fn walk(
        &self,
        sql: &str,
        values: &[Value<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let first = self.ask(|lent| lent.query(sql, values));
        self.give(self.note(first)?, visit)
    }
}

impl SqlConnection for HostConnection<'_> {
    fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.walk(sql, values, visit).map(drop)
    }

    fn query_each(
        &self,
        sql: &str,
        keys: &[i64],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let descends = keys.first() > keys.last();
        for keys in keys.chunks(KEYS) {
            let values: Vec<Value<'_>> = keys.iter().map(|key| Value::Integer(*key)).collect();
            let walk = match sql.strip_suffix(" = ?1") {
                Some(select) if keys.len() > 1 => {
                    let column = select.rsplit(' ').next().unwrap_or_default();
                    let order = if descends { "DESC" } else { "ASC" };
                    let places = places(keys.len());
                    let sql = format!("{select} IN {places} ORDER BY {column} {order}");
                    self.walk(&sql, &values, visit)?
                }
                _ => self.walk(sql, &values, visit)?,
            };
            if walk.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<usize> {
        let outcome = self.ask(|lent| lent.run(sql, values));
        match sql {
            "BEGIN" | "BEGIN IMMEDIATE" => {
                self.in_transaction.set(outcome.is_ok());
                self.is_writing.set(outcome.is_ok() && sql == "BEGIN IMMEDIATE");
                self.in_doubt.set(false);
                let is_amid =
                    |error: &Error| error.detail & 0xff == ffi::SQLITE_ERROR && !self.is_callers;
                if outcome.as_ref().is_err_and(is_amid) {
                    self.is_dirty.set(true);
                    self.lent.borrow_mut().spoil();
                }
                return outcome.map(|reply| reply.changes as usize);
            }
            "COMMIT" | "ROLLBACK" if outcome.is_ok() => {
                self.in_transaction.set(false);
                self.is_writing.set(false);
            }
            "COMMIT" => {
                // A commit that a lock keeps from happening leaves its transaction open.
                let has_waited = outcome
                    .as_ref()
                    .is_err_and(|error| matches!(error.status, Status::Busy | Status::Cancelled));
                let is_open = has_waited && self.expect_transaction().is_ok();
                self.is_commit_in_doubt.set(!is_open);
            }
            _ => {}
        }
        let changes = self.note(outcome).map(|reply| reply.changes as usize);
        let is_change = ["INSERT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb));
        if is_change { changes.map_err(|error| triggers::explain(self, error)) } else { changes }
    }

    fn run_each(&self, sql: &str, width: usize, values: &[Value<'_>]) -> Result<()> {
        for rows in values.chunks(width * ROWS_PER_INSERT) {
            let count = rows.len() / width;
            let stored = self.run(&insert_of_rows(sql, width, count), rows)?;
            // A trigger can leave a row out without an error.
            if stored != count {
                let of = triggers::describe(self);
                return Err(Error::invalid(format!("{of} left out a part of the append")));
            }
        }
        Ok(())
    }

    fn is_autocommit(&self) -> bool {
        !(self.in_transaction.get() || self.is_callers) || self.in_doubt.get()
    }

    fn is_in_snapshot(&self) -> bool {
        self.in_transaction.get() || self.is_callers
    }
}

/// Returns a row of placeholders, such as `(?,?,?)`.
fn places(count: usize) -> String {
    format!("({})", vec!["?"; count].join(","))
}

impl Drop for HostConnection<'_> {
    fn drop(&mut self) {
        self.end();
        self.restore();
    }
}

/// Repeats `attempt` while it finds a lock, until `deadline`. Returns its last result.
pub fn retry_locked<T>(deadline: &Deadline, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if error.status == Status::Busy => wait_again(deadline, error)?,
            outcome => return outcome,
        }
    }
}

/// Waits before the next attempt after one that found a lock. Returns `error` after the deadline.
pub fn wait_again(deadline: &Deadline, error: Error) -> Result<()> {
    wait_for_lock(deadline).map_err(|over| if over.status == Status::Busy { error } else { over })
}

/// Replaces SQLite's error for missing tables by one that says so.
pub fn explain(error: Error, is_in_memory: bool) -> Error {
    // The detail of a failed condition is its index, and not a code of SQLite.
    let is_of_sqlite = error.status != Status::ConditionFailed;
    if is_in_memory && is_of_sqlite && error.detail == ffi::SQLITE_ERROR {
        return Error {
            status: Status::InvalidArgument,
            message: "the host's connections do not share one database: give a database in memory \
                      one connection only, or share it"
                .into(),
            ..error
        };
    }
    error
}

impl<'a> From<&'a HostConnection<'_>> for Source<'a> {
    fn from(connection: &'a HostConnection<'_>) -> Self {
        Source::Sql(connection)
    }
}
