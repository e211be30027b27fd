//! A connection of the host's, borrowed: what is done on it, and how it is given back as it was.
//!
//! A connection that the library acquired is the library's own until it releases it. So its settings
//! may change meanwhile: they are restored before the release, or the host is told to close the
//! connection.
//!
//! In a transaction of the caller's no setting changes, not for a moment. The host may end that
//! transaction between any two statements, as `database/sql` does when a context ends, and its pool
//! lends the connection to somebody else. A setting that is still to be restored then stays changed.
//! To restore it early, as soon as the write lock is held, would only make that rarer. The price:
//! where the transaction holds no lock yet, its first statement waits for one by the connection's own
//! busy timeout or handler, which neither the call's time-out nor its cancel ends. Once it holds a
//! lock, SQLite calls no handler but answers at once, and the library waits.

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
use crate::sql::{Row, SqlConnection, Value};
use crate::sqlite::connection::transaction::wait_for_lock;
use crate::sqlite::events::source::Source;
use crate::sqlite::host::of_host;
use crate::sqlite::snapshot::Snapshot;

/// Keys that one statement looks up at the most.
const KEYS: usize = 128;
/// Rows that one statement inserts at the most.
pub const ROWS_PER_INSERT: usize = 16;
/// How long the library goes on trying to leave a connection as it was, should a lock be in the way.
const RESTORING: Duration = Duration::from_secs(1);

/// A connection of the host's.
pub struct HostConnection<'h> {
    lent: RefCell<Box<dyn BorrowedConnection + 'h>>,
    /// Whether the transaction is the caller's: it is neither begun nor ended here.
    is_callers: bool,
    /// Whether a transaction of the library's own is open.
    in_transaction: Cell<bool>,
    /// Whether a statement has failed in that transaction, which the database may have ended.
    in_doubt: Cell<bool>,
    /// Whether a commit failed, of which nobody knows whether it happened.
    is_commit_in_doubt: Cell<bool>,
    /// Whether it was lent amid a transaction of somebody else's, which a driver has left there.
    is_dirty: Cell<bool>,
    /// Whether the transaction has the write lock. Its statements then wait for other locks until
    /// `deadline`.
    is_writing: Cell<bool>,
    /// How long statements of the transaction wait for locks.
    deadline: RefCell<Deadline>,
    /// What restores the settings that were changed; in a transaction of the caller's none is.
    restoring: RefCell<Vec<String>>,
}

impl<'h> HostConnection<'h> {
    /// Borrows a connection. A host that has to open one may meet a lock there.
    pub fn acquire(host: &'h dyn Host, deadline: &Deadline) -> Result<Self> {
        deadline.check_cancel()?;
        let lent = retry_locked(deadline, || {
            host.acquire(deadline.left()).map_err(|failure| of_host(&failure))
        })?;
        Ok(Self::new(lent, false, deadline))
    }

    /// A connection with a transaction of the caller's.
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

    /// Whether it was lent amid a transaction: the host closes it, and there are others.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty.get()
    }

    /// Whether a commit of ours has failed and may have happened nevertheless.
    pub fn is_commit_in_doubt(&self) -> bool {
        self.is_commit_in_doubt.get()
    }

    /// Whether the caller's transaction is there. The database may have ended it, and then each
    /// statement would be one of its own.
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

    /// From here on a transaction that writes waits so long for locks.
    pub fn limit(&self, deadline: &Deadline) {
        *self.deadline.borrow_mut() = deadline.clone();
    }

    /// The caller's transaction has the write lock by now.
    pub fn note_write_lock(&self) {
        self.is_writing.set(true);
    }

    /// Begins a read transaction, and takes its snapshot.
    pub fn begin_read(&self, deadline: &Deadline) -> Result<Snapshot> {
        self.begin_look(deadline, || Snapshot::take(self))
    }

    /// Begins a read transaction with a look at the database. Where that meets a lock, the
    /// transaction ends and begins again: connections that share a cache lock tables, and a reader
    /// that kept one while it waits for another could wait for a writer that waits for the first.
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

    /// Ends the transaction, whatever is the matter with it, having undone what it has written.
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

    /// Whether nothing went wrong in the transaction; else it is to be ended.
    fn note<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.in_doubt.set(self.in_transaction.get() || self.is_callers);
        }
        outcome
    }

    /// Asks the host to run a statement. A transaction with the write lock stays open and asks again
    /// where readers are in the way: of a commit in rollback mode, or of a table in a shared cache,
    /// which no further reader gets while a writer waits for it.
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
            let stored = match sql.split_once(" VALUES ") {
                // One row too: some drivers bind numbered parameters several times as slowly.
                Some((into, _)) => {
                    let all = vec![places(width); count].join(",");
                    self.run(&format!("{into} VALUES {all}"), rows)
                }
                None => self.run(sql, rows),
            };
            // A trigger can leave a row out without an error.
            if stored? != count {
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

/// `(?,?,?)`.
fn places(count: usize) -> String {
    format!("({})", vec!["?"; count].join(","))
}

impl Drop for HostConnection<'_> {
    fn drop(&mut self) {
        self.end();
        self.restore();
    }
}

/// Runs `attempt` until it meets no lock, as long as `deadline` lasts; then its last answer stands.
pub fn retry_locked<T>(deadline: &Deadline, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if error.status == Status::Busy => wait_again(deadline, error)?,
            outcome => return outcome,
        }
    }
}

/// Waits for the next try after one that met a lock; `error` where the time is over.
pub fn wait_again(deadline: &Deadline, error: Error) -> Result<()> {
    wait_for_lock(deadline).map_err(|over| if over.status == Status::Busy { error } else { over })
}

/// Explains an error of SQLite that says that the tables of a store are gone.
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
