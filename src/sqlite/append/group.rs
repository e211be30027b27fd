//! Running a group of appends in one transaction.
//!
//! Invariant: each request is checked as if the requests before it in the group were stored
//! already. The transaction holds SQLite's write lock.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::now_us;
use crate::commit::Appended;
use crate::commit::group_commit::Outcome;
use crate::domain::{
    AppendCondition, AppendRequest, Event, PositionRange, Query, SequencedEvent, Verdict,
    check_conditions, check_ids,
};
use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, crash_point, has};
use crate::index::{Index, PreparedEvents};
use crate::position::Position;
use crate::sqlite::append::connection::WriterConnection;
use crate::sqlite::append::known_ids::KnownIds;
use crate::sqlite::append::turns::Turns;
use crate::sqlite::connection::transaction::{begin_immediate, commit, rollback};
use crate::sqlite::events::checksum::{Checksums, checksums};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::{ReadStop, Source};
use crate::sqlite::events::write::insert;
use crate::sqlite::index::limit::Work;
use crate::sqlite::index::tail::{Generations, Tail};
use crate::sqlite::index::view::View;
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::StoreState;
use crate::sqlite::wal::wal_index::LogMark;

/// How long the requests of a group that failed wait for SQLite's lock to run again.
const RERUN_PATIENCE: Duration = Duration::from_secs(1);

impl StoreState {
    /// Prepares a request, before any lock is taken, and refuses timestamps where the store sets
    /// them.
    pub fn prepare(&self, request: AppendRequest) -> Result<PreparedAppend> {
        if !self.import {
            request.expect_no_timestamps()?;
        }
        PreparedAppend::new(request)
    }
}

/// A request with all that can be made of it before its turn.
#[derive(Debug)]
pub struct PreparedAppend {
    prepared: PreparedEvents,
    checksums: Checksums,
    conditions: SmallVec<[AppendCondition; 1]>,
    /// The highest head of a snapshot in which conditions were checked already, or
    /// [`Position::START`] if none was.
    checked_to: Position,
    /// What is known of the events' ids.
    ids: KnownIds,
    /// Where the request is given back if its check would hold up the group. Without it, the group
    /// checks everything.
    given_back: Option<GivenBack>,
}

/// The place of a request that a group gives back to its caller unchecked.
pub type GivenBack = Arc<Mutex<Option<PreparedAppend>>>;

/// The work of a check that a group does for a request that can be given back: far more than
/// a check needs whose first candidates decide, and less than a millisecond.
const MAX_WORK: u64 = if cfg!(test) { 16 } else { 256 };

impl PreparedAppend {
    /// Prepares a request, before any lock is taken. Fails with `no_memory`.
    pub fn new(request: AppendRequest) -> Result<Self> {
        let (events, conditions) = request.into_parts();
        let checksums = checksums(&events);
        let prepared = PreparedEvents::new(events)?;
        let (checked_to, ids) = (Position::START, KnownIds::default());
        Ok(PreparedAppend { prepared, checksums, conditions, checked_to, ids, given_back: None })
    }

    /// Returns the events.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.prepared.events()
    }

    /// Notes what is known of the events' ids.
    pub fn note_ids(&mut self, ids: KnownIds) {
        self.note_checked(ids.head);
        self.ids = ids;
    }

    /// Returns whether the events have ids.
    pub fn has_ids(&self) -> bool {
        self.events().next().is_some_and(|event| event.id().is_some())
    }

    /// Lets the group give the request back, and returns the place for it. Returns `None` if there
    /// is nothing to check.
    pub fn returnable(&mut self) -> Option<GivenBack> {
        (self.has_ids() || !self.conditions.is_empty())
            .then(|| Arc::clone(self.given_back.insert(GivenBack::default())))
    }

    /// Returns the conditions, which may be checked in part before the group runs.
    pub fn conditions_mut(&mut self) -> impl Iterator<Item = &mut AppendCondition> {
        self.conditions.iter_mut()
    }

    /// Notes that conditions were checked in a snapshot with this head.
    pub fn note_checked(&mut self, head: Position) {
        self.checked_to = self.checked_to.max(head);
    }

    /// Returns how many events the request has.
    pub fn len(&self) -> usize {
        self.checksums.len()
    }

    /// Returns the events, each with the checksum of its texts.
    fn rows(&self) -> impl Iterator<Item = (&Arc<SequencedEvent>, &u32)> {
        self.prepared.sequenced().iter().zip(&self.checksums)
    }

    /// Adds its events, which are stored, to an index that ends where they begin.
    pub fn add_to(&self, index: &mut Index) {
        self.prepared.add_to(index);
    }
}

/// Runs the requests of a group in the transaction that has begun. If the database fails one of
/// them, it may have undone all: then each runs again, alone. For the lock, which another process
/// may have meanwhile, they all together wait for a second at most, since nobody can leave a group.
pub fn run(
    writer: &mut WriterConnection,
    shared: &StoreState,
    mut requests: Vec<PreparedAppend>,
) -> Result<Vec<Outcome>> {
    let WriterConnection { connection, reader, turns } = writer;
    let error = match attempt(&*connection, reader, turns, shared, &mut requests) {
        Ok(outcomes) => {
            give_back(requests, &outcomes);
            return Ok(outcomes);
        }
        Err(error) => error,
    };
    rollback(connection);
    if error.status == Status::Full {
        // A checkpoint may need it, which makes the log short again.
        let _ = shared.checkpoints.give_back_room(connection);
        shared.maintenance_signal.wake();
    }
    if requests.len() == 1 {
        return Ok(vec![Outcome::new(Err(error))]);
    }
    let mut outcomes = Vec::with_capacity(requests.len());
    let deadline = shared.deadline().at_most(RERUN_PATIENCE);
    for mut request in requests {
        let alone = begin_immediate(connection, &deadline).and_then(|()| {
            attempt(&*connection, reader, turns, shared, std::slice::from_mut(&mut request))
        });
        rollback(connection);
        let outcome = match alone {
            Ok(mut outcome) => outcome.remove(0),
            Err(error) => Outcome::new(Err(error)),
        };
        give_back(vec![request], std::slice::from_ref(&outcome));
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Gives the requests back to their callers whose checks were stopped.
fn give_back(requests: Vec<PreparedAppend>, outcomes: &[Outcome]) {
    for (mut request, outcome) in requests.into_iter().zip(outcomes) {
        if let Err(error) = &outcome.answer
            && error.status == Status::Internal
            && *error == too_much_work()
            && let Some(place) = request.given_back.take()
        {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
        }
    }
}

/// Returns the answer to a request that is given back. Its caller replaces it.
fn too_much_work() -> Error {
    ReadStop::TooMuchWork.into()
}

/// Checks and stores the requests, in order, and commits. After an error the caller must roll the
/// transaction back; nothing of it is stored.
pub fn attempt<'s>(
    source: impl Into<Source<'s>>,
    reader: &mut EventReader,
    turns: &mut Turns,
    shared: &StoreState,
    requests: &mut [PreparedAppend],
) -> Result<Vec<Outcome>> {
    let source = source.into();
    let connection = source.sql()?;
    // This is only an optimization. If the disk is full, the append itself fails.
    let _ = shared.checkpoints.make_room();
    let log = source.own().and_then(LogMark::of);
    let snapshot = match log.and_then(|log| shared.snapshots.at(log.header())) {
        Some(snapshot) => snapshot,
        None => {
            let snapshot = Snapshot::take(connection)?;
            if let Some((own, log)) = source.own().zip(log) {
                let cookie = Snapshot::schema_cookie(connection);
                shared.snapshots.note(own, log.header(), snapshot, cookie);
            }
            snapshot
        }
    };
    let segments = shared.index.segments.at_version(source, snapshot.version)?;
    segments.check(snapshot)?;
    let known = check_tail(&shared.index.tail, snapshot)?;
    shared.index.tail.catch_up(source, reader, snapshot, segments.indexed())?;
    if shared.commits.own.begin(snapshot.head) {
        turns.note_others();
    }
    let view = View { source, segments, tail: &shared.index.tail };
    let found = if has(SeededBug::SkipCatchUp) { known } else { snapshot.head };
    let mut staged = Staged { head: snapshot.head, ..Staged::new(view, reader, found) };
    let mut stored: Vec<&PreparedAppend> = Vec::new();
    let mut outcomes = Vec::with_capacity(requests.len());
    for request in requests {
        if let Some(last) = stored.last() {
            staged.add(&last.prepared);
        }
        let answer = match staged.check(request) {
            Ok(Verdict::Repeated(last)) => Ok(Appended::repeated(last)),
            Ok(Verdict::New) => {
                let last = staged.place(request)?;
                stored.push(request);
                Ok(Appended::new(last))
            }
            Err(error) => Err(error),
        };
        if connection.is_autocommit() {
            return Err(answer.err().unwrap_or_else(|| {
                Error::new(Status::Io, "the database rolled back the transaction by itself")
            }));
        }
        let mut outcome = Outcome::new(answer);
        if matches!(&outcome.answer, Err(error) if error.status == Status::DuplicateId) {
            // The error names the first stored id that was found, but a later event may be its
            // cause.
            outcome.rests_on = staged.head;
        }
        outcomes.push(outcome);
    }
    if stored.is_empty() {
        rollback(connection);
        return Ok(outcomes);
    }
    let head = staged.head;
    // The group's rows are written together. Its requests look for each other's events in memory.
    insert(connection, stored.iter().flat_map(|request| request.rows()))?;
    crash_point("before commit");
    shared.commits.own.commit(head, || commit(connection))?;
    crash_point("after commit");
    shared.index.tail.extend(stored.iter().map(|request| &request.prepared));
    // Reads in the new snapshot find its events in the tail.
    if let Some((connection, log)) = source.own().zip(log) {
        shared.snapshots.note_commit(connection, log, Snapshot { head, ..snapshot });
    }
    shared.commits.durability.note_written(head);
    shared.note_commit(stored.iter().map(|request| request.prepared.footprint()).sum());
    Ok(outcomes)
}

/// Returns the position of the newest event in memory. Fails if a transaction with the write lock
/// does not find that event in the database.
pub fn check_tail(tail: &Tail, snapshot: Snapshot) -> Result<Position> {
    let known = tail.read(Generations::head);
    if known <= snapshot.head {
        return Ok(known);
    }
    Err(lost_events())
}

/// Returns the error for a database that holds fewer events than this process has seen in it.
/// Conditions would be checked against events that are gone, and not against those in their place.
fn lost_events() -> Error {
    Error::new(
        Status::Corrupt,
        "the database has lost events since the store was opened: close the store and open it again",
    )
}

/// A write transaction in progress, with the events that its group has stored so far.
pub struct Staged<'a> {
    view: View<'a>,
    reader: &'a mut EventReader,
    /// The head that the transaction found when it began.
    found: Position,
    /// The head with the events that the group has stored.
    head: Position,
    /// The events that the group has stored; `None` until a second request needs them.
    index: Option<Index>,
}

impl<'a> Staged<'a> {
    /// Creates the state of a transaction that found this head and has stored nothing.
    pub fn new(view: View<'a>, reader: &'a mut EventReader, found: Position) -> Self {
        Staged { view, reader, found, head: found, index: None }
    }

    /// Creates the state of a transaction that sees events up to `head`, of which the view shows
    /// those below the index.
    pub fn over(view: View<'a>, reader: &'a mut EventReader, index: Index, head: Position) -> Self {
        Staged { view, reader, found: index.base(), head, index: Some(index) }
    }

    /// Returns the index that it was created with.
    pub fn into_index(self) -> Option<Index> {
        self.index
    }

    /// Makes stored events visible to the requests after them. Events added before are skipped.
    fn add(&mut self, prepared: &PreparedEvents) {
        prepared.add_to(self.index.get_or_insert_with(|| Index::new(self.found)));
    }

    /// Checks the ids and the conditions of the request. A rejected request is an error.
    pub fn check(&mut self, request: &PreparedAppend) -> Result<Verdict> {
        let Staged { view, reader, found, index, .. } = self;
        let work = request.given_back.as_ref().map(|_| Work::new(MAX_WORK));
        let work = work.as_ref();
        if request.checked_to > *found {
            return Err(lost_events());
        }
        let index = index.as_ref().filter(|_| !has(SeededBug::ForgetGroup));
        // Both closures use the one reader.
        let reader = RefCell::new(&mut **reader);
        let all = PositionRange { after: Position::START, through: *found };
        let above = PositionRange { after: request.ids.through, ..all };
        // For each event, its id is looked up first, and then the event is compared.
        let (mut known, is_known_same) = (request.ids.found.iter(), Cell::new(None));
        let verdict = check_ids(
            request.prepared.events(),
            |id| {
                let (span, known) = known.next().map_or((all, None), |known| (above, *known));
                is_known_same.set(known.map(|(_, is_same)| is_same));
                let known = known.map(|(position, _)| position);
                match known.or_else(|| index.and_then(|index| index.position_of_id(id))) {
                    Some(position) => Ok(Some(position)),
                    None => Ok(view.position_of_id(&mut reader.borrow_mut(), id, span, work)?),
                }
            },
            |position, event| match index.and_then(|index| index.get(position)) {
                Some(stored) => Ok(stored.event == *event),
                None => match is_known_same.get() {
                    Some(is_same) => Ok(is_same),
                    None => Ok(view.is_same(&mut reader.borrow_mut(), position, event)?),
                },
            },
        )?;
        if verdict == Verdict::New {
            let reader = reader.into_inner();
            check_conditions(&request.conditions, |query: &Query, span: PositionRange| {
                let below = PositionRange { after: span.after, through: span.through.min(*found) };
                let first = view.first_match(reader, query, below, work)?;
                Ok(first.or_else(|| index.and_then(|index| index.first_match(query, span))))
            })?;
        }
        Ok(verdict)
    }

    /// Stores the events of the request and returns the position of the last one.
    pub fn store(&mut self, request: &mut PreparedAppend) -> Result<Position> {
        let last = self.place(request)?;
        insert(self.view.source.sql()?, request.rows())?;
        Ok(last)
    }

    /// Assigns the next positions to the events of the request, which are still to be inserted, and
    /// returns the last one.
    fn place(&mut self, request: &mut PreparedAppend) -> Result<Position> {
        let head = self.head;
        let last = head
            .checked_add(request.len() as u64)
            .ok_or_else(|| Error::new(Status::Full, "the store is full: no positions are left"))?;
        request.prepared.place(head, now_us());
        self.head = last;
        Ok(last)
    }
}
