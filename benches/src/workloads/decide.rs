//! The loop of every decision: read an entity, decide, append on the condition that nothing
//! about it has changed; and again if something has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::read::{Stores, of, of_events};
use crate::bench::Bench;
use crate::load::{self, EVENTS_PER_ENTITY, Picks};
use crate::measure::Spread;
use crate::measure::{Sample, run, timed};
use crate::report::{Goal, ratio};
use crate::stores::{Append, Form, Kind, Outcome, Subject};

pub fn compare(bench: &mut Bench, stores: &Stores, events: u64) {
    let time = bench.options.time;
    let entities = load::entities(events);
    let numbers = AtomicU64::new(1 << 40);
    for threads in [1, 4, 16] {
        let goal = Goal::tephra(if threads == 1 { 1.2 } else { 1.3 });
        let title = of_events(&format!("read, decide, append; {}", plural(threads)), events);
        bench.compare(&title, "decisions", goal, |_, kind| {
            on_any_entity(of(stores, kind), threads, time, entities, &numbers)
        });
    }
    for threads in [1, 16] {
        let title = of_events(&format!("the same, all on one entity; {}", plural(threads)), events);
        bench.compare(&title, "decisions", Goal::default(), |_, kind| {
            on_one_entity(of(stores, kind), threads, time, &numbers)
        });
    }
    no_collapse(bench, events);
}

fn plural(threads: u64) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}

/// Sixteen threads on one entity beside one, in the same rounds.
fn no_collapse(bench: &mut Bench, events: u64) {
    let [.., one, sixteen] = &bench.report.rows[..] else { return };
    let pairs = sixteen.samples(Kind::Libdcb).iter().zip(one.samples(Kind::Libdcb));
    let share = Spread::of(pairs.map(|(sixteen, one)| sixteen.rate / one.rate));
    if share.is_some() {
        let share = ratio(share, Some(0.5));
        let text =
            format!("libdcb, 16 threads beside one on the same entity: {share} of the rate.\n");
        bench.report.sections.push((of_events("All in conflict", events), text));
    }
}

/// Threads that each decide about an entity picked at random.
pub fn on_any_entity(
    store: &dyn Subject,
    threads: u64,
    time: Duration,
    entities: u64,
    numbers: &AtomicU64,
) -> Sample {
    run(threads, time, |thread| {
        let mut picks = Picks::new(thread + 1);
        move || {
            let entity = load::entity(picks.below(entities));
            let ((), latency) = timed(|| while !decide(store, &entity, numbers) {});
            (1, latency)
        }
    })
}

/// Threads that all decide about the same entity, which is another one after every ten events,
/// so that what there is to read stays the same.
fn on_one_entity(store: &dyn Subject, threads: u64, time: Duration, numbers: &AtomicU64) -> Sample {
    let first = numbers.fetch_add(1, Ordering::Relaxed);
    let decided = AtomicU64::new(0);
    run(threads, time, |_| {
        || {
            let decide_once = || {
                let number = decided.load(Ordering::Relaxed) / EVENTS_PER_ENTITY;
                decide(store, &format!("hot:{first}:{number}"), numbers)
            };
            let ((), latency) = timed(|| while !decide_once() {});
            decided.fetch_add(1, Ordering::Relaxed);
            (1, latency)
        }
    })
}

/// Tries once to decide; false if another decision came between.
fn decide(store: &dyn Subject, entity: &str, numbers: &AtomicU64) -> bool {
    let found = store.read(Some(entity), Form::Structs);
    let event = load::event_of(numbers.fetch_add(1, Ordering::Relaxed), entity);
    let condition = Some((entity, found.position));
    store.append(&Append { events: &[event], condition }) == Outcome::Stored
}
