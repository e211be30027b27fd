//! Reading a store that may be damaged, from end to end.

use dcb::{CallOptions, Direction, EventView, Position, Query, ReadRequest, Status, Store};

use crate::exit::Failure;
use crate::store;

/// Positions whose events cannot be read, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first of the positions.
    pub first: i64,
    /// The last of the positions.
    pub last: i64,
    /// What the store says about the first of them.
    pub reason: String,
}

/// Delivers every event that can be read, in order, up to and including the position `head`. Returns
/// the gaps between them.
pub fn scan(
    store: &dyn Store,
    head: i64,
    mut each: impl FnMut(&EventView<'_>) -> Result<(), Failure>,
) -> Result<Vec<Gap>, Failure> {
    let mut gaps = Vec::new();
    let mut reached = 0;
    while reached < head {
        let request = range(reached, head);
        let mut last = reached;
        let mut hole = None;
        let read = store::try_for_each(store, request, &CallOptions::default(), |event| {
            if event.position.get() != last + 1 {
                hole = Some(event.position);
                return Ok(false);
            }
            each(event)?;
            last += 1;
            Ok(true)
        })?;
        reached = last;
        let reason = match (read, hole) {
            (Err(error), _) if !is_damage(error.status) => return Err(error.into()),
            (Err(error), _) => error.message.into_owned(),
            (Ok(_), Some(_)) => "the event is missing".to_owned(),
            (Ok(_), None) if reached < head => "the event is missing".to_owned(),
            (Ok(_), None) => break,
        };
        let next = next_readable(store, reached + 1, head)?;
        gaps.push(Gap { first: reached + 1, last: next - 1, reason });
        reached = next - 1;
    }
    Ok(gaps)
}

/// Returns the request for the events above `after`, up to and including `through`.
fn range(after: i64, through: i64) -> ReadRequest {
    let before = Some(Position::clamped(through).next());
    ReadRequest::new(Query::all(), Position::clamped(after), before, None, Direction::Forward)
}

/// Whether a status tells that what is stored is damaged.
fn is_damage(status: Status) -> bool {
    matches!(status, Status::Corrupt | Status::Io)
}

/// How many events are tried one by one before larger steps are made.
const ONE_BY_ONE: i64 = 1_024;

/// Returns the lowest position above `bad` whose event can be read, or `head` + 1. Where many events
/// in a row cannot be read, some between two of them may be overlooked.
fn next_readable(store: &dyn Store, bad: i64, head: i64) -> Result<i64, Failure> {
    let (mut low, mut step) = (bad, 1);
    while low < head {
        let probe = low.saturating_add(step).min(head);
        if is_readable(store, probe)? {
            let (mut low, mut high) = (low, probe);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                match is_readable(store, middle)? {
                    true => high = middle,
                    false => low = middle,
                }
            }
            return Ok(high);
        }
        low = probe;
        if low - bad > ONE_BY_ONE {
            step = step.saturating_mul(2);
        }
    }
    Ok(head.saturating_add(1))
}

fn is_readable(store: &dyn Store, position: i64) -> Result<bool, Failure> {
    let request = range(position - 1, position);
    let mut is_found = false;
    let read = store::try_for_each(store, request, &CallOptions::default(), |event| {
        is_found = event.position.get() == position;
        Ok(true)
    })?;
    match read {
        Ok(_) => Ok(is_found),
        Err(error) if is_damage(error.status) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
