//! Group commit by the callers themselves.
//!
//! An append joins a queue. Whoever finds nobody leading leads: it takes SQLite's write lock, runs
//! all that is queued as one transaction, judging each request with those before it already in,
//! hands the lead on, and makes the log durable. Only then is anybody answered.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use super::connection::{from_sqlite, is_busy, retry_busy, wait_for_lock};
use super::rows::{Decoder, RowDraft, insert};
use super::shared::Shared;
use super::view::{Generations, Snapshot, View};
use crate::call::{Call, Patience};
use crate::domain::{AppendRequest, Condition, Query, Span, Verdict, judge_conditions, judge_ids};
use crate::error::{Error, Result, Status};
use crate::index::{Filed, Index};
use crate::testing::{Flaw, has, reach};

/// Events after which a group takes no further request.
const GROUP_EVENTS: usize = 16_384;
/// How long work that nobody waits for tries to get SQLite's lock; it is tried again later.
const CHORE_PATIENCE: Duration = Duration::from_secs(1);
/// Events in the queue that make it worth running them while the group before is made durable.
const OVERLAP_EVENTS: usize = 512;

/// A request with all that can be made of it before its turn.
#[derive(Debug)]
struct Prepared {
    filed: Filed,
    drafts: Vec<RowDraft>,
    conditions: Vec<Condition>,
}

impl Prepared {
    fn new(request: AppendRequest) -> Self {
        let (events, conditions) = request.into_parts();
        let drafts = events.iter().map(RowDraft::new).collect();
        Prepared { filed: Filed::new(events), drafts, conditions }
    }

    fn len(&self) -> usize {
        self.drafts.len()
    }
}

/// What came of a request, and the position up to which events have to be durable before anybody
/// is told.
#[derive(Debug, Clone)]
struct Outcome {
    answer: Result<i64>,
    rests_on: i64,
}

impl Outcome {
    fn new(answer: Result<i64>) -> Self {
        let rests_on = match &answer {
            Ok(position) => *position,
            // The positions that a failed condition and a duplicate id name; else 0.
            Err(error) => error.position,
        };
        Outcome { answer, rests_on }
    }
}

#[derive(Debug)]
enum Turn {
    Queued,
    /// The lead was handed to this request's caller; the request is still queued, in front.
    Leads,
    /// It is in a transaction: nothing takes it out any more.
    Taken,
    Answered(Result<i64>),
}

/// A request in the queue.
#[derive(Debug)]
struct Slot {
    /// How many events it would store.
    events: usize,
    /// Taken out by the leader; put back never.
    prepared: Mutex<Option<Prepared>>,
    turn: Mutex<Turn>,
    changed: Condvar,
}

impl Slot {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, turn: Turn) {
        *self.turn() = turn;
        self.changed.notify_one();
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<Slot>>,
    /// Those of all that wait.
    events: usize,
    led: bool,
}

impl Queue {
    /// Hands the lead to the first in the queue, or to nobody.
    fn hand_on(&mut self) {
        match self.waiting.front() {
            Some(next) => next.set(Turn::Leads),
            None => self.led = false,
        }
    }

    fn leave(&mut self, slot: &Arc<Slot>) -> bool {
        let place = self.waiting.iter().position(|own| Arc::ptr_eq(own, slot));
        let left = place.and_then(|place| self.waiting.remove(place));
        self.events -= left.as_ref().map_or(0, |slot| slot.events);
        left.is_some()
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
struct Turns {
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
    fn new() -> Self {
        let now = Instant::now();
        Turns { busy_since: now, last_end: now, others_seen: None }
    }

    /// Called before the lock is asked for.
    fn begin(&mut self) {
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

    fn end(&mut self) {
        self.last_end = Instant::now();
    }
}

/// The queue of appends and the connection that runs them.
#[derive(Debug)]
pub struct Writer {
    queue: Mutex<Queue>,
    /// `None` once the store is closed. Taken before every other lock of the store.
    core: Mutex<Option<Core>>,
}

impl Writer {
    /// A writer over its connection.
    pub fn new(connection: Connection) -> Self {
        let core = Core { connection, decoder: Decoder::default(), turns: Turns::new() };
        Writer { queue: Mutex::default(), core: Mutex::new(Some(core)) }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The core, as soon as nobody in this process uses it.
    pub fn core(&self) -> CoreGuard<'_> {
        CoreGuard(self.core.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many requests wait.
    #[cfg(test)]
    pub fn queued(&self) -> usize {
        self.queue().waiting.len()
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
        let slot = Arc::new(Slot {
            events: request.events().len(),
            prepared: Mutex::new(Some(Prepared::new(request))),
            turn: Mutex::new(Turn::Queued),
            changed: Condvar::new(),
        });
        {
            let mut queue = self.queue();
            queue.waiting.push_back(Arc::clone(&slot));
            queue.events += slot.events;
            if !queue.led {
                queue.led = true;
                // Nobody led, so nobody was queued: this one is in front.
                slot.set(Turn::Leads);
            }
        }
        let mut turn = slot.turn();
        loop {
            match &*turn {
                Turn::Answered(answer) => return answer.clone(),
                Turn::Leads => {
                    drop(turn);
                    self.lead(shared, &slot, patience)?;
                    turn = slot.turn();
                }
                Turn::Taken => {
                    turn = slot.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
                }
                Turn::Queued => {
                    let over = patience.check_cancel().err().or_else(|| {
                        patience.is_over().then(|| {
                            Error::new(
                                Status::Busy,
                                "other appends were before this one for longer than the time given",
                            )
                        })
                    });
                    if let Some(error) = over {
                        drop(turn);
                        let mut queue = self.queue();
                        // The lead may have been handed over in between.
                        let leads = matches!(*slot.turn(), Turn::Leads);
                        if queue.leave(&slot) {
                            if leads {
                                queue.hand_on();
                            }
                            return Err(error);
                        }
                        drop(queue);
                        turn = slot.turn();
                        continue;
                    }
                    turn = match patience.nap(None) {
                        None => slot.changed.wait(turn).unwrap_or_else(PoisonError::into_inner),
                        Some(nap) => {
                            let woken = slot.changed.wait_timeout(turn, nap);
                            woken.unwrap_or_else(PoisonError::into_inner).0
                        }
                    };
                }
            }
        }
    }

    /// Runs the queue, this caller's request in front, as one group. An error is this request's
    /// own: it has left the queue.
    fn lead(&self, shared: &Shared, slot: &Arc<Slot>, patience: &Patience) -> Result<()> {
        let mut guard = match self.begin(shared, patience) {
            Ok(guard) => guard,
            Err(error) => {
                let mut queue = self.queue();
                queue.leave(slot);
                queue.hand_on();
                return Err(error);
            }
        };
        let group = self.take_group();
        let requests: Vec<Prepared> = group
            .iter()
            .filter_map(|slot| slot.prepared.lock().unwrap_or_else(PoisonError::into_inner).take())
            .collect();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(guard.open()?, shared, requests)
        }));
        let outcomes = match ran {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(error)) => vec![Outcome::new(Err(error)); group.len()],
            Err(_) => {
                // What the panic left behind is not to be trusted with another append.
                shared.watch.close();
                let error = Error::new(
                    Status::Internal,
                    "the library failed while it appended: close the store and open it again",
                );
                vec![Outcome::new(Err(error)); group.len()]
            }
        };
        if let Ok(core) = guard.open() {
            if !core.connection.is_autocommit() {
                let _ = core.connection.execute_batch("ROLLBACK");
            }
            core.turns.end();
        }
        drop(guard);
        // The next group may run while this one is made durable. It pays where it is long; a
        // short one had better wait, and grow by those who are answered after this sync.
        let handed_on = {
            let mut queue = self.queue();
            let is_long = queue.events >= OVERLAP_EVENTS;
            if is_long {
                queue.hand_on();
            }
            is_long
        };
        let rests_on = outcomes.iter().map(|outcome| outcome.rests_on).max().unwrap_or(0);
        let durable = shared.durability.ensure(rests_on);
        reach("after sync");
        shared.watch.publish(shared.durability.durable());
        for (slot, outcome) in group.iter().zip(outcomes) {
            let answer = match &durable {
                Err(error) if outcome.rests_on > shared.durability.durable() => Err(error.clone()),
                _ => outcome.answer,
            };
            slot.set(Turn::Answered(answer));
        }
        if !handed_on {
            self.queue().hand_on();
        }
        Ok(())
    }

    /// The core with SQLite's write lock, for a group.
    fn begin(&self, shared: &Shared, patience: &Patience) -> Result<CoreGuard<'_>> {
        // A leader that failed badly has closed the store to those in the queue behind it.
        shared.watch.check_open()?;
        if let Some(failure) = shared.durability.failure() {
            return Err(failure);
        }
        wait_for_log(shared, patience)?;
        let mut guard = self.core();
        let core = guard.open()?;
        core.turns.begin();
        begin_immediate(&core.connection, patience)?;
        Ok(guard)
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
                Err(error) if is_busy(&error) => drop(guard),
                Err(error) => return Err(from_sqlite(error)),
            }
            wait_for_lock(&patience)?;
        }
    }

    /// Takes requests from the queue, in order; the first of them whatever its size.
    fn take_group(&self) -> Vec<Arc<Slot>> {
        let mut queue = self.queue();
        let (mut group, mut events) = (Vec::new(), 0);
        while events < GROUP_EVENTS
            && let Some(slot) = queue.waiting.pop_front()
        {
            events += slot.events;
            queue.events -= slot.events;
            // Not `set`: its caller has nothing to do with this news.
            *slot.turn() = Turn::Taken;
            group.push(slot);
        }
        group
    }
}

/// The core, held.
pub struct CoreGuard<'a>(MutexGuard<'a, Option<Core>>);

impl CoreGuard<'_> {
    /// The core of a store that is not closed.
    pub fn open(&mut self) -> Result<&mut Core> {
        self.0.as_mut().ok_or_else(|| Error::new(Status::Closed, "the store is closed"))
    }
}

/// Waits while a reader of another process keeps the log from starting anew and it is at its
/// longest; maintenance goes on trying.
fn wait_for_log(shared: &Shared, patience: &Patience) -> Result<()> {
    while shared.log_held.load(Relaxed) {
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
fn begin_immediate(connection: &Connection, patience: &Patience) -> Result<()> {
    retry_busy(patience, || try_begin_immediate(connection))
}

fn try_begin_immediate(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
}

/// Commits the transaction.
pub fn commit(connection: &Connection) -> Result<()> {
    connection
        .prepare_cached("COMMIT")
        .and_then(|mut statement| statement.execute([]))
        .map(drop)
        .map_err(from_sqlite)
}

fn rollback(connection: &Connection) {
    if !connection.is_autocommit() {
        // If this fails, the next look at autocommit tells.
        let _ = connection.execute_batch("ROLLBACK");
    }
}

/// Runs the requests of a group in the transaction that has begun. If the database fails one of
/// them, it may have undone all: then each runs again, alone.
fn run(core: &mut Core, shared: &Shared, mut requests: Vec<Prepared>) -> Result<Vec<Outcome>> {
    let error = match attempt(core, shared, &mut requests) {
        Ok(outcomes) => return Ok(outcomes),
        Err(error) => error,
    };
    rollback(&core.connection);
    if requests.len() == 1 {
        return Ok(vec![Outcome::new(Err(error))]);
    }
    let mut outcomes = Vec::with_capacity(requests.len());
    for mut request in requests {
        let patience = shared.patience();
        let alone = begin_immediate(&core.connection, &patience)
            .and_then(|()| attempt(core, shared, std::slice::from_mut(&mut request)));
        rollback(&core.connection);
        outcomes.push(match alone {
            Ok(mut outcome) => outcome.remove(0),
            Err(error) => Outcome::new(Err(error)),
        });
    }
    Ok(outcomes)
}

/// Judges and stores the requests, in order, and commits. An error: the transaction is not to be
/// committed, and nothing of it is stored.
fn attempt(core: &mut Core, shared: &Shared, requests: &mut [Prepared]) -> Result<Vec<Outcome>> {
    let Core { connection, decoder, turns } = core;
    // For speed alone: where there is no room, the append finds out by itself.
    let _ = shared.make_room();
    let snapshot = Snapshot::take(connection).map_err(from_sqlite)?;
    let segments = shared.segments.at_version(connection, snapshot.version)?;
    segments.check(snapshot)?;
    let known = shared.tail.read(Generations::head);
    shared.tail.catch_up(connection, decoder, snapshot, segments.mark())?;
    if shared.own.begin(snapshot.head) {
        turns.others_seen = Some(Instant::now());
    }
    let view = View { connection, segments, tail: &shared.tail };
    let found = if has(Flaw::SkipCatchUp) { known } else { snapshot.head };
    let mut staged = Staged { view, decoder, found, head: snapshot.head, index: None };
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
    shared.own.committing(head);
    if let Err(error) = commit(connection) {
        shared.own.lost();
        return Err(error);
    }
    reach("after commit");
    shared.tail.extend(stored.iter().copied());
    shared.durability.note_written(head);
    shared.note_commit(stored.iter().flat_map(|filed| filed.events()));
    Ok(outcomes)
}

/// A transaction under way: what it found, and what it has added.
struct Staged<'a> {
    view: View<'a>,
    decoder: &'a mut Decoder,
    /// The head that the transaction found,
    found: i64,
    /// and where it is by now.
    head: i64,
    /// What the group has stored so far; a request alone needs none.
    index: Option<Index>,
}

impl Staged<'_> {
    /// Lets later requests see events that were stored; those added before are passed over.
    fn add(&mut self, filed: &Filed) {
        filed.add_to(self.index.get_or_insert_with(|| Index::new(self.found)));
    }

    fn judge(&mut self, request: &Prepared) -> Result<Verdict> {
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
    fn store(&mut self, request: &mut Prepared) -> Result<i64> {
        let head = self.head;
        let last = i64::try_from(request.len())
            .ok()
            .and_then(|len| head.checked_add(len))
            .ok_or_else(|| Error::new(Status::Full, "the store has no further positions"))?;
        request.filed.place(head, now_us());
        for (event, draft) in request.filed.sequenced().iter().zip(&request.drafts) {
            insert(self.view.connection, event, draft)?;
        }
        self.head = last;
        Ok(last)
    }
}

/// Microseconds since 1970; 0 where the clock stands before that.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
