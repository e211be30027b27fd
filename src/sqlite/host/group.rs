//! Running a group of appends on a connection of the host's.

use std::time::Duration;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::group_commit::Outcome;
use crate::error::{Error, Status};
use crate::sqlite::append::group::{PreparedAppend, attempt};
use crate::sqlite::append::turns::Turns;
use crate::sqlite::connection::transaction::begin_immediate;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::host::connection::HostConnection;
use crate::sqlite::state::StoreState;

/// How long the requests of a group that failed wait for locks, to run again.
const RERUN_PATIENCE: Duration = Duration::from_secs(1);

/// An append that waits for its group, and how long its call may take.
pub struct QueuedAppend {
    /// The request.
    pub prepared: PreparedAppend,
    /// The deadline of its call.
    pub deadline: Deadline,
}

/// Runs the requests of a group in the transaction that has begun, and returns an outcome for each.
///
/// A group waits for locks as long as every call of it allows. If it fails before its commit, or a
/// lock keeps the commit from happening, nothing of it is stored, and each request runs alone: what
/// was the matter with one of them is not the others'. They wait for locks for a second at most, all
/// together, since nobody can leave a group. If a commit fails in another way, it may have happened
/// in spite of that, and is not repeated.
pub fn run(
    connection: &HostConnection<'_>,
    reader: &mut EventReader,
    turns: &mut Turns,
    shared: &StoreState,
    group: Vec<QueuedAppend>,
    leader: &Deadline,
) -> Vec<Outcome> {
    let (mut requests, deadlines): (Vec<_>, Vec<_>) =
        group.into_iter().map(|queued| (queued.prepared, queued.deadline)).unzip();
    let shortest = deadlines.iter().filter_map(Deadline::left).min();
    let limit = shortest.map_or_else(|| leader.clone(), |left| leader.at_most(left));
    connection.limit(&limit);
    let failed = match attempt(connection, reader, turns, shared, &mut requests) {
        Ok(outcomes) => return outcomes,
        Err(error) => error,
    };
    connection.end();
    if requests.len() == 1 || connection.is_commit_in_doubt() {
        return vec![Outcome::new(Err(failed)); requests.len()];
    }
    let together = CallOptions::default().start(Some(RERUN_PATIENCE));
    let mut outcomes = Vec::with_capacity(requests.len());
    for (request, deadline) in requests.iter_mut().zip(&deadlines) {
        let one = std::slice::from_mut(request);
        let deadline = &deadline.at_most(together.left().unwrap_or_default());
        connection.limit(deadline);
        let alone = begin_immediate(connection, deadline)
            .and_then(|()| attempt(connection, reader, turns, shared, one))
            .and_then(|mut outcomes| outcomes.pop().ok_or_else(no_outcome));
        connection.end();
        outcomes.push(alone.unwrap_or_else(|error| Outcome::new(Err(error))));
    }
    outcomes
}

fn no_outcome() -> Error {
    Error::new(Status::Internal, "internal error: an append has no outcome")
}
