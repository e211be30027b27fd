//! A connection that runs one statement at a time.
//!
//! If its session is its own, the session keeps what it has prepared. Otherwise statements have no
//! name, so that a pooler may give each transaction another session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres_protocol::IsNull;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::commit::deadline::Deadline;
use crate::postgres::failure::{Failure, Refusal};
use crate::postgres::host::Host;
use crate::postgres::parameters::Parameters;
use crate::postgres::prepared::{Planning, PreparedStatements};
use crate::postgres::startup;
use crate::postgres::values::{Row, Values};
use crate::postgres::wire::{Wire, unexpected};

/// A connection that was idle for longer is looked at before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Returns whether the process that serves the session is the given one, and if it is, has the
/// session plan each statement once, by indexes: a plan that is made while the tables are empty would
/// otherwise read whole tables once they are not.
const OWN_SESSION: &str = "\
    SELECT CASE WHEN pg_catalog.pg_backend_pid() = $1 THEN \
    pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', false) IS NOT NULL \
    AND pg_catalog.set_config('enable_seqscan', 'off', false) IS NOT NULL \
    AND pg_catalog.set_config('enable_bitmapscan', 'off', false) IS NOT NULL \
    AND pg_catalog.set_config('enable_hashjoin', 'off', false) IS NOT NULL \
    AND pg_catalog.set_config('enable_mergejoin', 'off', false) IS NOT NULL \
    AND pg_catalog.set_config('jit', 'off', false) IS NOT NULL ELSE false END";

/// Lets the next statement of the transaction be planned for its values. Returns no row.
const PLAN_FOR_VALUES: &str = "\
    SELECT WHERE pg_catalog.set_config('plan_cache_mode', 'force_custom_plan', true) IS NULL \
    OR pg_catalog.set_config('enable_seqscan', 'on', true) IS NULL \
    OR pg_catalog.set_config('enable_bitmapscan', 'on', true) IS NULL \
    OR pg_catalog.set_config('enable_hashjoin', 'on', true) IS NULL \
    OR pg_catalog.set_config('enable_mergejoin', 'on', true) IS NULL";

/// How many bytes of a page are read. The connection is given up rather than read on: events turned
/// out to be far longer than those before.
const MAX_PAGE_BYTES: usize = 32 * 1024 * 1024;

/// The code of the error that the session has no prepared statement of a name.
const STATEMENT_GONE: &str = "26000";
/// The code of the error that a prepared statement would return other columns than before.
const STATEMENT_CHANGED: &str = "0A000";

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    used: Instant,
    /// What the session has prepared, if it is the connection's own.
    prepared: Option<PreparedStatements>,
    /// After how many bytes of rows no more are read.
    max_bytes: usize,
    /// Whether an exchange has failed in a way after which nothing else may be sent.
    is_broken: bool,
}

/// The rows of a transaction.
struct Answer {
    rows: Vec<Row>,
    /// Whether the server has nothing more to send.
    is_whole: bool,
}

impl Connection {
    /// Connects to a host.
    pub fn open(
        host: &Host,
        parameters: &Parameters,
        deadline: &Deadline,
    ) -> Result<Self, Failure> {
        let started = startup::open(host, parameters, deadline)?;
        let mut connection = Connection {
            wire: started.wire,
            used: Instant::now(),
            prepared: None,
            max_bytes: usize::MAX,
            is_broken: false,
        };
        if let Some(process) = started.server_process {
            let mut values = Values::new();
            values.int(process);
            let rows = connection.query(OWN_SESSION, &values, deadline)?;
            let row = rows.first().ok_or_else(unexpected)?;
            let is_own = row.boolean(0).map_err(Failure::Stopped)?;
            connection.prepared = is_own.then(PreparedStatements::new);
        }
        Ok(connection)
    }

    /// Returns whether all statements go to one session of the server, which is nobody else's.
    /// Otherwise a pooler may give each transaction another session.
    pub fn has_own_session(&self) -> bool {
        self.prepared.is_some()
    }

    /// Has the connection take any session for its own.
    #[cfg(test)]
    pub fn believe_in_own_session(&mut self) {
        self.prepared = Some(PreparedStatements::new());
    }

    /// Runs a statement in a transaction of its own, and returns its rows.
    pub fn query(
        &mut self,
        sql: &str,
        values: &Values,
        deadline: &Deadline,
    ) -> Result<Vec<Row>, Failure> {
        self.transact(deadline, |own| own.write_statement("", true, sql, values))
    }

    /// Does what [`Connection::query`] does, with a plan that is made as `planning` says.
    pub fn query_planned(
        &mut self,
        sql: &str,
        planning: Planning,
        values: &Values,
        deadline: &Deadline,
    ) -> Result<Vec<Row>, Failure> {
        match planning {
            Planning::Kept => self.query_kept(sql, values, false, deadline),
            Planning::ForValues if self.has_own_session() => self.transact(deadline, |own| {
                own.write_statement("", true, PLAN_FOR_VALUES, &Values::new())?;
                own.write_statement("", true, sql, values)
            }),
            Planning::ForValues => self.query(sql, values, deadline),
        }
    }

    /// Does what [`Connection::query_planned`] does, and returns the first rows alone where all of
    /// them would take too much memory. Then the connection cannot be used any more.
    pub fn query_page(
        &mut self,
        sql: &str,
        planning: Planning,
        values: &Values,
        deadline: &Deadline,
    ) -> Result<Vec<Row>, Failure> {
        self.max_bytes = MAX_PAGE_BYTES;
        let rows = self.query_planned(sql, planning, values, deadline);
        self.max_bytes = usize::MAX;
        rows
    }

    /// Runs a query of one row before that of a page, both in one transaction and so on one server.
    /// The row comes before those of the page.
    pub fn query_page_after(
        &mut self,
        (first, first_values): (&str, &Values),
        sql: &str,
        values: &Values,
        deadline: &Deadline,
    ) -> Result<Vec<Row>, Failure> {
        self.max_bytes = MAX_PAGE_BYTES;
        let rows = self.transact(deadline, |own| {
            own.write_statement("", true, first, first_values)?;
            own.write_statement("", true, sql, values)
        });
        self.max_bytes = usize::MAX;
        rows
    }

    /// Runs a statement whose plan is kept, at the isolation level READ COMMITTED, whatever the
    /// session's default is. It takes one round trip, too.
    pub fn query_read_committed(
        &mut self,
        sql: &str,
        values: &Values,
        deadline: &Deadline,
    ) -> Result<Vec<Row>, Failure> {
        self.query_kept(sql, values, true, deadline)
    }

    fn query_kept(
        &mut self,
        sql: &str,
        values: &Values,
        read_committed: bool,
        deadline: &Deadline,
    ) -> Result<Vec<Row>, Failure> {
        let rows = self.query_kept_once(sql, values, read_committed, deadline);
        match rows {
            // The transaction is undone, whatever it has done.
            Err(failure) if self.has_lost(sql, &failure) => {
                self.query_kept_once(sql, values, read_committed, deadline)
            }
            rows => rows,
        }
    }

    fn query_kept_once(
        &mut self,
        sql: &str,
        values: &Values,
        read_committed: bool,
        deadline: &Deadline,
    ) -> Result<Vec<Row>, Failure> {
        let known = self.prepared.as_mut().and_then(|prepared| prepared.name_of(sql));
        let new = match (&mut self.prepared, &known) {
            (Some(prepared), None) => Some(prepared.new_name()),
            _ => None,
        };
        let name: Arc<str> = known.as_ref().or(new.as_ref()).cloned().unwrap_or_default();
        let rows = self.transact(deadline, |own| {
            let none = Values::new();
            if read_committed {
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
                own.write_statement("", true, begin, &none)?;
            }
            own.write_statement(&name, known.is_none(), sql, values)?;
            if read_committed {
                own.write_statement("", true, "COMMIT", &none)?;
            }
            Ok(())
        });
        if let (Some(prepared), Some(name)) = (&mut self.prepared, new) {
            match rows {
                Ok(_) => prepared.add(sql, name),
                Err(_) => prepared.close(name),
            }
        }
        if rows.is_err() && read_committed && !self.is_broken {
            // If that fails, the next use of the connection does.
            let _ = self.execute("ROLLBACK", deadline);
        }
        rows
    }

    /// Returns whether a statement failed since what the session had prepared is no longer there, or
    /// no longer fits the tables. Then it is to be prepared again.
    fn has_lost(&mut self, sql: &str, failure: &Failure) -> bool {
        let code = failure.code().unwrap_or_default();
        let is_lost = failure.keeps_connection()
            && (code == STATEMENT_GONE || code == STATEMENT_CHANGED)
            && self.prepared.as_mut().is_some_and(|prepared| prepared.forget(sql));
        if is_lost && code == STATEMENT_GONE {
            // Another session has answered, or another client has used this one.
            self.prepared = None;
        }
        is_lost
    }

    /// Runs statements that have no parameters and return no rows, all in one transaction.
    pub fn execute(&mut self, sql: &str, deadline: &Deadline) -> Result<(), Failure> {
        self.begin_use()?;
        let written = frontend::query(sql, &mut self.wire.outgoing).map_err(|_| unexpected());
        let done = written.and_then(|()| self.exchange(deadline)).map(drop);
        self.end_use(done)
    }

    /// Returns whether the connection can still be used. One that was idle for a while is looked
    /// at: a server that was stopped has closed it.
    pub fn is_usable(&mut self) -> bool {
        if !self.is_broken && self.used.elapsed() > TRUSTED_IDLE {
            self.is_broken = self.wire.look().is_err();
        }
        !self.is_broken
    }

    /// Waits a moment for notifications, and returns whether one has come.
    pub fn wait_for_notifications(&mut self) -> Result<bool, Failure> {
        self.begin_use()?;
        let idle = self.wire.idle();
        self.end_use(idle)?;
        Ok(self.wire.take_notified())
    }

    /// Returns whether a notification has come with the last answers.
    pub fn take_notified(&mut self) -> bool {
        self.wire.take_notified()
    }

    /// Begins to use the connection. It is taken for broken until [`Connection::end_use`]: after a
    /// panic in between, it would give the next caller the answers of this one.
    fn begin_use(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.is_broken, true) {
            return Err(Failure::Broken("an earlier exchange failed".to_owned()));
        }
        Ok(())
    }

    fn end_use<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        self.used = Instant::now();
        self.is_broken = outcome.as_ref().is_err_and(|failure| !failure.keeps_connection());
        outcome
    }

    /// Runs what `write` writes in one transaction, and returns the rows of all of its statements.
    fn transact(
        &mut self,
        deadline: &Deadline,
        write: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<Vec<Row>, Failure> {
        self.begin_use()?;
        let written = self.close_unwanted().and_then(|()| write(self));
        frontend::sync(&mut self.wire.outgoing);
        let answer = written.and_then(|()| self.exchange(deadline));
        let is_whole = answer.as_ref().is_ok_and(|answer| answer.is_whole);
        let rows = self.end_use(answer.map(|answer| answer.rows));
        self.is_broken |= rows.is_ok() && !is_whole;
        rows
    }

    /// Has the session forget statements.
    fn close_unwanted(&mut self) -> Result<(), Failure> {
        let Some(prepared) = &mut self.prepared else { return Ok(()) };
        prepared.take_unwanted().iter().try_for_each(|name| {
            frontend::close(b'S', name, &mut self.wire.outgoing).map_err(|_| unexpected())
        })
    }

    /// Writes a statement: by its name, with its text if that is new to the session.
    fn write_statement(
        &mut self,
        name: &str,
        is_new: bool,
        sql: &str,
        values: &Values,
    ) -> Result<(), Failure> {
        let out = &mut self.wire.outgoing;
        // The only errors are a NUL in the statement and a value beyond 2 GiB.
        if is_new {
            frontend::parse(name, sql, values.types().iter().copied(), out)
                .map_err(|_| unexpected())?;
        }
        let put = |value: &[u8], out: &mut bytes::BytesMut| {
            out.extend_from_slice(value);
            Ok(IsNull::No)
        };
        // 1: in the binary format, all values and all columns.
        frontend::bind("", name, [1], values.iter(), put, [1], out).map_err(|_| unexpected())?;
        frontend::execute("", 0, out).map_err(|_| unexpected())
    }

    /// Sends what was written, and receives everything up to the end of the transaction.
    fn exchange(&mut self, deadline: &Deadline) -> Result<Answer, Failure> {
        self.wire.send(deadline)?;
        let (mut rows, mut bytes, mut refusal) = (Vec::new(), 0, None);
        loop {
            match self.wire.receive(deadline)? {
                Message::DataRow(body) => {
                    let row = Row::new(body).map_err(|_| unexpected())?;
                    bytes += row.len_bytes();
                    rows.push(row);
                    if bytes > self.max_bytes {
                        return Ok(Answer { rows, is_whole: false });
                    }
                }
                Message::ErrorResponse(body) => {
                    let refused = Refusal::from_fields(body.fields());
                    if refused.is_fatal {
                        return Err(Failure::Refused(refused));
                    }
                    refusal = Some(refused);
                }
                Message::ReadyForQuery(_) => {
                    let is_unreplicated = self.wire.take_unreplicated();
                    return match refusal {
                        Some(refusal) => Err(Failure::Refused(refusal)),
                        // What is committed may still be lost in a failover.
                        None if is_unreplicated => Err(Failure::Broken(
                            "the server stopped waiting for a synchronous standby".to_owned(),
                        )),
                        None => Ok(Answer { rows, is_whole: true }),
                    };
                }
                Message::ParseComplete
                | Message::BindComplete
                | Message::CloseComplete
                | Message::CommandComplete(_)
                | Message::EmptyQueryResponse
                | Message::RowDescription(_)
                | Message::NoData => {}
                _ => return Err(unexpected()),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_broken {
            self.wire.terminate();
        }
    }
}
