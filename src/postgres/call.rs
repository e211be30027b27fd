//! The calls of the server's functions that append, and their answers.
//!
//! Most groups are of one request, and most requests of one event and at most one item of a condition.
//! For those there is the function `append_one`, which does what `append` does with less to set up.

use crate::commit::group_commit::Outcome;
use crate::domain::AppendCondition;
use crate::error::Result;
use crate::position::Position;
use crate::postgres::group::{Finding, PreparedAppend, contradiction, judge, plan};
use crate::postgres::history::AppendId;
use crate::postgres::values::{Row, Values};

/// A call of one of the functions, with its values.
pub enum Call {
    /// Of `append`.
    Group(Values),
    /// Of `append_one`.
    Single(Values),
}

/// Returns how many of the requests one call takes, and that call. At least one request is taken, and
/// at most `max`.
pub fn plan_call(
    requests: &mut [PreparedAppend],
    max: usize,
    may_be_single: bool,
    lock_ms: i32,
    append_ids: impl Fn(usize) -> AppendId,
) -> (usize, Call) {
    let is_alone = requests.len().min(max) == 1;
    if is_alone
        && may_be_single
        && let Some(values) = values_of_single(&requests[0], append_ids(0), lock_ms)
    {
        return (1, Call::Single(values));
    }
    let (count, values) = plan(requests, max, lock_ms, append_ids);
    (count, Call::Group(values))
}

/// Returns the outcomes of the requests of a call, in order, and the head.
pub fn outcomes(
    requests: &[PreparedAppend],
    rows: &[Row],
    is_single: bool,
) -> Result<(Vec<Outcome>, Position)> {
    match rows {
        [row] if is_single => judge(requests, findings_of_single(row)?.into_iter().map(Ok)),
        rows => judge(requests, rows.iter().map(Finding::of_row)),
    }
}

/// Returns the values of the call that appends a request, if it is one for that function.
fn values_of_single(request: &PreparedAppend, append_id: AppendId, lock_ms: i32) -> Option<Values> {
    let event = request.only_event()?;
    let (after, tags, types) = match request.conditions() {
        // No event is above that.
        [] => (Position::MAX, Vec::new(), Vec::new()),
        [condition] => {
            let (tags, types) = only_item(condition)?;
            (condition.after(), tags, types)
        }
        _ => return None,
    };
    let event_tags: Vec<&str> = event.tags().iter().collect();
    let mut values = Values::new();
    // Neither metadata nor an id is ever empty.
    values
        .uuid(append_id)
        .int(lock_ms)
        .text(event.event_type())
        .texts(&event_tags)
        .text(event.data())
        .text(event.metadata().unwrap_or_default())
        .text(event.id().unwrap_or_default())
        .position(after)
        .texts(&tags)
        .texts(&types);
    Some(values)
}

/// Returns the tags and the types of the item of a condition, if there is no other. A condition about
/// every event has an item without any.
fn only_item(condition: &AppendCondition) -> Option<(Vec<&str>, Vec<&str>)> {
    let query = condition.query();
    match query.items() {
        Some([item]) if !query.is_all() => {
            let tags = item.tags().iter().map(|tag| tag.text()).collect();
            Some((tags, item.types().iter().map(|own| own.text()).collect()))
        }
        Some(_) if !query.is_all() => None,
        _ => Some((Vec::new(), Vec::new())),
    }
}

/// Returns the findings of the function `append` that stand for an answer of `append_one`.
fn findings_of_single(row: &Row) -> Result<[Finding<'static>; 2]> {
    let [kind, position, head] = row.bigints(0)?;
    let position = Position::new(position).map_err(|_| contradiction())?;
    let head = Position::new(head).map_err(|_| contradiction())?;
    let own = |kind, place, is_same| Finding { request: 1, kind, position, place, is_same };
    let finding = match kind {
        0 => own("stored", 0, false),
        1 => own("failed", 0, false),
        2 => own("found", 1, true),
        3 => own("found", 1, false),
        _ => return Err(contradiction()),
    };
    Ok([finding, Finding { request: 0, kind: "head", position: head, place: 0, is_same: false }])
}
