//! A connection of the host's, borrowed: what is done on it, and how it is given back as it was.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use crate::commit::deadline::Deadline;
use crate::error::{Error, Result, Status};
use crate::sql::host::{BorrowedConnection, Failure, Host, Reply};
use crate::sql::row_codec::Rows;
use crate::sql::{Row, SqlConnection, Value};
use crate::sqlite::connection::transaction::retry;
use crate::sqlite::events::source::Source;
use crate::sqlite::host::of_host;
use crate::sqlite::snapshot::Snapshot;

/// Keys that one statement looks up, and rows that one writes, at the most.
const KEYS: usize = 128;
const INSERTED: usize = 16;

/// A connection of the host's.
pub struct HostConnection<'h> {
    lent: RefCell<Box<dyn BorrowedConnection + 'h>>,
    /// Whether the transaction is the caller's: it is neither begun nor ended here.
    is_callers: bool,
    /// Whether a transaction of ours is open,
    in_transaction: Cell<bool>,
    /// and whether a statement has failed in it: the database may have ended it.
    in_doubt: Cell<bool>,
    /// Whether it was lent amid a transaction of somebody else's, which a driver has left there.
    is_dirty: Cell<bool>,
    /// What sets back what was changed of the connection.
    restoring: RefCell<Vec<String>>,
    /// How long a commit waits for readers, where they are in its way.
    deadline: RefCell<Deadline>,
}

impl<'h> HostConnection<'h> {
    /// Borrows a connection.
    pub fn acquire(host: &'h dyn Host, deadline: &Deadline) -> Result<Self> {
        deadline.check_cancel()?;
        let lent = host.acquire(deadline.left()).map_err(|failure| of_host(&failure))?;
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
            is_dirty: Cell::new(false),
            restoring: RefCell::default(),
            deadline: RefCell::new(deadline.clone()),
        }
    }

    /// Whether it was lent amid a transaction: the host closes it, and there are others.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty.get()
    }

    /// Has the connection show what is committed only: one that shares its pages with others could
    /// show what they may yet undo.
    pub fn see_committed(&self) -> Result<()> {
        if self.setting("PRAGMA read_uncommitted")? != 0 {
            let back = "PRAGMA read_uncommitted = 1".to_owned();
            self.change("PRAGMA read_uncommitted = 0", back)?;
        }
        Ok(())
    }

    /// Has the connection not wait for locks by itself, so that whoever waits does so as long as
    /// its call allows; and sync where it would not at all, since the log would not be brought into
    /// the database safely.
    pub fn settle(&self) -> Result<()> {
        // First, since it waits for nothing: whoever tells of the other may meet a lock.
        self.have_it_wait_for_nothing()?;
        if retry(&self.deadline.borrow(), || self.setting("PRAGMA main.synchronous"))? == 0 {
            let back = "PRAGMA main.synchronous = 0".to_owned();
            self.change("PRAGMA main.synchronous = 3", back)?;
        }
        Ok(())
    }

    /// The first half of it, which is possible within a transaction too.
    pub fn have_it_wait_for_nothing(&self) -> Result<()> {
        let timeout = self.setting("PRAGMA busy_timeout")?;
        if timeout != 0 {
            self.change("PRAGMA busy_timeout = 0", format!("PRAGMA busy_timeout = {timeout}"))?;
        }
        Ok(())
    }

    /// Sets back what was changed, for as long as nothing is done on it.
    pub fn restore(&self) {
        for sql in self.restoring.take().iter().rev() {
            if self.lent.borrow_mut().run(sql, &[]).is_err() {
                self.lent.borrow_mut().spoil();
            }
        }
    }

    /// Whether the caller's transaction is there. The database may have ended it, and then each
    /// statement would be one of its own.
    pub fn expect_transaction(&self) -> Result<()> {
        // In a transaction it does nothing but fail, with the code of a statement that makes no
        // sense, or with none where the host knows none.
        if let Err(failure) = self.lent.borrow_mut().run("BEGIN", &[]) {
            if failure.code > 0 && failure.code & 0xff != rusqlite::ffi::SQLITE_ERROR {
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

    fn setting(&self, sql: &str) -> Result<i64> {
        let found = (self as &dyn SqlConnection).query_row(sql, &[], |row| Ok(row.integer(0)))?;
        found
            .flatten()
            .ok_or_else(|| Error::new(Status::Internal, "the database does not tell its settings"))
    }

    fn change(&self, sql: &str, back: String) -> Result<()> {
        // First, so that a change of which nobody knows whether it happened is undone too.
        self.restoring.borrow_mut().push(back);
        self.run(sql, &[]).map(drop)
    }

    /// From here on a commit waits so long for readers.
    pub fn limit(&self, deadline: &Deadline) {
        *self.deadline.borrow_mut() = deadline.clone();
    }

    /// Begins a read transaction, and takes its snapshot.
    pub fn begin_read(&self, deadline: &Deadline) -> Result<Snapshot> {
        self.run("BEGIN", &[])?;
        let snapshot = retry(deadline, || {
            self.in_doubt.set(false);
            Snapshot::take(self)
        })?;
        Ok(snapshot)
    }

    /// Ends the transaction, whatever is the matter with it, having undone what it has written.
    pub fn end(&self) {
        if !self.in_transaction.get() {
            return;
        }
        let was_in_doubt = self.in_doubt.replace(false);
        if self.run("ROLLBACK", &[]).is_err() {
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
    fn note<T>(&self, outcome: std::result::Result<T, Failure>) -> Result<T> {
        outcome.map_err(|failure| {
            self.in_doubt.set(self.in_transaction.get() || self.is_callers);
            of_host(&failure)
        })
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
            let next = self.lent.borrow_mut().more();
            reply = self.note(next)?;
        }
    }

    fn walk(
        &self,
        sql: &str,
        values: &[Value<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let first = self.lent.borrow_mut().query(sql, values);
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
        let mut outcome = self.lent.borrow_mut().run(sql, values);
        match sql {
            "BEGIN" | "BEGIN IMMEDIATE" => {
                self.in_transaction.set(outcome.is_ok());
                self.in_doubt.set(false);
                let is_amid = |failure: &Failure| {
                    failure.code & 0xff == rusqlite::ffi::SQLITE_ERROR && !self.is_callers
                };
                if outcome.as_ref().is_err_and(is_amid) {
                    self.is_dirty.set(true);
                    self.lent.borrow_mut().spoil();
                }
                return outcome
                    .map(|reply| reply.changes as usize)
                    .map_err(|failure| of_host(&failure));
            }
            "COMMIT" => {
                // In rollback mode readers may be in the way, and the transaction stays open.
                while let Err(failure) = &outcome
                    && of_host(failure).status == Status::Busy
                    && crate::sqlite::connection::transaction::wait_for_lock(
                        &self.deadline.borrow(),
                    )
                    .is_ok()
                {
                    outcome = self.lent.borrow_mut().run(sql, values);
                }
                if outcome.is_ok() {
                    self.in_transaction.set(false);
                }
            }
            "ROLLBACK" if outcome.is_ok() => self.in_transaction.set(false),
            _ => {}
        }
        self.note(outcome).map(|reply| reply.changes as usize)
    }

    fn run_each(&self, sql: &str, width: usize, values: &[Value<'_>]) -> Result<()> {
        for rows in values.chunks(width * INSERTED) {
            match sql.split_once(" VALUES ") {
                Some((into, _)) if rows.len() > width => {
                    let row = places(width);
                    let all = vec![row; rows.len() / width].join(",");
                    self.run(&format!("{into} VALUES {all}"), rows)?;
                }
                _ => {
                    self.run(sql, rows)?;
                }
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

/// What a store says where its tables are not there any more.
pub fn explain(error: Error, is_in_memory: bool) -> Error {
    if is_in_memory && error.detail == rusqlite::ffi::SQLITE_ERROR {
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
