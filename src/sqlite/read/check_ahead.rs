//! Checking the conditions of an append before its group runs.
//!
//! A group is checked and stored under SQLite's write lock. A condition that has to look at many
//! events there would hold up every other writer. Stored events do not change, so the events of a
//! read snapshot can be checked without the lock: under the lock, only the events above that
//! snapshot are left.
//!
//! This changes no answer. The condition keeps its query, and its `after` rises to a position up to
//! which no event matches. The lowest event that makes it fail stays the same.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::commit::deadline::{CallOptions, Deadline};
use crate::domain::{AppendCondition, Direction, EventView, PositionRange, Query};
use crate::error::{Result, Status};
use crate::failpoints::{SeededBug, has};
use crate::index::Progress;
use crate::position::Position;
use crate::sqlite::append::group::PreparedAppend;
use crate::sqlite::append::known_ids::KnownIds;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::index::limit::Limit;
use crate::sqlite::index::search::Search;
use crate::sqlite::index::view::View;
use crate::sqlite::read::MAX_TRANSACTION;
use crate::sqlite::read::pool::{ReadConnection, ReaderPool};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::StoreState;

/// How long a check ahead waits for a connection. If there is none, the group checks everything.
const CONNECTION_PATIENCE: Duration = Duration::from_millis(100);
/// A query of more items than this may be expensive whatever the items are.
const FEW_ITEMS: usize = 8;

/// How far one transaction has come with a condition.
struct Checked {
    /// No event at or below this position matches.
    through: Position,
    /// Whether every event of the snapshot was checked, or the lowest match was found.
    is_done: bool,
    /// The head of the snapshot.
    head: Position,
}

/// What is checked ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Conditions that are expensive by their look.
    Conditions,
    /// All ids and conditions. Their group gave the append back, because it would have had to read
    /// many events: the events of another name, if a hash of both is the same.
    Everything,
}

/// Checks an append on the events that are stored by now. The timeout of `call` bounds each wait for
/// a lock, not the whole check. Fails only if the call is cancelled or the store closed meanwhile.
/// After any other problem, the group checks what is left, and reports the problem if it persists.
pub fn check_ahead(
    shared: &StoreState,
    readers: &ReaderPool,
    append: &mut PreparedAppend,
    extent: Extent,
    call: &CallOptions,
) -> Result<()> {
    let patience = || -> Result<Deadline> {
        Ok(shared.start(call, shared.busy_timeout)?.at_most(CONNECTION_PATIENCE))
    };
    if extent == Extent::Everything {
        let mut ids = KnownIds::default();
        while ids.found.len() < append.len() && append.has_ids() {
            // A check may take longer than a wait may.
            if look_up_ids(shared, readers, append, &mut ids, &patience()?).is_err() {
                break;
            }
        }
        append.note_ids(ids);
    }
    // For a few items, events in memory are checked fast enough.
    let on_disk = shared.index.tail.read(|tail| tail.base());
    let mut highest = Position::START;
    for condition in append.conditions_mut() {
        let is_expensive = extent == Extent::Everything || may_be_expensive(condition.query());
        let is_in_memory = condition.after() >= on_disk && !has_many_items(condition.query());
        if is_in_memory || !is_expensive {
            continue;
        }
        loop {
            match check_some(shared, readers, condition, &patience()?) {
                Ok(Checked { through, is_done, head }) => {
                    condition.raise_after(through);
                    highest = highest.max(head);
                    if is_done {
                        break;
                    }
                }
                Err(error) if error.status == Status::Cancelled => return Err(error),
                Err(_) => break,
            }
        }
    }
    append.note_checked(highest);
    Ok(())
}

/// Looks up the next ids of an append in a snapshot, as many as one transaction may, and compares the
/// events that have them.
fn look_up_ids(
    shared: &StoreState,
    readers: &ReaderPool,
    append: &PreparedAppend,
    ids: &mut KnownIds,
    patience: &Deadline,
) -> Result<()> {
    let first = ids.found.len();
    let mut connection = ReadConnection::Own(readers.get(patience)?);
    let (head, found) =
        connection.read(&shared.checkpoints, patience, |source, reader, snapshot| {
            let until = Instant::now() + MAX_TRANSACTION;
            // Else the rows that no index covers would be read again for each id.
            let view = shared.view(source, reader, snapshot, snapshot.head)?;
            let all = PositionRange { after: Position::START, through: snapshot.head };
            let mut found = Vec::new();
            for event in append.events().skip(first) {
                let id = event.id().unwrap_or_default();
                let stored = |view: &EventView<'_>| Ok((view.position, view.is_same_as(event)));
                found.push(view.find(reader, id, all, Limit::default(), stored)?);
                if Instant::now() >= until {
                    break;
                }
            }
            Ok((snapshot.head, found))
        })?;
    ids.add(head, found);
    Ok(())
}

/// Returns the store as a snapshot has it.
fn view<'a>(
    shared: &'a StoreState,
    source: Source<'a>,
    snapshot: Snapshot,
) -> ReadResult<View<'a>> {
    let segments = shared.index.segments.at_version(source, snapshot.version)?;
    segments.check(snapshot)?;
    Ok(View { source, segments, tail: &shared.index.tail })
}

/// Returns whether a condition on this query may have to look at many events. For a single type or
/// tag, the first event of its list decides.
fn may_be_expensive(query: &Query) -> bool {
    query.items().is_some_and(|items| {
        let criteria = |tags: usize, has_types: bool| tags + usize::from(has_types);
        has_many_items(query)
            || items
                .iter()
                .any(|item| criteria(item.tags().iter().count(), !item.types().is_empty()) > 1)
    })
}

/// Returns whether a query has so many items that they are expensive together.
fn has_many_items(query: &Query) -> bool {
    query.items().is_some_and(|items| items.len() > FEW_ITEMS)
}

/// Checks the condition on the events of a snapshot, as many as one transaction may.
fn check_some(
    shared: &StoreState,
    readers: &ReaderPool,
    condition: &AppendCondition,
    patience: &Deadline,
) -> Result<Checked> {
    let mut connection = ReadConnection::Own(readers.get(patience)?);
    connection.read(&shared.checkpoints, patience, |source, reader, snapshot| {
        check_within(shared, source, reader, snapshot, condition)
    })
}

fn check_within(
    shared: &StoreState,
    source: Source<'_>,
    reader: &mut EventReader,
    snapshot: Snapshot,
    condition: &AppendCondition,
) -> ReadResult<Checked> {
    let view = view(shared, source, snapshot)?;
    let until = Instant::now() + MAX_TRANSACTION;
    let search = Search {
        query: condition.query(),
        range: PositionRange { after: condition.after(), through: snapshot.head },
        direction: Direction::Forward,
    };
    let mut found = None;
    let progress = view.search(reader, search, Some(until), &mut |event| {
        found = Some(event.position);
        Ok(ControlFlow::Break(()))
    })?;
    let head = snapshot.head;
    let (through, is_done) = match (found, progress) {
        // Under the lock, this event is the first to be looked at.
        (Some(lowest), _) => (lowest.previous(), true),
        (None, Progress::Reached(position)) => (position, false),
        (None, Progress::Exhausted) if has(SeededBug::CheckTooFar) => {
            (head.saturating_add(2), true)
        }
        (None, Progress::Exhausted) => (head, true),
    };
    Ok(Checked { through, is_done, head })
}
