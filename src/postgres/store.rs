//! [`Store`] over a schema of a PostgreSQL database.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::group_commit::{Committer, GroupCommit, Outcome};
use crate::commit::head_watch::HeadWatch;
use crate::domain::{AppendRequest, EventId, PositionRange, QueryItem, ReadState, SequencedEvent};
use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, has};
use crate::position::Position;
use crate::postgres::append::Writer;
use crate::postgres::connection::Connection;
use crate::postgres::failure::Failure;
use crate::postgres::group::PreparedAppend;
use crate::postgres::history::{Known, is_rewound};
use crate::postgres::page::{PAGE_BYTES, Page, STANDBY_COLUMN, with_event};
use crate::postgres::pool::Pool;
use crate::postgres::prepared::Planning;
use crate::postgres::target::Target;
use crate::postgres::values::{Row, Values};
use crate::postgres::wait::Listener;
use crate::postgres::wire::unexpected;
use crate::store::diagnosis::Diagnosis;
use crate::store::{Appended, BatchLimits, IndexCounts, ProgramTransaction, Sink, Store};

/// How many events the first page of a read has, and how many a later one.
const PAGES: [usize; 2] = [512, 4_096];
/// How many times the bytes that it should have a page may have, if the server need not count them.
const UNCOUNTED: usize = 2;
/// How long a standby may take to catch up with what is known, before the primary is read.
const CATCH_UP_PATIENCE: Duration = Duration::from_millis(100);
/// How long to wait before a standby that was behind is read again.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(5);
/// How long to wait before the primary is tried again for such a read.
const PRIMARY_PAUSE: Duration = Duration::from_secs(1);
/// How long the primary's answer to such a read may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a wait tries to reach the server before it looks at events of this process alone.
const WAIT_PATIENCE: Duration = Duration::from_secs(5);

/// A store in a schema of a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    pub(super) queue: GroupCommit<PreparedAppend>,
    pub(super) writer: Writer,
    pub(super) pool: Pool,
    pub(super) listener: Listener,
    pub(super) target: Target,
    pub(super) busy_timeout: Option<Duration>,
    pub(super) is_read_only: bool,
    /// Whether events keep the timestamps that they are appended with.
    pub(super) import: bool,
    /// The bytes of the longest event that was read, with its texts, or 0.
    pub(super) longest: AtomicUsize,
    /// The version of the server.
    pub(super) server: String,
    /// What tells the store from others, once it was asked for.
    pub(super) incarnation: OnceLock<String>,
}

impl PostgresStore {
    /// Starts a call on the open store.
    pub(super) fn start(&self, call: &CallOptions, default: Option<Duration>) -> Result<Deadline> {
        self.target.watch.check_open()?;
        let deadline = call.start(default);
        deadline.check_cancel()?;
        Ok(deadline)
    }

    /// Prepares a request, if the store takes it.
    pub(super) fn prepare(
        &self,
        request: AppendRequest,
        deadline: &Deadline,
    ) -> Result<PreparedAppend> {
        self.expect_writable()?;
        if !self.import {
            request.expect_no_timestamps()?;
        }
        PreparedAppend::new(request, deadline.clone())
    }

    /// Fails if the store was opened for reading.
    pub(super) fn expect_writable(&self) -> Result<()> {
        if self.is_read_only {
            return Err(Error::new(Status::ReadOnly, "the store was opened read-only"));
        }
        Ok(())
    }

    /// Asks the server for the head, and publishes it. A standby may be behind what is known.
    fn current_head(&self, deadline: &Deadline) -> Result<Position> {
        let head = self.pool.read(&self.target, deadline, |connection, deadline| {
            self.target.ask_for_head(connection, deadline)
        })?;
        Ok(head.max(self.target.known().head))
    }

    /// Reads the next page of a read, of at most `max_events` events, and returns its rows with the
    /// head of its snapshot. It ends after about `max_bytes`.
    fn page(
        &self,
        reading: &ReadState,
        span: PositionRange,
        max_events: usize,
        max_bytes: usize,
        deadline: &Deadline,
    ) -> Result<(Vec<Row>, Position)> {
        let (schema, query, direction) =
            (&*self.target.sql.schema, reading.query(), reading.direction());
        let longest = self.longest.load(Ordering::Relaxed);
        let are_short = longest > 0
            && max_events.saturating_mul(longest) <= max_bytes.saturating_mul(UNCOUNTED);
        let max_bytes = (!are_short).then_some(max_bytes);
        let page = Page { schema, query, span, direction, max_events, max_bytes };
        let (sql, values) = page.statement();
        let statement = (&*sql, page.planning(), &values);
        let known = self.target.known();
        let wanted = if reading.has_begun() {
            Wanted { least: span.through, seen: Position::START }
        } else {
            Wanted { least: span.through.min(known.head), seen: span.after }
        };
        let (rows, head) = self.rows(statement, known, wanted, deadline)?;
        let longest = rows[1..].iter().map(Row::len_bytes).max().unwrap_or(0);
        self.longest.fetch_max(longest, Ordering::Relaxed);
        Ok((rows, head))
    }

    /// Runs a statement with the columns of a page, and returns its rows with the head of their
    /// snapshot. `known` is what is known before.
    ///
    /// A standby may be behind what the caller has seen, or behind the server that had the page
    /// before, and then its rows are not taken. Mostly it catches up in a moment; if not, the
    /// primary is read.
    fn rows(
        &self,
        statement: (&str, Planning, &Values),
        known: Known,
        wanted: Wanted,
        deadline: &Deadline,
    ) -> Result<(Vec<Row>, Position)> {
        let (begun, mut next_try) = (Instant::now(), CATCH_UP_PATIENCE);
        let mut is_second = false;
        loop {
            let page = self.pool.read(&self.target, deadline, |connection, deadline| {
                self.target.page(connection, statement, known, deadline)
            });
            let (mut rows, mut head) = match page.and_then(|page| self.with_head(page, known)) {
                Err(error) if is_rewound(&error) && !std::mem::replace(&mut is_second, true) => {
                    continue;
                }
                page => page?,
            };
            let mut is_behind = wanted.is_behind(&rows, head)?;
            let is_late = deadline.is_over();
            if is_behind && (is_late || begun.elapsed() >= next_try) {
                // Where the URI leads to no primary, each try costs every host a connection.
                next_try = begun.elapsed() + PRIMARY_PAUSE;
                let answer = deadline.at_least(ANSWER_PATIENCE);
                let connected = self.target.connect_to_write(&answer);
                let (sql, _, values) = statement;
                let once = (sql, Planning::ForValues, values);
                let ask = |own: &mut Connection| self.target.page(own, once, known, &answer);
                match connected.and_then(|mut own| ask(&mut own)) {
                    Ok(page) => {
                        (rows, head) = self.with_head(page, known)?;
                        is_behind = wanted.is_behind(&rows, head)?;
                        // Whoever asks for the head next is not told less.
                        self.target.watch.publish(head.min(wanted.seen));
                    }
                    Err(Failure::Stopped(error)) => return Err(error),
                    Err(_) => {}
                }
            }
            if !is_behind {
                return Ok((rows, head));
            }
            if is_late {
                let message = format!(
                    "timed out waiting for a standby: it has events up to position {head}, and {} \
                     was seen; nor could the primary be reached",
                    wanted.least.max(wanted.seen)
                );
                return Err(Error::new(Status::Busy, message));
            }
            let pause = deadline.nap(Some(CATCH_UP_PAUSE)).unwrap_or(CATCH_UP_PAUSE);
            std::thread::sleep(pause);
            self.target.watch.check_open()?;
            deadline.check_cancel()?;
        }
    }

    /// Returns a page with the head of the snapshot that it is from.
    fn with_head(&self, page: Vec<Row>, known: Known) -> Result<(Vec<Row>, Position)> {
        let row = page.first().ok_or_else(unexpected)?;
        let head = self.target.head_of(row, STANDBY_COLUMN, known)?;
        Ok((page, head))
    }
}

/// What a server must have for its page to be taken.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// The lowest head that its snapshot may have.
    least: Position,
    /// A position that the caller has seen, as it says. Whether there is such an event, only a
    /// server that follows no other can tell.
    seen: Position,
}

impl Wanted {
    /// Returns whether the server of a page, whose snapshot has this head, is behind.
    fn is_behind(&self, page: &[Row], head: Position) -> Result<bool> {
        let row = page.first().ok_or_else(unexpected)?;
        Ok(head < self.least || head < self.seen && row.boolean(STANDBY_COLUMN)?)
    }
}

/// Returns what is left of a read. Before its snapshot is taken, that is what its bounds allow.
fn span(reading: &ReadState) -> Option<PositionRange> {
    if reading.has_begun() {
        return reading.span();
    }
    let mut unbounded = reading.clone();
    unbounded.begin(Position::MAX);
    unbounded.span()
}

impl Store for PostgresStore {
    fn append(&self, request: AppendRequest, call: &CallOptions) -> Result<Appended> {
        let deadline = self.start(call, self.busy_timeout)?;
        let prepared = self.prepare(request, &deadline)?;
        let events = prepared.len();
        self.queue.append(self, prepared, events, &deadline)
    }

    fn append_in(
        &self,
        transaction: &mut dyn ProgramTransaction,
        request: Option<AppendRequest>,
        call: &CallOptions,
    ) -> Result<Appended> {
        self.append_within(transaction, request, call)
    }

    fn read(
        &self,
        reading: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let deadline = self.start(call, self.busy_timeout)?;
        // No event has 0 bytes, so a limit of 1 byte lets each batch deliver one event.
        let (mut events_left, mut bytes_left) = (batch.max_events, batch.max_bytes.max(1));
        while events_left > 0 && bytes_left > 0 {
            self.start(call, self.busy_timeout)?;
            let Some(span) = span(reading) else {
                if !reading.has_begun() {
                    reading.begin(self.current_head(&deadline)?);
                }
                return Ok(());
            };
            let asked = reading.remaining(events_left).min(PAGES[usize::from(reading.has_begun())]);
            let max_bytes = bytes_left.min(PAGE_BYTES);
            let (rows, mut head) = self.page(reading, span, asked, max_bytes, &deadline)?;
            if has(SeededBug::ReadHeadLater) {
                head = self.current_head(&deadline)?;
            }
            reading.begin(head);
            let (mut found, mut bytes, mut left) = (0, 0, span);
            for row in &rows[1..] {
                if bytes_left == 0 {
                    return Ok(());
                }
                with_event(row, |view| {
                    let position = view.position;
                    if !left.contains(position) {
                        return Err(unexpected().into());
                    }
                    left = left.beyond(position, reading.direction());
                    sink.event(view)?;
                    reading.delivered(position);
                    bytes_left = bytes_left.saturating_sub(view.text_len());
                    Ok(())
                })?;
                found += 1;
                bytes += row.len_bytes();
            }
            events_left -= found;
            if found < asked && bytes < max_bytes {
                reading.finish();
            }
        }
        Ok(())
    }

    fn find(&self, id: EventId<'_>, call: &CallOptions) -> Result<Option<SequencedEvent>> {
        let deadline = self.start(call, self.busy_timeout)?;
        let mut values = Values::new();
        values.text(id.as_str());
        let known = self.target.known();
        let statement = (&*self.target.sql.find, Planning::Kept, &values);
        let wanted = Wanted { least: known.head, seen: Position::START };
        let (rows, _) = self.rows(statement, known, wanted, &deadline)?;
        let event = rows.get(1).map(|row| {
            with_event(row, |event| {
                event.to_owned().map_err(|error| {
                    let message =
                        format!("the event at position {}: {}", event.position, error.message);
                    Error::new(Status::Corrupt, message)
                })
            })
        });
        event.transpose()
    }

    fn head(&self, call: &CallOptions) -> Result<Position> {
        let deadline = self.start(call, self.busy_timeout)?;
        self.current_head(&deadline)
    }

    fn wait(&self, after: Position, call: &CallOptions) -> Result<Position> {
        let deadline = self.start(call, None)?;
        if self.target.watch.head() <= after {
            let look = deadline.at_most(WAIT_PATIENCE).at_least(Duration::ZERO);
            match self.current_head(&look) {
                // The wait has a connection of its own, and the server may come back meanwhile.
                Err(Error {
                    status: Status::Timeout | Status::Busy | Status::Unavailable, ..
                }) => {}
                looked => drop(looked?),
            }
        }
        self.listener.wait(&self.target, after, &deadline)
    }

    fn diagnose(&self, call: &CallOptions) -> Result<Diagnosis> {
        let head = self.head(call)?;
        let postgres = self.diagnosis(&self.start(call, self.busy_timeout)?)?;
        Ok(Diagnosis { head, sqlite: None, postgres: Some(postgres) })
    }

    fn upgrade(&self, call: &CallOptions) -> Result<()> {
        self.upgrade_within(&self.start(call, self.busy_timeout)?)
    }

    fn index_counts(&self, item: &QueryItem, call: &CallOptions) -> Result<Option<IndexCounts>> {
        let deadline = self.start(call, self.busy_timeout)?;
        let through = self.current_head(&deadline)?;
        Ok(Some(IndexCounts { through, events: self.counts_of(item, &deadline)? }))
    }

    fn close(&self) {
        self.target.watch.close();
        self.writer.close();
        self.pool.close();
        self.listener.close();
    }
}

impl Committer for PostgresStore {
    type Request = PreparedAppend;

    fn run(
        &self,
        deadline: &Deadline,
        take: impl FnOnce() -> Vec<PreparedAppend>,
    ) -> Result<Vec<Outcome>> {
        let mut writer = self.writer.lock(&self.target, deadline)?;
        let (outcomes, head) = writer.append(take());
        self.target.watch.publish(head);
        Ok(outcomes)
    }

    /// A commit makes its events durable itself.
    fn make_durable(&self, _position: Position) -> Result<()> {
        Ok(())
    }

    fn durable(&self) -> Position {
        self.target.watch.head()
    }

    fn failure(&self) -> Option<Error> {
        None
    }

    fn watch(&self) -> &HeadWatch {
        &self.target.watch
    }
}
