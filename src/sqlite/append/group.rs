//! A group of appends in one transaction: each request is judged with those before it already in.

use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::now_us;
use crate::commit::Appended;
use crate::commit::group_commit::Outcome;
use crate::domain::{
    AppendCondition, AppendRequest, PositionRange, Query, Verdict, check_conditions, check_ids,
};
use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, crash_point, has};
use crate::index::{Index, PreparedEvents};
use crate::sqlite::append::connection::WriterConnection;
use crate::sqlite::append::turns::Turns;
use crate::sqlite::connection::transaction::{begin_immediate, commit, rollback};
use crate::sqlite::events::checksum::{Checksums, checksums};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::Source;
use crate::sqlite::events::write::insert;
use crate::sqlite::index::tail::{Generations, Tail};
use crate::sqlite::index::view::View;
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::StoreState;

/// How long the requests of a group that failed wait for SQLite's lock to run again.
const RERUN_PATIENCE: Duration = Duration::from_secs(1);

/// A request with all that can be made of it before its turn.
#[derive(Debug)]
pub struct PreparedAppend {
    filed: PreparedEvents,
    checksums: Checksums,
    conditions: SmallVec<[AppendCondition; 1]>,
}

impl PreparedAppend {
    /// Of a request; `no_memory`.
    pub fn new(request: AppendRequest) -> Result<Self> {
        let (events, conditions) = request.into_parts();
        let checksums = checksums(&events);
        Ok(PreparedAppend { filed: PreparedEvents::new(events)?, checksums, conditions })
    }

    pub fn len(&self) -> usize {
        self.checksums.len()
    }
}

/// Runs the requests of a group in the transaction that has begun. If the database fails one of
/// them, it may have undone all: then each runs again, alone. For the lock, which another process
/// may have meanwhile, they all together wait for a second at most, since nobody can leave a group.
pub fn run(
    core: &mut WriterConnection,
    shared: &StoreState,
    mut requests: Vec<PreparedAppend>,
) -> Result<Vec<Outcome>> {
    let WriterConnection { connection, decoder, turns } = core;
    let error = match attempt(&*connection, decoder, turns, shared, &mut requests) {
        Ok(outcomes) => return Ok(outcomes),
        Err(error) => error,
    };
    rollback(connection);
    if error.status == Status::Full {
        // A checkpoint may need it, which makes the log short again.
        let _ = shared.give_back_room(connection);
        shared.maintenance_signal.wake();
    }
    if requests.len() == 1 {
        return Ok(vec![Outcome::new(Err(error))]);
    }
    let mut outcomes = Vec::with_capacity(requests.len());
    let deadline = shared.deadline().at_most(RERUN_PATIENCE);
    for mut request in requests {
        let alone = begin_immediate(connection, &deadline).and_then(|()| {
            attempt(&*connection, decoder, turns, shared, std::slice::from_mut(&mut request))
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
pub fn attempt<'s>(
    source: impl Into<Source<'s>>,
    decoder: &mut EventReader,
    turns: &mut Turns,
    shared: &StoreState,
    requests: &mut [PreparedAppend],
) -> Result<Vec<Outcome>> {
    let source = source.into();
    let connection = source.sql()?;
    // For speed alone: where there is no room, the append finds out by itself.
    let _ = shared.make_room();
    let snapshot = Snapshot::take(connection)?;
    let segments = shared.segments.at_version(source, snapshot.version)?;
    segments.check(snapshot)?;
    let known = check_tail(&shared.tail, snapshot)?;
    shared.tail.catch_up(source, decoder, snapshot, segments.indexed())?;
    if shared.own.begin(snapshot.head) {
        turns.note_others();
    }
    let view = View { source, segments, tail: &shared.tail };
    let found = if has(SeededBug::SkipCatchUp) { known } else { snapshot.head };
    let mut staged = Staged { head: snapshot.head, ..Staged::new(view, decoder, found) };
    let mut stored: Vec<&PreparedEvents> = Vec::new();
    let mut outcomes = Vec::with_capacity(requests.len());
    for request in requests {
        if let Some(last) = stored.last() {
            staged.add(last);
        }
        let answer = match staged.check(request) {
            Ok(Verdict::Repeated(last)) => Ok(Appended::repeated(last)),
            Ok(Verdict::New) => {
                let last = staged.store(request)?;
                stored.push(&request.filed);
                Ok(Appended::new(last))
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
    crash_point("before commit");
    shared.own.commit(head, || commit(connection))?;
    crash_point("after commit");
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
    decoder: &'a mut EventReader,
    /// The head that the transaction found,
    found: i64,
    /// and where it is by now.
    head: i64,
    /// What the group has stored so far; a request alone needs none.
    index: Option<Index>,
}

impl<'a> Staged<'a> {
    /// A transaction that has found this head, and has added nothing.
    pub fn new(view: View<'a>, decoder: &'a mut EventReader, found: i64) -> Self {
        Staged { view, decoder, found, head: found, index: None }
    }

    /// Lets later requests see events that were stored; those added before are passed over.
    fn add(&mut self, filed: &PreparedEvents) {
        filed.add_to(self.index.get_or_insert_with(|| Index::new(self.found)));
    }

    /// What the ids and the conditions say; a refusal is an error.
    pub fn check(&mut self, request: &PreparedAppend) -> Result<Verdict> {
        let Staged { view, decoder, found, index, .. } = self;
        let index = index.as_ref().filter(|_| !has(SeededBug::ForgetGroup));
        // Both closures look things up with the one decoder.
        let decoder = std::cell::RefCell::new(&mut **decoder);
        let verdict = check_ids(
            request.filed.events(),
            |id| match index.and_then(|index| index.position_of_id(id)) {
                Some(position) => Ok(Some(position)),
                None => Ok(view.position_of_id(&mut decoder.borrow_mut(), id, *found)?),
            },
            |position, event| match index.and_then(|index| index.get(position)) {
                Some(stored) => Ok(stored.event == *event),
                None => Ok(view.is_same(&mut decoder.borrow_mut(), position, event)?),
            },
        )?;
        if verdict == Verdict::New {
            let decoder = decoder.into_inner();
            check_conditions(&request.conditions, |query: &Query, span: PositionRange| {
                let below = PositionRange { after: span.after, through: span.through.min(*found) };
                let first = view.first_match(decoder, query, below)?;
                Ok(first.or_else(|| index.and_then(|index| index.first_match(query, span))))
            })?;
        }
        Ok(verdict)
    }

    /// Stores the events of the request; gives the position of the last.
    pub fn store(&mut self, request: &mut PreparedAppend) -> Result<i64> {
        let head = self.head;
        let last = i64::try_from(request.len())
            .ok()
            .and_then(|len| head.checked_add(len))
            .ok_or_else(|| Error::new(Status::Full, "the store has no further positions"))?;
        request.filed.place(head, now_us());
        insert(self.view.source.sql()?, request.filed.sequenced(), &request.checksums)?;
        self.head = last;
        Ok(last)
    }
}
