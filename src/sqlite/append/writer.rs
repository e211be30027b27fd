//! The connection that writes, and how a group of appends is run: as one transaction under SQLite's
//! write lock, each request judged with those before it already in.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use smallvec::SmallVec;

use crate::commit::deadline::{Call, Patience};
use crate::commit::durability::Durability;
use crate::commit::fair_mutex::{Guard, Patient};
use crate::commit::group_commit::{Outcome, Queue, Work};
use crate::commit::head_watch::Watch;
use crate::domain::{AppendRequest, Condition, Query, Span, Verdict, judge_conditions, judge_ids};
use crate::error::{Error, Result, Status};
use crate::failpoints::{Flaw, has, reach};
use crate::index::{Filed, Index};
use crate::sql::Database;
use crate::sqlite::connection::{Moment, busy, end_left_over, retry, wait_for_lock};
use crate::sqlite::events::reader::{Checksums, Decoder, checksums, insert};
use crate::sqlite::index::view::{Generations, Snapshot, Tail, View};
use crate::sqlite::state::Shared;

/// How long work that nobody waits for tries to get SQLite's lock; it is tried again later.
const CHORE_PATIENCE: Duration = Duration::from_secs(1);

/// A request with all that can be made of it before its turn.
#[derive(Debug)]
pub struct Prepared {
    filed: Filed,
    checksums: Checksums,
    conditions: SmallVec<[Condition; 1]>,
}

impl Prepared {
    /// Of a request; `no_memory`.
    pub fn new(request: AppendRequest) -> Result<Self> {
        let (events, conditions) = request.into_parts();
        let checksums = checksums(&events);
        Ok(Prepared { filed: Filed::new(events)?, checksums, conditions })
    }

    fn len(&self) -> usize {
        self.checksums.len()
    }
}

/// The one connection that writes, and what its holder knows.
#[derive(Debug)]
pub struct Core {
    /// The connection; no transaction is open while nobody holds the core.
    pub connection: Connection,
    decoder: Decoder,
    turns: Turns,
}

impl Core {
    /// The connection, and scratch for its rows.
    pub fn parts(&mut self) -> (&Connection, &mut Decoder) {
        (&self.connection, &mut self.decoder)
    }
}

/// Keeps one process from holding SQLite's lock all the time.
///
/// The lock has no queue: who waits for it looks now and then. Who has used it for a while
/// therefore leaves it alone for longer than the others' looks are apart.
#[derive(Debug)]
pub struct Turns {
    /// Since when groups have run back to back.
    busy_since: Instant,
    last_end: Instant,
    /// When events of another process were last seen.
    others_seen: Option<Instant>,
}

/// How long a process with work keeps the lock, alone and where others write too.
const TURN_ALONE: Duration = Duration::from_millis(100);
const TURN_SHARED: Duration = Duration::from_millis(4);
/// How long it leaves the lock alone then: above the pollers' interval.
const PAUSE: Duration = Duration::from_millis(1);
/// How long after their last event others are taken to be still writing.
const OTHERS_LINGER: Duration = Duration::from_secs(1);

impl Turns {
    /// Of who has not written yet.
    pub fn new() -> Self {
        let now = Instant::now();
        Turns { busy_since: now, last_end: now, others_seen: None }
    }

    /// Called before the lock is asked for.
    pub fn begin(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.last_end) >= PAUSE {
            self.busy_since = now;
        }
        let shared = self.others_seen.is_some_and(|at| now.duration_since(at) < OTHERS_LINGER);
        let turn = if shared { TURN_SHARED } else { TURN_ALONE };
        if now.duration_since(self.busy_since) >= turn {
            std::thread::sleep(PAUSE);
            self.busy_since = Instant::now();
        }
    }

    /// Called when the lock is free again.
    pub fn end(&mut self) {
        self.last_end = Instant::now();
    }
}

/// The queue of appends and the connection that runs them.
#[derive(Debug)]
pub struct Writer {
    queue: Queue<Prepared>,
    /// `None` once the store is closed. Taken before every other lock of the store.
    core: Patient<Option<Core>>,
}

impl Writer {
    /// A writer over its connection.
    pub fn new(connection: Connection, decoder: Decoder) -> Self {
        let core = Core { connection, decoder, turns: Turns::new() };
        Writer { queue: Queue::default(), core: Patient::new(Some(core)) }
    }

    /// The core, as soon as nobody in this process uses it.
    pub fn core(&self) -> CoreGuard<'_> {
        CoreGuard(self.core.lock())
    }

    /// The same, as long as `patience` lasts.
    pub fn core_within(&self, patience: &Patience) -> Result<CoreGuard<'_>> {
        self.core.lock_within(patience, busy).map(CoreGuard)
    }

    /// How many requests wait.
    #[cfg(test)]
    pub fn queued(&self) -> usize {
        self.queue.queued()
    }

    /// Ends the writer and gives its connection.
    pub fn close(&self) -> Option<Connection> {
        self.core().0.take().map(|core| core.connection)
    }

    /// Appends, alone or with others.
    pub fn append(
        &self,
        shared: &Shared,
        request: AppendRequest,
        patience: &Patience,
    ) -> Result<i64> {
        let prepared = Prepared::new(request)?;
        let events = prepared.len();
        self.queue.append(&Groups { writer: self, shared }, prepared, events, patience)
    }

    /// The core with SQLite's write lock, for maintenance. While another process has that lock,
    /// the core is let go of between two tries: an append that comes waits no longer than its own
    /// patience lasts.
    pub fn begin_chore(&self) -> Result<CoreGuard<'_>> {
        let patience = Call::default().start(Some(CHORE_PATIENCE));
        loop {
            let mut guard = self.core();
            match try_begin_immediate(&guard.open()?.connection) {
                Ok(()) => return Ok(guard),
                Err(error) if error.status == Status::Busy => drop(guard),
                Err(error) => return Err(error),
            }
            wait_for_lock(&patience)?;
        }
    }
}

/// How the store runs its groups.
struct Groups<'a> {
    writer: &'a Writer,
    shared: &'a Shared,
}

impl Work for Groups<'_> {
    type Request = Prepared;

    fn run(
        &self,
        patience: &Patience,
        take: impl FnOnce() -> Vec<Prepared>,
    ) -> Result<Vec<Outcome>> {
        wait_for_log(self.shared, patience)?;
        let mut guard = self.writer.core_within(patience)?;
        let core = guard.open()?;
        core.turns.begin();
        begin_immediate(&core.connection, patience)?;
        let begun = Begun(core);
        run(begun.0, self.shared, take())
    }

    fn durability(&self) -> &Durability {
        &self.shared.durability
    }

    fn watch(&self) -> &Watch {
        &self.shared.watch
    }
}

/// The core while a group runs. Whatever becomes of the group, a panic too, it leaves no
/// transaction open.
struct Begun<'a>(&'a mut Core);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        rollback(&self.0.connection);
        self.0.turns.end();
    }
}

/// The core, held.
pub struct CoreGuard<'a>(Guard<'a, Option<Core>>);

impl CoreGuard<'_> {
    /// The core of a store that is not closed.
    pub fn open(&mut self) -> Result<&mut Core> {
        self.0.as_mut().ok_or_else(|| Error::new(Status::Closed, "the store is closed"))
    }
}

/// Waits while a reader of another process keeps the log from starting anew and it is at its
/// longest; maintenance goes on trying.
pub fn wait_for_log(shared: &Shared, patience: &Patience) -> Result<()> {
    while shared.log_held.load(Relaxed) {
        // Maintenance tries no more then.
        shared.watch.check_open()?;
        shared.durability.failure().map_or(Ok(()), Err)?;
        shared.chores.wake();
        wait_for_lock(patience).map_err(|error| match error.status {
            Status::Busy => Error {
                message: "a reader in another process has kept an old snapshot open for so long \
                          that the write-ahead log is at its limit of 1 GiB: end that reader"
                    .into(),
                ..error
            },
            _ => error,
        })?;
    }
    Ok(())
}

/// Takes SQLite's write lock, as long as `patience` lasts.
pub fn begin_immediate(connection: &dyn Database, patience: &Patience) -> Result<()> {
    retry(patience, || try_begin_immediate(connection))
}

fn try_begin_immediate(connection: &dyn Database) -> Result<()> {
    end_left_over(connection)?;
    connection.run("BEGIN IMMEDIATE", &[]).map(drop)
}

/// Commits the transaction.
pub fn commit(connection: &dyn Database) -> Result<()> {
    connection.run("COMMIT", &[]).map(drop).map_err(|error| match error.status {
        // SQLite writes the log, with the mark of the commit, before it asks for memory for its
        // index: whoever recovers the log finds the transaction there.
        Status::NoMemory => Error { status: Status::Io, ..error },
        _ => error,
    })
}

impl Moment<'_> {
    /// Commits it, or has undone it.
    pub fn commit(self) -> Result<()> {
        commit(self.0)
    }
}

/// Undoes the transaction, if one is open.
pub fn rollback(connection: &dyn Database) {
    // If this fails, whoever uses the connection next does it.
    let _ = end_left_over(connection);
}

/// Runs the requests of a group in the transaction that has begun. If the database fails one of
/// them, it may have undone all: then each runs again, alone. For the lock, which another process
/// may have meanwhile, they all wait no longer than one would: nobody can leave a group.
fn run(core: &mut Core, shared: &Shared, mut requests: Vec<Prepared>) -> Result<Vec<Outcome>> {
    let Core { connection, decoder, turns } = core;
    let error = match attempt(connection, decoder, turns, shared, &mut requests) {
        Ok(outcomes) => return Ok(outcomes),
        Err(error) => error,
    };
    rollback(connection);
    if requests.len() == 1 {
        return Ok(vec![Outcome::new(Err(error))]);
    }
    let mut outcomes = Vec::with_capacity(requests.len());
    let patience = shared.patience();
    for mut request in requests {
        let alone = begin_immediate(connection, &patience).and_then(|()| {
            attempt(connection, decoder, turns, shared, std::slice::from_mut(&mut request))
        });
        rollback(connection);
        outcomes.push(match alone {
            Ok(mut outcome) => outcome.remove(0),
            Err(error) => Outcome::new(Err(error)),
        });
    }
    Ok(outcomes)
}

/// Judges and stores the requests, in order, and commits. An error: the transaction is not to be
/// committed, and nothing of it is stored.
pub fn attempt(
    connection: &dyn Database,
    decoder: &mut Decoder,
    turns: &mut Turns,
    shared: &Shared,
    requests: &mut [Prepared],
) -> Result<Vec<Outcome>> {
    // For speed alone: where there is no room, the append finds out by itself.
    let _ = shared.make_room();
    let snapshot = Snapshot::take(connection)?;
    let segments = shared.segments.at_version(connection, snapshot.version)?;
    segments.check(snapshot)?;
    let known = check_tail(&shared.tail, snapshot)?;
    shared.tail.catch_up(connection, decoder, snapshot, segments.mark())?;
    if shared.own.begin(snapshot.head) {
        turns.others_seen = Some(Instant::now());
    }
    let view = View { connection, segments, tail: &shared.tail };
    let found = if has(Flaw::SkipCatchUp) { known } else { snapshot.head };
    let mut staged = Staged { head: snapshot.head, ..Staged::new(view, decoder, found) };
    let mut stored: Vec<&Filed> = Vec::new();
    let mut outcomes = Vec::with_capacity(requests.len());
    for request in requests {
        if let Some(last) = stored.last() {
            staged.add(last);
        }
        let answer = match staged.judge(request) {
            Ok(Verdict::Repeated(last)) => Ok(last),
            Ok(Verdict::New) => {
                let last = staged.store(request)?;
                stored.push(&request.filed);
                Ok(last)
            }
            Err(error) => Err(error),
        };
        if connection.is_autocommit() {
            return Err(answer.err().unwrap_or_else(|| {
                Error::new(Status::Io, "the database ended the transaction by itself")
            }));
        }
        let mut outcome = Outcome::new(answer);
        if matches!(&outcome.answer, Err(error) if error.status == Status::DuplicateId) {
            // It names the first stored event that it meets, and may be because of a later one.
            outcome.rests_on = staged.head;
        }
        outcomes.push(outcome);
    }
    if stored.is_empty() {
        rollback(connection);
        return Ok(outcomes);
    }
    let head = staged.head;
    reach("before commit");
    shared.own.commit(head, || commit(connection))?;
    reach("after commit");
    shared.tail.extend(stored.iter().copied());
    shared.durability.note_written(head);
    shared.note_commit(stored.iter().flat_map(|filed| filed.events()));
    Ok(outcomes)
}

/// The newest event in memory, which a transaction with the write lock has to find in the database.
pub fn check_tail(tail: &Tail, snapshot: Snapshot) -> Result<i64> {
    let known = tail.read(Generations::head);
    if known <= snapshot.head {
        return Ok(known);
    }
    // Conditions would be judged on events that are not there, and not on those in their place.
    Err(Error::new(
        Status::Corrupt,
        "the database has lost events that it had while the store was open: open it again",
    ))
}

/// A transaction under way: what it found, and what it has added.
pub struct Staged<'a> {
    view: View<'a>,
    decoder: &'a mut Decoder,
    /// The head that the transaction found,
    found: i64,
    /// and where it is by now.
    head: i64,
    /// What the group has stored so far; a request alone needs none.
    index: Option<Index>,
}

impl<'a> Staged<'a> {
    /// A transaction that has found this head, and has added nothing.
    pub fn new(view: View<'a>, decoder: &'a mut Decoder, found: i64) -> Self {
        Staged { view, decoder, found, head: found, index: None }
    }

    /// Lets later requests see events that were stored; those added before are passed over.
    fn add(&mut self, filed: &Filed) {
        filed.add_to(self.index.get_or_insert_with(|| Index::new(self.found)));
    }

    /// What the ids and the conditions say; a refusal is an error.
    pub fn judge(&mut self, request: &Prepared) -> Result<Verdict> {
        let Staged { view, decoder, found, index, .. } = self;
        let index = index.as_ref().filter(|_| !has(Flaw::ForgetGroup));
        // Both closures look things up with the one decoder.
        let decoder = std::cell::RefCell::new(&mut **decoder);
        let verdict = judge_ids(
            request.filed.events(),
            |id| match index.and_then(|index| index.position_of_id(id)) {
                Some(position) => Ok(Some(position)),
                None => view.position_of_id(&mut decoder.borrow_mut(), id, *found),
            },
            |position, event| match index.and_then(|index| index.get(position)) {
                Some(stored) => Ok(stored.event == *event),
                None => view.is_same(&mut decoder.borrow_mut(), position, event),
            },
        )?;
        if verdict == Verdict::New {
            let decoder = decoder.into_inner();
            judge_conditions(&request.conditions, |query: &Query, span: Span| {
                let below = Span { low: span.low, high: span.high.min(*found) };
                let first = view.first_match(decoder, query, below)?;
                Ok(first.or_else(|| index.and_then(|index| index.first_match(query, span))))
            })?;
        }
        Ok(verdict)
    }

    /// Stores the events of the request; gives the position of the last.
    pub fn store(&mut self, request: &mut Prepared) -> Result<i64> {
        let head = self.head;
        let last = i64::try_from(request.len())
            .ok()
            .and_then(|len| head.checked_add(len))
            .ok_or_else(|| Error::new(Status::Full, "the store has no further positions"))?;
        request.filed.place(head, now_us());
        insert(self.view.connection, request.filed.sequenced(), &request.checksums)?;
        self.head = last;
        Ok(last)
    }
}

/// Microseconds since 1970; 0 where the clock stands before that.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
