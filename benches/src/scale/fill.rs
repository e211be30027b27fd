//! Filling the store, a tenth at a time. A run that was interrupted is gone on with: the store says
//! how far it came, and a file beside it how fast.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use super::Place;
use crate::bench::LOAD_BATCH;
use crate::load;
use crate::stores::{Append, Form, Libdcb, Outcome, Subject};
use crate::table::count;

/// How often the progress is told.
const PROGRESS: Duration = Duration::from_secs(5);

/// Events that were appended without an interruption; at most a tenth of all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// How many events the store had before it, and after it.
    pub from: u64,
    pub to: u64,
    pub seconds: f64,
    /// How long its slowest append took, in milliseconds.
    pub slowest: f64,
    /// The size of the database file after it. Newer events may still be in the WAL.
    pub bytes: u64,
}

impl Stretch {
    fn line(&self) -> String {
        format!("{} {} {} {} {}\n", self.from, self.to, self.seconds, self.slowest, self.bytes)
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [from, to, seconds, slowest, bytes] = words[..] else { return None };
        Some(Stretch {
            from: from.parse().ok()?,
            to: to.parse().ok()?,
            seconds: seconds.parse().ok()?,
            slowest: slowest.parse().ok()?,
            bytes: bytes.parse().ok()?,
        })
    }
}

/// Returns the stretches of all runs that have filled this store.
pub fn stretches(place: &Place) -> Result<Vec<Stretch>, String> {
    let path = place.stretches();
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.lines()
        .map(|line| {
            Stretch::parse(line)
                .ok_or_else(|| format!("{}: {line:?}: not a stretch", path.display()))
        })
        .collect()
}

/// Appends what is missing, and tells stderr how far it is.
pub fn fill(store: &Libdcb, place: &Place) -> Result<(), String> {
    let mut stored = store.head();
    if stored > 0 {
        expect_own(store, place, stored)?;
    }
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(place.stretches())
        .map_err(|error| format!("{}: {error}", place.stretches().display()))?;
    let began = (Instant::now(), stored);
    let mut told = Instant::now();
    while stored < place.events {
        let end = end_of_tenth(stored, place.events);
        let (from, start, mut slowest) = (stored, Instant::now(), Duration::ZERO);
        while stored < end {
            let next = (stored + LOAD_BATCH).min(end);
            let before = Instant::now();
            append(store, place, stored, next);
            slowest = slowest.max(before.elapsed());
            stored = next;
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                tell(place, began, stored);
            }
        }
        let stretch = Stretch {
            from,
            to: stored,
            seconds: start.elapsed().as_secs_f64(),
            slowest: slowest.as_secs_f64() * 1000.0,
            bytes: place.database_bytes(),
        };
        file.write_all(stretch.line().as_bytes())
            .map_err(|error| format!("{}: {error}", place.stretches().display()))?;
    }
    Ok(())
}

/// Where the tenth ends that the next event belongs to.
fn end_of_tenth(stored: u64, events: u64) -> u64 {
    (1..=10).map(|tenth| events * tenth / 10).find(|end| *end > stored).unwrap_or(events)
}

/// Refuses a store that holds something else than the events of an earlier run.
fn expect_own(store: &Libdcb, place: &Place, stored: u64) -> Result<(), String> {
    let last = stored.min(place.events) - 1;
    let found = store.read(Some(&load::unique(last)), Form::Structs);
    match found.events {
        1 => Ok(()),
        _ => Err(format!(
            "{} holds {stored} events that are not of this benchmark: choose another folder with --data",
            place.database().display()
        )),
    }
}

fn append(store: &Libdcb, place: &Place, from: u64, to: u64) {
    let entities = load::entities(place.events);
    let event = |number| load::event_of(number, &load::entity(number % entities));
    let batch: Vec<_> = (from..to).map(event).collect();
    assert_eq!(store.append(&Append { events: &batch, condition: None }), Outcome::Stored);
}

fn tell(place: &Place, (start, first): (Instant, u64), stored: u64) {
    let rate = (stored - first) as f64 / start.elapsed().as_secs_f64();
    eprintln!(
        "{:.1} %: {} events, {} a second, {:.1} GiB, {:.1} minutes left",
        stored as f64 * 100.0 / place.events as f64,
        count(stored as f64),
        count(rate),
        place.database_bytes() as f64 / f64::from(1 << 30),
        (place.events - stored) as f64 / rate / 60.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place of its own for a test; the folder is gone at the end of it.
    struct Own(Place);

    impl Own {
        fn new(test: &str, events: u64) -> Self {
            let name = format!("dcb-bench-{}-{test}", std::process::id());
            let place = Place { folder: std::env::temp_dir().join(name), events };
            std::fs::create_dir_all(&place.folder).unwrap();
            Own(place)
        }
    }

    impl Drop for Own {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0.folder).unwrap();
        }
    }

    #[test]
    fn an_interrupted_run_is_gone_on_with() {
        let Own(place) = &Own::new("interrupted", 100);
        let store = place.open();
        append(&store, place, 0, 35);
        fill(&store, place).unwrap();
        assert_eq!(store.head(), 100);
        for entity in 0..10 {
            let found = store.read(Some(&load::entity(entity)), Form::Structs);
            assert_eq!(found.events, load::EVENTS_PER_ENTITY);
        }
        let stretches = stretches(place).unwrap();
        let ends: Vec<_> = stretches.iter().map(|one| (one.from, one.to)).collect();
        let tenths = [(40, 50), (50, 60), (60, 70), (70, 80), (80, 90), (90, 100)];
        assert_eq!(ends, [&[(35, 40)], &tenths[..]].concat());
        fill(&store, place).unwrap();
        assert_eq!(store.head(), 100, "a full store stays as it is");
    }

    #[test]
    fn events_of_others_are_not_added_to() {
        let Own(place) = &Own::new("others", 100);
        let store = place.open();
        let event = load::Event { event_type: "Other", tags: Vec::new(), data: "1" };
        store.append(&Append { events: &[event], condition: None });
        assert!(fill(&store, place).unwrap_err().contains("not of this benchmark"));
        assert_eq!(store.head(), 1);
    }

    #[test]
    fn a_stretch_ends_with_its_tenth() {
        assert_eq!(end_of_tenth(0, 100), 10);
        assert_eq!(end_of_tenth(9, 100), 10);
        assert_eq!(end_of_tenth(10, 100), 20);
        assert_eq!(end_of_tenth(99, 100), 100);
        assert_eq!(end_of_tenth(0, 3), 1, "fewer events than tenths");
    }

    #[test]
    fn a_stretch_is_read_as_it_was_written() {
        let stretch = Stretch { from: 5, to: 10, seconds: 0.25, slowest: 1.5, bytes: 4096 };
        assert_eq!(Stretch::parse(stretch.line().trim_end()), Some(stretch));
        assert_eq!(Stretch::parse("5 10 0.25"), None);
    }
}
