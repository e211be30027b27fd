//! One run of the benchmark: what it was asked for, and what it has measured so far.

use std::cell::Cell;
use std::path::PathBuf;

use crate::load;
use crate::measure::{Sample, timed};
use crate::options::Options;
use crate::report::{Goal, Report, Row};
use crate::stores::{Append, Kind, Outcome, Subject};

/// Events of an append that fills a store.
pub const LOAD_BATCH: u64 = 4096;

pub struct Bench {
    pub options: Options,
    pub report: Report,
    folders: Cell<u64>,
}

impl Bench {
    pub fn new(options: Options) -> Self {
        Bench { options, report: Report::default(), folders: Cell::new(0) }
    }

    /// A path that nothing lies at yet.
    pub fn new_folder(&self, kind: Kind) -> PathBuf {
        self.folders.set(self.folders.get() + 1);
        self.options.data.join(format!("{}-{}", kind.word(), self.folders.get()))
    }

    /// Runs a workload on each store in turn, as often as there are rounds.
    pub fn compare(
        &mut self,
        title: &str,
        unit: &'static str,
        goal: Goal,
        mut run: impl FnMut(&Self, Kind) -> Sample,
    ) {
        let mut cells: Vec<(Kind, Vec<Sample>)> =
            self.options.stores.iter().map(|kind| (*kind, Vec::new())).collect();
        for round in 1..=self.options.rounds {
            for (kind, samples) in &mut cells {
                let sample = run(self, *kind);
                eprintln!(
                    "{title}, round {round}, {}: {:.0} {unit} a second, {:.0} / {:.0} us",
                    kind.name(),
                    sample.rate,
                    sample.p50,
                    sample.p99
                );
                samples.push(sample);
            }
        }
        self.report.rows.push(Row { title: title.to_owned(), unit, goal, cells });
    }

    /// Runs a workload on an empty store, which is gone afterwards.
    pub fn on_new<T>(&self, kind: Kind, run: impl FnOnce(&dyn Subject) -> T) -> T {
        let folder = self.new_folder(kind);
        let store = kind.open(&folder);
        let result = run(&*store);
        drop(store);
        std::fs::remove_dir_all(&folder).expect("the store's folder to be gone");
        result
    }

    /// Opens a store of each kind that was filled with so many events and closed, so that nothing
    /// is in memory which only appends have put there. Gives them time to settle: what one of them
    /// still does behind would fall into the time of another.
    pub fn loaded(&self, events: u64) -> Vec<(Kind, Box<dyn Subject>)> {
        let open = |kind: &Kind| {
            let folder = self.new_folder(*kind);
            let store = kind.open(&folder);
            let ((), time) = timed(|| fill(&*store, events));
            eprintln!("{}: {events} events in {:.1} s", kind.name(), time.as_secs_f64());
            drop(store);
            (*kind, kind.open(&folder))
        };
        let stores = self.options.stores.iter().map(open).collect();
        std::thread::sleep(self.options.settle);
        stores
    }
}

/// Fills an empty store with events of entities.
pub fn fill(store: &dyn Subject, events: u64) {
    let entities = load::entities(events);
    let mut next = 0;
    while next < events {
        let end = (next + LOAD_BATCH).min(events);
        let event = |number| load::event_of(number, &load::entity(number % entities));
        let batch: Vec<_> = (next..end).map(event).collect();
        assert_eq!(store.append(&Append { events: &batch, condition: None }), Outcome::Stored);
        next = end;
    }
}
