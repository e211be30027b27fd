//! The database that a store is in, and how connections to it are made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::commit::deadline::Deadline;
use crate::commit::head_watch::HeadWatch;
use crate::error::Result;
use crate::position::Position;
use crate::postgres::connection::Connection;
use crate::postgres::failure::Failure;
use crate::postgres::history::{History, Known, is_rewound};
use crate::postgres::parameters::{Parameters, TargetSession};
use crate::postgres::prepared::Planning;
use crate::postgres::silence::Silence;
use crate::postgres::statements::Statements;
use crate::postgres::values::{Row, Values};
use crate::postgres::wire::unexpected;

/// What all connections of a store have in common.
#[derive(Debug)]
pub struct Target {
    /// How to connect.
    pub parameters: Parameters,
    /// The statements, with the name of the schema in them.
    pub sql: Statements,
    /// The head as far as it is known, and the end of the store.
    pub watch: HeadWatch,
    /// The newest event that is known.
    pub history: History,
    /// Which hosts were silent.
    silence: Silence,
    /// Whether a transaction has to name its isolation level.
    needs_transactions: AtomicBool,
    /// Whether the function `append_one` may be called.
    has_append_one: AtomicBool,
}

impl Target {
    /// Returns the target of these parameters.
    pub fn new(parameters: Parameters, sql: Statements) -> Self {
        let needs_transactions = AtomicBool::new(false);
        let (watch, history) = (HeadWatch::new(Position::START), History::new());
        let silence = Silence::new(parameters.hosts.len());
        let has_append_one = AtomicBool::new(true);
        Target { parameters, sql, watch, history, silence, needs_transactions, has_append_one }
    }

    /// Returns what is known of the history.
    pub fn known(&self) -> Known {
        Known { head: self.watch.head(), mark: self.history.mark() }
    }

    /// Returns the head in the first column of a row, and notes which event is there. Another column
    /// says whether the server follows another, and the next one the id of that event's append.
    /// `known` is what was known before the statement was sent.
    pub fn head_of(&self, row: &Row, standby: usize, known: Known) -> Result<Position> {
        let head = row.position(0)?;
        known.check_head(head, row.boolean(standby)?)?;
        if let Some(append_id) = row.optional_uuid(standby + 1)? {
            self.history.note(head, append_id);
        }
        Ok(head)
    }

    /// Asks the server for the head, and publishes it.
    pub fn ask_for_head(
        &self,
        connection: &mut Connection,
        deadline: &Deadline,
    ) -> std::result::Result<Position, Failure> {
        let head = twice_if_rewound(|| self.look_for_head(connection, deadline))?;
        self.watch.publish(head);
        Ok(head)
    }

    fn look_for_head(
        &self,
        connection: &mut Connection,
        deadline: &Deadline,
    ) -> std::result::Result<Position, Failure> {
        let known = self.known();
        let mut values = Values::new();
        values.position(known.mark.position);
        let rows = connection.query_planned(&self.sql.head, Planning::Kept, &values, deadline)?;
        let row = rows.first().ok_or_else(unexpected)?;
        let checked = known.mark.check(row, 3, 1).and_then(|()| self.head_of(row, 1, known));
        checked.map_err(Failure::Stopped)
    }

    /// Checks that a server has the newest event that is known.
    fn check_history(
        &self,
        connection: &mut Connection,
        deadline: &Deadline,
    ) -> std::result::Result<(), Failure> {
        let mark = self.history.mark();
        if !mark.is_known() {
            return Ok(());
        }
        let mut values = Values::new();
        values.position(mark.position);
        twice_if_rewound(|| {
            let rows = connection.query(&self.sql.mark, &values, deadline)?;
            let row = rows.first().ok_or_else(unexpected)?;
            mark.check(row, 0, 1).map_err(Failure::Stopped)
        })
    }

    /// Runs a statement with the columns of a page, and returns its rows. `known` is what was known
    /// before.
    ///
    /// Behind a pooler, the server may be another than before. So there it is looked, in the same round
    /// trip, whether it has the newest event that is known.
    pub fn page(
        &self,
        connection: &mut Connection,
        (sql, planning, values): (&str, Planning, &Values),
        known: Known,
        deadline: &Deadline,
    ) -> std::result::Result<Vec<Row>, Failure> {
        if connection.has_own_session() || !known.mark.is_known() {
            return connection.query_page(sql, planning, values, deadline);
        }
        let mut position = Values::new();
        position.position(known.mark.position);
        let mark = (&*self.sql.mark, &position);
        let mut rows = connection.query_page_after(mark, sql, values, deadline)?;
        if rows.is_empty() {
            return Err(unexpected());
        }
        known.mark.check(&rows.remove(0), 0, 1).map_err(Failure::Stopped)?;
        Ok(rows)
    }

    /// Returns whether a transaction has to name its isolation level, since sessions have another
    /// default.
    pub fn needs_transactions(&self) -> bool {
        self.needs_transactions.load(Ordering::Relaxed)
    }

    /// Notes that transactions have to name their isolation level.
    pub fn use_transactions(&self) {
        self.needs_transactions.store(true, Ordering::Relaxed);
    }

    /// Returns whether the function `append_one` may be called, as far as it is known.
    pub fn has_append_one(&self) -> bool {
        self.has_append_one.load(Ordering::Relaxed)
    }

    /// Notes that the function `append_one` may not be called, or that there is none.
    pub fn do_without_append_one(&self) {
        self.has_append_one.store(false, Ordering::Relaxed);
    }

    /// Connects to a server that takes appends.
    pub fn connect_to_write(
        &self,
        deadline: &Deadline,
    ) -> std::result::Result<Connection, Failure> {
        self.connect(TargetSession::ReadWrite, deadline)
    }

    /// Connects to a server that the parameters allow for reading.
    pub fn connect_to_read(&self, deadline: &Deadline) -> std::result::Result<Connection, Failure> {
        match self.parameters.target_session.unwrap_or(TargetSession::Any) {
            TargetSession::PreferStandby => self
                .connect(TargetSession::Standby, deadline)
                .or_else(|_| self.connect(TargetSession::Any, deadline)),
            session => self.connect(session, deadline),
        }
    }

    /// Connects to the first of the hosts that has a session of this kind. Each host has its share
    /// of the time that is left, so that one that is silent leaves some for the others. For a while,
    /// such a host is tried after the others.
    fn connect(
        &self,
        session: TargetSession,
        deadline: &Deadline,
    ) -> std::result::Result<Connection, Failure> {
        let mut failure = Failure::Late;
        let hosts = &self.parameters.hosts;
        let order = self.silence.order(Instant::now());
        for (number, others) in order.into_iter().zip((0..hosts.len() as u32).rev()) {
            let (host, begun) = (&hosts[number], Instant::now());
            let deadline = &match deadline.left() {
                Some(left) => deadline.at_most(left / (others + 1)),
                None => deadline.clone(),
            };
            let connection =
                Connection::open(host, &self.parameters, deadline).and_then(|mut connection| {
                    self.watch.check_open().map_err(Failure::Stopped)?;
                    if is_session(&mut connection, session, deadline)? {
                        self.check_history(&mut connection, deadline)?;
                        Ok(connection)
                    } else {
                        Err(Failure::Unsuitable(format!(
                            "{host}: the server is not {}",
                            described(session)
                        )))
                    }
                });
            self.silence.note(number, begun, Instant::now(), connection.as_ref().err());
            match connection {
                Ok(connection) => return Ok(connection),
                Err(stopped @ Failure::Stopped(_)) => return Err(stopped),
                // What another host has answered says more.
                Err(Failure::Late) => {}
                Err(other) => failure = other.at(host),
            }
        }
        Err(failure)
    }
}

/// Asks a server, and once more if its answer is that the history was rewound.
fn twice_if_rewound<T>(
    mut ask: impl FnMut() -> std::result::Result<T, Failure>,
) -> std::result::Result<T, Failure> {
    match ask() {
        Err(Failure::Stopped(error)) if is_rewound(&error) => ask(),
        answered => answered,
    }
}

fn is_session(
    connection: &mut Connection,
    session: TargetSession,
    deadline: &Deadline,
) -> std::result::Result<bool, Failure> {
    if session == TargetSession::Any {
        return Ok(true);
    }
    let sql = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'";
    let rows = connection.query(sql, &Values::new(), deadline)?;
    let row = rows.first().ok_or_else(unexpected)?;
    let answers = || -> Result<_> { Ok((row.boolean(0)?, row.boolean(1)?)) };
    let (is_standby, is_read_only) = answers().map_err(Failure::Stopped)?;
    Ok(match session {
        TargetSession::Any | TargetSession::PreferStandby => true,
        TargetSession::ReadWrite => !is_standby && !is_read_only,
        TargetSession::ReadOnly => is_standby || is_read_only,
        TargetSession::Primary => !is_standby,
        TargetSession::Standby => is_standby,
    })
}

fn described(session: TargetSession) -> &'static str {
    match session {
        TargetSession::Any | TargetSession::PreferStandby => "there",
        TargetSession::ReadWrite => "one whose transactions may write",
        TargetSession::ReadOnly => "one whose transactions may not write",
        TargetSession::Primary => "a primary",
        TargetSession::Standby => "a standby",
    }
}
