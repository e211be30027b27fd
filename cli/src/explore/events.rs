//! Pages of events, and the details of one.

use dcb::{Direction, EventView, Query, Result};
use serde::Serialize;

use super::event_json::{Details, Summary};
use super::reading::{End, Reader, Wanted};

/// How many events a page has at most.
pub const MOST: usize = 200;
/// How many neighbours of an event are looked at in each direction.
const NEIGHBOURS: usize = 20;

/// A page of events.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    head: i64,
    events: Vec<Summary>,
    /// Whether the time was over before the page was full.
    is_cut: bool,
    /// The position at which the next page begins: exclusive, in the direction of the page.
    next: Option<i64>,
}

impl Page {
    /// Reads a page. Every event of it is also passed to `seen`.
    pub fn read(
        reader: &Reader<'_>,
        wanted: Wanted,
        seen: &dyn Fn(&EventView<'_>),
    ) -> Result<Self> {
        let mut events = Vec::new();
        let stopped = reader.read(wanted, &mut |event| {
            seen(event);
            events.push(Summary::of(event));
        })?;
        Ok(Page {
            head: reader.head()?,
            events,
            is_cut: stopped.end == End::Time,
            next: stopped.next,
        })
    }
}

/// An event with what is beside it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    head: i64,
    event: Details,
    /// The neighbours with the same time, in order of their positions. All events of an append have
    /// one time, and two appends have the same one only if they were accepted in the same
    /// microsecond.
    same_time: Vec<Summary>,
    /// Whether there are more of them.
    more_same_time: bool,
}

impl Event {
    /// Reads the event at `position`, if there is one.
    pub fn read(reader: &Reader<'_>, position: i64) -> Result<Option<Self>> {
        let mut details = None;
        reader.read_at(position, &mut |event| details = Some(Details::of(event)))?;
        let Some(details) = details else { return Ok(None) };
        let time = details.timestamp_us;
        let beside = |direction, after, before| -> Result<Vec<Summary>> {
            let mut found = Vec::new();
            let wanted =
                Wanted { query: Query::all(), after, before, limit: NEIGHBOURS, direction };
            reader.read(wanted, &mut |event| found.push(Summary::of(event)))?;
            let same = found.iter().take_while(|event| event.timestamp_us == time).count();
            found.truncate(same);
            Ok(found)
        };
        let mut same_time = beside(Direction::Backward, 0, Some(position))?;
        same_time.reverse();
        let following = beside(Direction::Forward, position, None)?;
        let more_same_time = same_time.len() == NEIGHBOURS || following.len() == NEIGHBOURS;
        same_time.extend(following);
        Ok(Some(Event { head: reader.head()?, event: details, same_time, more_same_time }))
    }
}

/// Returns the JSON text of the data, or of the metadata, of the event at `position`.
pub fn text(reader: &Reader<'_>, position: i64, is_metadata: bool) -> Result<Option<String>> {
    let mut text = None;
    reader.read_at(position, &mut |event| {
        let part = if is_metadata { event.metadata } else { Some(event.data) };
        text = part.map(str::to_owned);
    })?;
    Ok(text)
}
