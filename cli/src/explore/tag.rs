//! What the newest events with a tag tell about it: their types over time, and the tags beside it.

use std::collections::HashMap;

use dcb::{Direction, Result};
use serde::Serialize;

use super::names::Counted;
use super::query;
use super::reading::{End, Reader, Wanted};
use super::sample::{count, counted};

/// How many events are examined at most.
const MOST: usize = 5_000;
/// How many other tags are shown.
const SHOWN: usize = 40;
/// How many types are shown over time. The others are one more.
const SHOWN_TYPES: usize = 6;
/// The number of intervals in which the time is divided.
const INTERVALS: usize = 24;

/// A tag, by its newest events.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AboutTag {
    /// The number of events that were examined.
    examined: usize,
    /// Whether these are all events with the tag.
    is_whole: bool,
    oldest_us: Option<i64>,
    newest_us: Option<i64>,
    oldest_position: Option<i64>,
    newest_position: Option<i64>,
    types: Vec<Counted>,
    tags: Vec<Counted>,
    more_tags: usize,
    over_time: Option<OverTime>,
}

/// How many events of each type there were in each of a row of equal intervals.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OverTime {
    start_us: i64,
    interval_us: i64,
    series: Vec<Series>,
}

#[derive(Serialize)]
struct Series {
    /// The type, or nothing for all types that have no series of their own.
    name: Option<String>,
    counts: Vec<u64>,
}

impl AboutTag {
    /// Reads the newest events with `tag`.
    pub fn of(reader: &Reader<'_>, tag: &str) -> Result<Self> {
        let (mut types, mut tags) = (HashMap::new(), HashMap::new());
        // Positions, times and types; the newest event comes first.
        let mut events: Vec<(i64, i64, String)> = Vec::new();
        let wanted = Wanted {
            query: query::tagged(tag)?,
            after: 0,
            before: None,
            limit: MOST,
            direction: Direction::Backward,
        };
        let stopped = reader.read(wanted, &mut |event| {
            count(&mut types, event.event_type);
            event.tags.iter().filter(|other| *other != tag).for_each(|tag| count(&mut tags, tag));
            events.push((event.position.get(), event.timestamp_us, event.event_type.to_owned()));
        })?;
        let (newest, oldest) = (events.first(), events.last());
        let ranked = counted(&types, usize::MAX);
        Ok(AboutTag {
            examined: events.len(),
            is_whole: stopped.end == End::Complete,
            oldest_us: oldest.map(|event| event.1),
            newest_us: newest.map(|event| event.1),
            oldest_position: oldest.map(|event| event.0),
            newest_position: newest.map(|event| event.0),
            over_time: over_time(&events, &ranked),
            types: ranked.into_iter().take(SHOWN).collect(),
            more_tags: tags.len().saturating_sub(SHOWN),
            tags: counted(&tags, SHOWN),
        })
    }
}

fn over_time(events: &[(i64, i64, String)], ranked: &[Counted]) -> Option<OverTime> {
    let times = || events.iter().map(|event| event.1);
    let (start_us, end_us) = (times().min()?, times().max()?);
    let intervals = INTERVALS as i64;
    let interval_us = (end_us - start_us + 1 + intervals - 1) / intervals;
    let shown = &ranked[..ranked.len().min(SHOWN_TYPES)];
    let mut series: Vec<Series> = shown
        .iter()
        .map(|counted| Series { name: Some(counted.name.clone()), counts: vec![0; INTERVALS] })
        .collect();
    if ranked.len() > shown.len() {
        series.push(Series { name: None, counts: vec![0; INTERVALS] });
    }
    for (_, time, event_type) in events {
        let index = shown.iter().position(|counted| counted.name == *event_type);
        let interval = usize::try_from((time - start_us) / interval_us).unwrap_or(0);
        series[index.unwrap_or(shown.len())].counts[interval] += 1;
    }
    Some(OverTime { start_us, interval_us, series })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_in_one_interval_of_one_series() {
        let mut types = HashMap::new();
        let events: Vec<_> = (0..1_000)
            .map(|index: i64| {
                let name = format!("T{}", index % 9);
                count(&mut types, &name);
                (index + 1, index * 7, name)
            })
            .collect();
        let found = over_time(&events, &counted(&types, usize::MAX)).unwrap();
        assert_eq!(found.series.len(), SHOWN_TYPES + 1);
        let total: u64 = found.series.iter().flat_map(|series| &series.counts).sum();
        assert_eq!(total, 1_000);
        assert!(over_time(&[], &[]).is_none());
        let one = over_time(&events[..1], &counted(&types, 1)).unwrap();
        assert_eq!(one.interval_us, 1);
    }
}
