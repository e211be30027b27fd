//! Durable appends under the condition that their first event's own tag is new.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::bench::{Bench, LOAD_BATCH};
use crate::disk;
use crate::load;
use crate::measure::{Clock, Sample, Spread, run, timed};
use crate::report::{Goal, count};
use crate::stores::{Append, Kind, Outcome, Subject};

/// What the fewest instructions of an append may cost beyond the sync, in microseconds.
const GOAL_OVER_SYNC: f64 = 60.0;

/// The shapes: writers, events an append, what to reach.
pub fn shapes() -> [(u64, u64, Goal); 4] {
    let wide = Goal::tephra(1.2);
    [
        (1, 1, Goal::tephra(1.0)),
        (16, 1, wide.and_umadb(5.0)),
        (64, 1, wide.and_umadb(5.0)),
        (64, 64, wide.and_umadb(4.0)),
    ]
}

pub fn title(writers: u64, events: u64) -> String {
    let plural = |number, word| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    format!("{} x {}", plural(writers, "writer"), plural(events, "event"))
}

pub fn compare(bench: &mut Bench) {
    for (writers, events, goal) in shapes() {
        let mut syncs = Vec::new();
        bench.compare(&title(writers, events), "events", goal, |bench, kind| {
            if (writers, events, kind) == (1, 1, Kind::Libdcb) {
                syncs.push(disk::sync(&bench.options.data, bench.options.time / 4));
            }
            bench.on_new(kind, |store| hammer(store, writers, events, bench.options.time, 0))
        });
        if !syncs.is_empty() {
            beside_the_sync(bench, &syncs);
        }
    }
}

/// One append of one writer beside the disk's sync, in the same rounds.
fn beside_the_sync(bench: &mut Bench, syncs: &[Sample]) {
    let row = bench.report.rows.last().expect("the row of this workload");
    let appends = row.samples(Kind::Libdcb);
    let over = Spread::of(appends.iter().zip(syncs).map(|(append, sync)| append.p50 - sync.p50));
    let sync = Spread::of(syncs.iter().map(|sync| sync.p50));
    if let (Some(over), Some(sync)) = (over, sync) {
        let text = format!(
            "Overwriting a block of 4 KiB and `fdatasync`: {} µs ({}..{}). An append of one event by \
             one writer takes {} µs ({}..{}) more; the goal is at most {GOAL_OVER_SYNC} µs.\n",
            count(sync.median),
            count(sync.min),
            count(sync.max),
            count(over.median),
            count(over.min),
            count(over.max),
        );
        bench.report.sections.push(("The disk's part".to_owned(), text));
    }
}

/// Lets writers append events with numbers from `first` on, after a moment to warm up.
pub fn hammer(
    store: &dyn Subject,
    writers: u64,
    events: u64,
    time: Duration,
    first: u64,
) -> Sample {
    let next = AtomicU64::new(first);
    let writer = |_| || append_new(store, next.fetch_add(events, Ordering::Relaxed), events);
    run(writers, time / 5, writer);
    run(writers, time, writer)
}

/// Appends the events from number `first` on, if the first of them is new.
pub fn append_new(store: &dyn Subject, first: u64, events: u64) -> (u64, Duration) {
    let batch: Vec<_> = (first..first + events).map(load::event).collect();
    let append = Append { events: &batch, condition: Some((&batch[0].tags[0], 0)) };
    let (outcome, latency) = timed(|| store.append(&append));
    assert_eq!(outcome, Outcome::Stored);
    (events, latency)
}

/// One writer, large appends, until the store holds as many events as the options say.
pub fn bulk(bench: &mut Bench) {
    let goal = Goal::tephra(1.3);
    let title = format!("bulk load, {LOAD_BATCH} events an append");
    bench.compare(&title, "events", goal, |bench, kind| {
        bench.on_new(kind, |store| {
            let (clock, mut latencies) = (Clock::start(), Vec::new());
            let mut stored = 0;
            while stored < bench.options.events {
                let (events, latency) = append_new(store, stored, LOAD_BATCH);
                stored += events;
                latencies.push(latency);
            }
            clock.sample(stored, latencies)
        })
    });
}
