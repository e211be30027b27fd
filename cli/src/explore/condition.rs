//! What an append condition would see: the events that would make the append fail.

use dcb::{Direction, Query, Result};
use serde::Serialize;

use super::event_json::Summary;
use super::reading::{End, Reader, Wanted};

/// How many events that fail the condition are shown.
const SHOWN: usize = 100;
/// How many events that the caller knows are shown.
const KNOWN: usize = 10;

/// A condition, judged on the store as it is now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    head: i64,
    /// Whether an append with the condition fails, or nothing if the time was too short to tell.
    fails: Option<bool>,
    /// The events above `after` that match, the oldest first. The first one is the one that the
    /// error would name.
    failing: Vec<Summary>,
    /// Where the search for more of them goes on, if there may be more.
    next: Option<i64>,
    /// The newest events at or below `after` that match, the newest first. They do not count.
    known: Vec<Summary>,
    more_known: bool,
}

impl Verdict {
    /// Judges the condition that no event above `after` matches `query`.
    pub fn on(reader: &Reader<'_>, query: Query, after: i64) -> Result<Self> {
        let mut failing = Vec::new();
        let wanted = Wanted {
            query: query.clone(),
            after,
            before: None,
            limit: SHOWN,
            direction: Direction::Forward,
        };
        let stopped = reader.read(wanted, &mut |event| failing.push(Summary::of(event)))?;
        let mut known = Vec::new();
        let wanted = Wanted {
            query,
            after: 0,
            before: Some(after.saturating_add(1)),
            limit: KNOWN,
            direction: Direction::Backward,
        };
        let stopped_known = reader.read(wanted, &mut |event| known.push(Summary::of(event)))?;
        Ok(Verdict {
            head: reader.head()?,
            fails: match stopped.end {
                End::Time if failing.is_empty() => None,
                _ => Some(!failing.is_empty()),
            },
            failing,
            next: stopped.next,
            known,
            more_known: stopped_known.end != End::Complete,
        })
    }
}
