//! A connection that runs one statement at a time.
//!
//! Statements have no name, so that a pooler may give each transaction another session.

use std::time::{Duration, Instant};

use postgres_protocol::IsNull;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::commit::deadline::Deadline;
use crate::postgres::failure::{Failure, Refusal};
use crate::postgres::host::Host;
use crate::postgres::parameters::Parameters;
use crate::postgres::startup;
use crate::postgres::values::{Row, Values};
use crate::postgres::wire::{Wire, unexpected};

/// A connection that was idle for longer is looked at before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Returns the process that serves the session of this statement.
const SERVER_PROCESS: &str = "SELECT pg_catalog.pg_backend_pid()";

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    used: Instant,
    has_own_session: bool,
    /// Whether an exchange has failed in a way after which nothing else may be sent.
    is_broken: bool,
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
            has_own_session: false,
            is_broken: false,
        };
        let rows = connection.query(SERVER_PROCESS, &Values::new(), deadline)?;
        let process = rows.first().ok_or_else(unexpected)?.int(0).map_err(Failure::Stopped)?;
        connection.has_own_session = started.server_process == Some(process);
        Ok(connection)
    }

    /// Returns whether all statements go to one session of the server, which is nobody else's.
    /// Otherwise a pooler may give each transaction another session.
    pub fn has_own_session(&self) -> bool {
        self.has_own_session
    }

    /// Runs a statement in a transaction of its own, and returns its rows.
    pub fn query(
        &mut self,
        sql: &str,
        values: &Values,
        deadline: &Deadline,
    ) -> Result<Vec<Row>, Failure> {
        self.begin_use()?;
        let written = self.write_statement(sql, values);
        frontend::sync(&mut self.wire.outgoing);
        let rows = written.and_then(|()| self.exchange(deadline));
        self.end_use(rows)
    }

    /// Does what [`Connection::query`] does, at the isolation level READ COMMITTED, whatever the
    /// session's default is. It takes one round trip, too.
    pub fn query_read_committed(
        &mut self,
        sql: &str,
        values: &Values,
        deadline: &Deadline,
    ) -> Result<Vec<Row>, Failure> {
        self.begin_use()?;
        let none = Values::new();
        let written = self
            .write_statement("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", &none)
            .and_then(|()| self.write_statement(sql, values))
            .and_then(|()| self.write_statement("COMMIT", &none));
        frontend::sync(&mut self.wire.outgoing);
        let rows = written.and_then(|()| self.exchange(deadline));
        let rows = self.end_use(rows);
        if rows.is_err() && !self.is_broken {
            // If that fails, the next use of the connection does.
            let _ = self.execute("ROLLBACK", deadline);
        }
        rows
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

    fn write_statement(&mut self, sql: &str, values: &Values) -> Result<(), Failure> {
        let out = &mut self.wire.outgoing;
        // The only errors are a NUL in the statement and a value beyond 2 GiB.
        let written = frontend::parse("", sql, values.types().iter().copied(), out)
            .ok()
            .and_then(|()| {
                let put = |value: &[u8], out: &mut bytes::BytesMut| {
                    out.extend_from_slice(value);
                    Ok(IsNull::No)
                };
                // 1: in the binary format, all values and all columns.
                frontend::bind("", "", [1], values.iter(), put, [1], out).ok()
            })
            .and_then(|()| frontend::execute("", 0, out).ok());
        written.ok_or_else(unexpected)
    }

    /// Sends what was written, and receives everything up to the end of the transaction.
    fn exchange(&mut self, deadline: &Deadline) -> Result<Vec<Row>, Failure> {
        self.wire.send(deadline)?;
        let (mut rows, mut refusal) = (Vec::new(), None);
        loop {
            match self.wire.receive(deadline)? {
                Message::DataRow(body) => {
                    rows.push(Row::new(body).map_err(|_| unexpected())?);
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
                        None => Ok(rows),
                    };
                }
                Message::ParseComplete
                | Message::BindComplete
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
