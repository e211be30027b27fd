//! The writer of a store: the connection that appends groups, and what it does when a call fails.
//!
//! Of a call whose answer did not come it is unknown whether the server has stored its events. Such
//! a call is never just repeated: a new connection takes the lock, after which no append before it
//! is still running, and looks. What is not there is fenced, so that it cannot arrive later.

use std::time::Duration;

use crate::commit::Appended;
use crate::commit::deadline::Deadline;
use crate::commit::fair_mutex::{FairMutex, Guard};
use crate::commit::group_commit::{Outcome, late};
use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, has};
use crate::position::Position;
use crate::postgres::call::{Call, outcomes, plan_call};
use crate::postgres::connection::Connection;
use crate::postgres::failure::{Failure, LIMIT_REACHED};
use crate::postgres::group::PreparedAppend;
use crate::postgres::history::AppendId;
use crate::postgres::prepared::Planning;
use crate::postgres::statements::without_notification;
use crate::postgres::target::Target;
use crate::postgres::values::{Row, Values};

/// The longest wait for the lock on the server before the deadlines of the group are looked at.
const LOCK_SLICE: Duration = Duration::from_secs(1);
/// How long the answer to a call may take beyond its wait for the lock.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How much longer it may take for every MiB of its events.
const ANSWER_PATIENCE_PER_MIB: Duration = Duration::from_secs(1);
/// How long at least a writer tries to find out what has become of a call.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before another try to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// The connection that appends.
#[derive(Debug)]
pub struct Writer {
    connection: FairMutex<Option<Connection>>,
}

/// The writer's connection, in the hands of one leader.
pub struct WriterGuard<'a> {
    connection: Guard<'a, Option<Connection>>,
    target: &'a Target,
}

impl Writer {
    /// Returns a writer that begins with this connection.
    pub fn new(connection: Option<Connection>) -> Self {
        Writer { connection: FairMutex::new(connection) }
    }

    /// Acquires the writer, and connects it if it is not connected.
    pub fn lock<'a>(&'a self, target: &'a Target, deadline: &Deadline) -> Result<WriterGuard<'a>> {
        let connection = self.connection.lock_within(deadline, late)?;
        let mut guard = WriterGuard { connection, target };
        guard.connect(deadline)?;
        Ok(guard)
    }

    /// Closes the connection.
    pub fn close(&self) {
        drop(self.connection.lock().take());
    }
}

/// What became of a call.
enum Called {
    /// The server answered.
    Answered(Vec<Row>),
    /// Nothing of it is stored, and it may be tried again.
    Again(Error),
    /// Nothing of it is stored: the server refuses it.
    Refused(Error),
    /// These of its requests are stored, by their index, each with its last position; others not.
    Resolved(Vec<(usize, Position)>),
    /// It is unknown what is stored.
    Unknown(Error),
}

impl WriterGuard<'_> {
    fn connect(&mut self, deadline: &Deadline) -> std::result::Result<(), Failure> {
        if self.connection.as_mut().is_some_and(Connection::is_usable) {
            return Ok(());
        }
        *self.connection = None;
        *self.connection = Some(self.target.connect_to_write(deadline)?);
        Ok(())
    }

    /// Appends the requests of a group, in order, by as many calls as it takes. Returns an outcome
    /// for each request, and the highest head that the server told of.
    pub fn append(&mut self, mut requests: Vec<PreparedAppend>) -> (Vec<Outcome>, Position) {
        let mut answered: Vec<Option<Outcome>> = requests.iter().map(|_| None).collect();
        // The places of the requests that are still without an outcome.
        let mut places: Vec<usize> = (0..requests.len()).collect();
        let (mut head, mut most) = (Position::START, usize::MAX);
        while !requests.is_empty() {
            let group = group_id();
            let append_id = |index: usize| {
                let mut id = group;
                id[12..].copy_from_slice(&(index as u32).to_be_bytes());
                id
            };
            if let Err(closed) = self.target.watch.check_open() {
                for place in places.drain(..) {
                    answered[place] = Some(Outcome::new(Err(closed.clone())));
                }
                break;
            }
            let deadline = longest(&requests);
            let lock_ms = lock_ms(&requests);
            let may_be_single = self.takes_single();
            let (count, call) = plan_call(&mut requests, most, may_be_single, lock_ms, append_id);
            let ids: Vec<_> = (0..count).map(append_id).collect();
            let mut settled: Vec<(usize, Outcome)> = Vec::new();
            let is_single = matches!(call, Call::Single(_));
            match self.call(call, &ids, lock_ms, &deadline) {
                Called::Answered(rows) => match outcomes(&requests[..count], &rows, is_single) {
                    Ok((outcomes, new_head)) => {
                        head = head.max(new_head);
                        self.note_newest(&outcomes, &ids);
                        settled.extend(outcomes.into_iter().enumerate());
                    }
                    Err(error) => settled.extend(failed(count, &error)),
                },
                Called::Again(error) => {
                    for (index, request) in requests[..count].iter().enumerate() {
                        let cancelled = request.deadline.check_cancel().err();
                        let over = request.deadline.is_over().then(|| error.clone());
                        if let Some(error) = cancelled.or(over) {
                            settled.push((index, Outcome::new(Err(error))));
                        }
                    }
                }
                Called::Refused(error) if count == 1 || is_of_the_server(&error) => {
                    settled.extend(failed(count, &error));
                }
                // One bad request must not fail the others.
                Called::Refused(_) => most = 1,
                Called::Resolved(stored) => {
                    for (index, last) in stored {
                        head = head.max(last);
                        self.target.history.note(last, ids[index]);
                        settled.push((index, Outcome::new(Ok(Appended::new(last)))));
                    }
                }
                Called::Unknown(error) => settled.extend(failed(count, &error)),
            }
            settled.sort_by_key(|(index, _)| *index);
            for (index, outcome) in settled.into_iter().rev() {
                requests.remove(index);
                answered[places.remove(index)] = Some(outcome);
            }
        }
        let none = || Outcome::new(Err(Error::new(Status::Internal, "an append has no outcome")));
        (answered.into_iter().map(|outcome| outcome.unwrap_or_else(none)).collect(), head)
    }

    /// Returns whether the connection takes calls of the function `append_one`.
    fn takes_single(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::has_own_session)
            && self.target.has_append_one()
            && !self.target.needs_transactions()
    }

    /// Calls the server's function once, and finds out what became of it.
    fn call(
        &mut self,
        call: Call,
        append_ids: &[AppendId],
        lock_ms: i32,
        deadline: &Deadline,
    ) -> Called {
        let known = self.target.watch.head();
        if let Err(failure) = self.connect(deadline) {
            return if failure.calls_for_another_connection() && !deadline.is_over() {
                self.pause(failure.into())
            } else {
                Called::Refused(failure.into())
            };
        }
        let is_single = matches!(call, Call::Single(_));
        if is_single && !self.takes_single() {
            // It is another connection than the call was planned for.
            return Called::Again(late());
        }
        let (Call::Single(mut values) | Call::Group(mut values)) = call;
        let Some(connection) = self.connection.as_mut() else {
            return Called::Again(late());
        };
        let size = u32::try_from(values.len_bytes() / (1024 * 1024)).unwrap_or(u32::MAX);
        let patience = Duration::from_millis(lock_ms.unsigned_abs().into())
            + ANSWER_PATIENCE
            + ANSWER_PATIENCE_PER_MIB * size;
        let answer = deadline.at_most(Duration::ZERO).at_least(patience).uncancellable();
        if has(SeededBug::NotifyTooEarly) {
            let next = known.get() + 1;
            let _ = connection
                .execute(&format!("NOTIFY \"{}\", '{next}'", self.target.sql.schema), &answer);
        }
        // Who has the session to itself has looked at the history already.
        let mark = self.target.history.mark();
        let is_behind_pooler = !connection.has_own_session() && mark.is_known();
        let sql = if is_behind_pooler {
            mark.add_to(&mut values);
            &self.target.sql.append_after
        } else if is_single {
            &self.target.sql.append_one
        } else {
            &self.target.sql.append
        };
        let mut append = |sql: &str| {
            if self.target.needs_transactions() {
                connection.query_read_committed(sql, &values, &answer)
            } else {
                connection.query_planned(sql, Planning::Kept, &values, &answer)
            }
        };
        let mut called = append(sql);
        if called.as_ref().is_err_and(|failure| failure.code() == Some(LIMIT_REACHED)) {
            // Mostly it is the queue of notifications that is full, and nothing is stored. Whoever
            // waits asks for the head now and then anyway.
            called = append(&without_notification(sql));
        }
        let failure = match called {
            Ok(rows) if is_behind_pooler && rows.is_empty() => {
                return Called::Refused(mark.missing());
            }
            Ok(rows) => return Called::Answered(rows),
            Err(failure) => failure,
        };
        let is_refused = matches!(&failure, Failure::Refused(refusal) if !refusal.is_fatal);
        if !is_refused {
            *self.connection = None;
            if has(SeededBug::RetryBlindly) {
                return Called::Again(failure.into());
            }
            return self.resolve(append_ids, known, deadline);
        }
        if failure.calls_for_another_connection() {
            // Such as a server that became a standby. It refused before it did anything.
            *self.connection = None;
            return self.pause(failure.into());
        }
        match failure.code() {
            // A schema or grants from before that function: the other one does the same.
            Some("42883" | "42501") if is_single => {
                self.target.do_without_append_one();
                Called::Again(late())
            }
            // Another append took the position or the id, or they were in each other's way.
            Some("23505" | "40001" | "40P01") => Called::Again(failure.into()),
            Some("55P03") => Called::Again(Error { status: Status::Busy, ..failure.into() }),
            // Without the right to append, nothing is stored.
            Some("42501") => Called::Refused(Error { status: Status::ReadOnly, ..failure.into() }),
            Some("DCB02") => {
                self.target.use_transactions();
                Called::Again(failure.into())
            }
            _ => Called::Refused(failure.into()),
        }
    }

    /// Notes the newest event that a call has stored.
    fn note_newest(&self, outcomes: &[Outcome], append_ids: &[AppendId]) {
        let stored = outcomes.iter().zip(append_ids).filter_map(|(outcome, append_id)| {
            let appended = outcome.answer.as_ref().ok()?;
            (!appended.is_repeated).then_some((appended.last, *append_id))
        });
        if let Some((last, append_id)) = stored.max() {
            self.target.history.note(last, append_id);
        }
    }

    fn pause(&self, error: Error) -> Called {
        std::thread::sleep(RECONNECT_PAUSE);
        Called::Again(error)
    }

    /// Finds out which appends of a call are stored.
    fn resolve(&mut self, append_ids: &[[u8; 16]], known: Position, deadline: &Deadline) -> Called {
        let deadline = deadline.at_least(RESOLVE_PATIENCE);
        let failure = loop {
            let failure = match self.look_for(append_ids, known, &deadline) {
                Ok(stored) => return Called::Resolved(stored),
                Err(failure) => failure,
            };
            *self.connection = None;
            // Only a server that answers can say that looking again is of no use.
            let is_final = match &failure {
                Failure::Refused(refusal) => {
                    !failure.calls_for_another_connection() && refusal.code != "55P03"
                }
                Failure::Stopped(_) => true,
                _ => false,
            };
            if is_final || deadline.is_over() || self.target.watch.check_open().is_err() {
                break failure;
            }
            std::thread::sleep(RECONNECT_PAUSE);
        };
        let cause = Error::from(failure);
        Called::Unknown(Error {
            status: Status::Unavailable,
            message: format!(
                "it is unknown whether the events are stored, since the server did not answer and \
                 could not be asked again ({})",
                cause.message
            )
            .into(),
            ..cause
        })
    }

    fn look_for(
        &mut self,
        append_ids: &[[u8; 16]],
        known: Position,
        deadline: &Deadline,
    ) -> std::result::Result<Vec<(usize, Position)>, Failure> {
        self.connect(deadline)?;
        let Some(connection) = self.connection.as_mut() else { return Err(Failure::Late) };
        let lock_ms = deadline.left().map_or(LOCK_SLICE, |left| left.min(LOCK_SLICE));
        let mut values = Values::new();
        values.uuids(append_ids).position(known).int(to_ms(lock_ms));
        let answer = deadline.at_most(lock_ms + ANSWER_PATIENCE);
        let rows = connection.query_read_committed(&self.target.sql.resolve, &values, &answer)?;
        let stored = rows.iter().map(|row| {
            let index = usize::try_from(row.int(0)? - 1).unwrap_or_default();
            Ok((index, row.position(1)?))
        });
        stored.collect::<Result<_>>().map_err(Failure::Stopped)
    }
}

/// Returns whether an error concerns the server rather than a request.
fn is_of_the_server(error: &Error) -> bool {
    matches!(
        error.status,
        Status::Unavailable | Status::Full | Status::ReadOnly | Status::Io | Status::Corrupt
    )
}

fn failed(count: usize, error: &Error) -> Vec<(usize, Outcome)> {
    (0..count).map(|index| (index, Outcome::new(Err(error.clone())))).collect()
}

/// Returns the deadline of the request that waits longest. None of them can be cancelled alone.
fn longest(requests: &[PreparedAppend]) -> Deadline {
    let mut longest = requests[0].deadline.uncancellable();
    for request in &requests[1..] {
        longest = match request.deadline.left() {
            Some(left) => longest.at_least(left),
            None => request.deadline.uncancellable(),
        };
    }
    longest
}

/// Returns how long a call may wait for the lock, in milliseconds: as long as the request does that
/// waits least, and 1 at least, since 0 means without end.
fn lock_ms(requests: &[PreparedAppend]) -> i32 {
    let left = requests.iter().filter_map(|request| request.deadline.left());
    to_ms(left.min().map_or(LOCK_SLICE, |left| left.min(LOCK_SLICE)))
}

pub(super) fn to_ms(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1)
}

/// Returns a random id for a group, whose last bytes number its appends.
pub(super) fn group_id() -> [u8; 16] {
    let mut id = [0; 16];
    // Without random numbers there is no telling appends apart.
    getrandom::fill(&mut id).expect("the system has random numbers");
    id
}
