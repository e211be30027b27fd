//! Reads of a store that holds many events: of one entity, and of everything.

use std::time::Duration;

use crate::bench::Bench;
use crate::load::{self, EVENTS_PER_ENTITY, Picks};
use crate::measure::{Clock, Sample, run, timed};
use crate::report::{Goal, count};
use crate::stores::{Form, Kind, Subject};

pub type Stores = [(Kind, Box<dyn Subject>)];

pub fn of(stores: &Stores, kind: Kind) -> &dyn Subject {
    &*stores.iter().find(|store| store.0 == kind).expect("a store of this kind").1
}

pub fn compare(bench: &mut Bench, stores: &Stores, events: u64) {
    let time = bench.options.time;
    for readers in [1, 4] {
        for form in [Form::Structs, Form::Json] {
            let goal = Goal::tephra(1.5).and_umadb(5.0);
            bench.compare(&of_events(&title(readers, form), events), "reads", goal, |_, kind| {
                entities(of(stores, kind), readers, form, time, events)
            });
        }
    }
    bench.compare(&of_events("scan everything", events), "events", Goal::tephra(1.3), |_, kind| {
        scan(of(stores, kind), events)
    });
}

/// The title of a workload on a store of so many events.
pub fn of_events(title: &str, events: u64) -> String {
    format!("{title}; {} events", count(events as f64))
}

pub fn title(readers: u64, form: Form) -> String {
    let readers = if readers == 1 { "1 reader".to_owned() } else { format!("{readers} readers") };
    let form = match form {
        Form::Structs => "structs",
        Form::Json => "JSON by libdcb",
    };
    format!("read one entity, {readers}, {form}")
}

/// Reads the ten events of an entity picked at random.
pub fn entities(
    store: &dyn Subject,
    readers: u64,
    form: Form,
    time: Duration,
    events: u64,
) -> Sample {
    let entities = load::entities(events);
    run(readers, time, |reader| {
        let mut picks = Picks::new(reader + 1);
        move || {
            let tag = load::entity(picks.below(entities));
            let (found, latency) = timed(|| store.read(Some(&tag), form));
            // What lies in a result of JSON only a parser could tell.
            assert!(found.events >= EVENTS_PER_ENTITY || form == Form::Json && found.bytes > 2560);
            (1, latency)
        }
    })
}

/// Reads everything once.
pub fn scan(store: &dyn Subject, events: u64) -> Sample {
    let clock = Clock::start();
    let (found, time) = timed(|| store.read(None, Form::Structs));
    assert!(found.events >= events);
    clock.sample(found.events, vec![time])
}
