//! How many events a store accepted over time.
//!
//! Positions have no gaps, so the number of events between two times is the difference of two
//! positions. A binary search finds each of them, and no more than some hundreds of events are read
//! however many there are. It relies on timestamps that do not decrease with the position, which
//! holds unless the clock was set back.

use dcb::Result;
use serde::Serialize;

use super::reading::Reader;

/// The number of intervals in which the time is divided.
const INTERVALS: i64 = 48;

/// The number of events in each of a row of equal intervals.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// The time at which the first interval begins.
    start_us: i64,
    interval_us: i64,
    counts: Vec<i64>,
}

/// Returns the time of the event at `position`.
pub fn time_at(reader: &Reader<'_>, position: i64) -> Result<Option<i64>> {
    let mut time = None;
    reader.read_at(position, &mut |event| time = Some(event.timestamp_us))?;
    Ok(time)
}

impl Rate {
    /// Counts the events from `first_us`, the time of the event after position `before`, to
    /// `last_us`, the time of the event at position `head`. Returns `None` if the time for the
    /// request is over.
    pub fn between(
        reader: &Reader<'_>,
        (before, first_us): (i64, i64),
        (head, last_us): (i64, i64),
    ) -> Result<Option<Self>> {
        let span = last_us.saturating_sub(first_us).max(0) + 1;
        let interval_us = span / INTERVALS + i64::from(span % INTERVALS != 0);
        let mut counts = Vec::new();
        let mut reached = before;
        for index in 1..=INTERVALS {
            let end = first_us + interval_us * index;
            let through = if end > last_us {
                head
            } else {
                match last_before(reader, (reached, head), end)? {
                    Some(position) => position,
                    None => return Ok(None),
                }
            };
            counts.push(through - reached);
            reached = through;
            if end > last_us {
                break;
            }
        }
        Ok(Some(Rate { start_us: first_us, interval_us, counts }))
    }
}

/// Returns the last position, from `low` to `high`, whose event is older than `time_us`. The event
/// at `low` counts as older.
pub fn last_before(
    reader: &Reader<'_>,
    (mut low, mut high): (i64, i64),
    time_us: i64,
) -> Result<Option<i64>> {
    while low < high {
        let middle = low + (high - low + 1) / 2;
        match time_at(reader, middle)? {
            None => return Ok(None),
            Some(time) if time < time_us => low = middle,
            Some(_) => high = middle - 1,
        }
    }
    Ok(Some(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dcb::{
        AppendRequest, CallOptions, CancelToken, Direction, EventBuilder, EventType, Options,
        ReadRequest,
    };

    /// A store with bursts of events, and the times of all.
    fn store() -> (std::sync::Arc<dyn dcb::Store>, Vec<i64>) {
        let store = dcb::open("memory:", &Options::default()).unwrap();
        let event = || EventBuilder::new(EventType::new("A").unwrap()).build();
        for burst in 0..20 {
            for _ in 0..=burst * 3 {
                let request = AppendRequest::new(vec![event(); 3], vec![]).unwrap();
                store.append(request, &CallOptions::default()).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(burst % 5));
        }
        let request = ReadRequest::new(
            dcb::Query::all(),
            dcb::Position::START,
            None,
            None,
            Direction::Forward,
        );
        let (events, _) = store.read_all(request, &CallOptions::default()).unwrap();
        let times = events.iter().map(|event| event.timestamp_us).collect();
        (store, times)
    }

    #[test]
    fn each_interval_has_the_events_that_a_scan_counts() {
        let (store, times) = store();
        let reader = Reader::new(&*store, CallOptions::default());
        let head = times.len() as i64;
        let (first, last) = (times[0], times[times.len() - 1]);
        let rate = Rate::between(&reader, (0, first), (head, last)).unwrap().unwrap();
        let end = |index: usize| rate.start_us + rate.interval_us * index as i64;
        for (index, &count) in rate.counts.iter().enumerate() {
            let within = |time: &&i64| (end(index)..end(index + 1)).contains(*time);
            assert_eq!(count, times.iter().filter(within).count() as i64, "interval {index}");
        }
        assert_eq!(rate.counts.iter().sum::<i64>(), head);
    }

    #[test]
    fn a_request_whose_time_is_over_has_no_rate() {
        let (store, times) = store();
        let cancel = CancelToken::new();
        cancel.trigger();
        let call = CallOptions { cancel: Some(cancel), ..CallOptions::default() };
        let reader = Reader::new(&*store, call);
        let last = (times.len() as i64, times[times.len() - 1]);
        assert!(Rate::between(&reader, (0, times[0]), last).unwrap().is_none());
    }
}
