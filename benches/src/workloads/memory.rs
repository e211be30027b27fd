//! The memory store, and what JSON costs on the way to it.

use std::hint::black_box;

use dcb::domain::{EventView, ReadState};
use dcb::json::{parse_append, parse_read};
use dcb::store::BatchLimits;
use dcb::{CallOptions, Store};

use crate::bench::{Bench, fill};
use crate::load::{self, EVENTS_PER_ENTITY, Picks};
use crate::measure::{Spread, timed};
use crate::report::{count, heading};
use crate::stores::{Append, Form, Libdcb, Outcome, Subject, append_request};

const URI: &str = "memory:";
const GOAL: &str = "1,000,000";
/// Events that one run appends at most.
const APPENDED: u64 = 200_000;
/// Reads of one run at most.
const READ: u64 = 200_000;

/// Something to measure: it gives how many operations it did, how many events these were of, and
/// how many seconds they took.
type Run<'a> = Box<dyn Fn() -> (u64, u64, f64) + 'a>;

pub fn compare(bench: &mut Bench) {
    let events = bench.options.events;
    let store = Libdcb::open(URI);
    fill(&store, events);
    let core = dcb::open(URI, &dcb::store::options::Options::default()).expect("a memory store");
    fill(&Core(&*core), events);

    let mut runs: Vec<(String, Run<'_>)> = Vec::new();
    for size in [1, 64] {
        let what = format!("append on condition, {size} to an append");
        let appended = events.min(APPENDED) / size * size;
        let variants: [(&str, Run<'_>); 4] = [
            ("C ABI", Box::new(move || append_texts(appended, size))),
            ("C ABI, making the JSON too", Box::new(move || append_events(appended, size))),
            ("Rust, without JSON", Box::new(move || append_typed(appended, size))),
            ("the JSON read, nothing stored", Box::new(move || parse_texts(appended, size))),
        ];
        runs.extend(variants.map(|(how, run)| (format!("{what}: {how}"), run)));
    }
    let what = "read one entity";
    let structs = || read(events, |tag| store.read(Some(tag), Form::Structs).bytes);
    let json = || read(events, |tag| store.read(Some(tag), Form::Json).bytes);
    let typed = || read(events, |tag| Core(&*core).read(Some(tag), Form::Structs).bytes);
    runs.push((format!("{what}: C ABI, structs"), Box::new(structs)));
    runs.push((format!("{what}: C ABI, JSON"), Box::new(json)));
    runs.push((format!("{what}: Rust"), Box::new(typed)));

    let mut rates: Vec<Vec<[f64; 2]>> = vec![Vec::new(); runs.len()];
    for round in 1..=bench.options.rounds {
        for ((title, run), rates) in runs.iter().zip(&mut rates) {
            let (operations, events, seconds) = run();
            rates.push([operations as f64 / seconds, events as f64 / seconds]);
            eprintln!(
                "memory: {title}, round {round}: {:.0} events a second",
                events as f64 / seconds
            );
        }
    }
    let mut text = String::new();
    let columns = ["calls a second", "events a second", "ns an event"].map(str::to_owned);
    heading(&mut text, &["memory store, 1 thread".to_owned()], columns.into_iter());
    for ((title, _), rates) in runs.iter().zip(&rates) {
        let column = |index: usize| Spread::of(rates.iter().map(|rate| rate[index]));
        let (Some(calls), Some(events)) = (column(0), column(1)) else { continue };
        text += &format!(
            "| {title} | {} | {} ({}..{}) | {} |\n",
            count(calls.median),
            count(events.median),
            count(events.min),
            count(events.max),
            count(1e9 / events.median)
        );
    }
    text += &format!("\nThe goal is {GOAL} events a second.\n");
    bench.report.sections.push(("libdcb's memory store".to_owned(), text));
}

fn batches(events: u64, size: u64) -> Vec<Vec<load::Event>> {
    (0..events)
        .step_by(size as usize)
        .map(|first| (first..first + size).map(load::event).collect())
        .collect()
}

fn append_of(batch: &[load::Event]) -> Append<'_> {
    Append { events: batch, condition: Some((&batch[0].tags[0], 0)) }
}

fn texts(events: u64, size: u64) -> Vec<String> {
    batches(events, size).iter().map(|batch| append_request(&append_of(batch))).collect()
}

fn append_texts(events: u64, size: u64) -> (u64, u64, f64) {
    let (store, texts) = (Libdcb::open(URI), texts(events, size));
    let ((), time) = timed(|| {
        texts.iter().for_each(|text| assert_eq!(store.append_text(text), Outcome::Stored));
    });
    (texts.len() as u64, events, time.as_secs_f64())
}

fn append_events(events: u64, size: u64) -> (u64, u64, f64) {
    let (store, batches) = (Libdcb::open(URI), batches(events, size));
    let ((), time) = timed(|| {
        batches
            .iter()
            .for_each(|batch| assert_eq!(store.append(&append_of(batch)), Outcome::Stored));
    });
    (batches.len() as u64, events, time.as_secs_f64())
}

fn append_typed(events: u64, size: u64) -> (u64, u64, f64) {
    let store = dcb::open(URI, &dcb::store::options::Options::default()).expect("a memory store");
    let requests: Vec<_> = texts(events, size)
        .iter()
        .map(|text| parse_append(text.as_bytes()).expect("a request"))
        .collect();
    let calls = requests.len() as u64;
    let ((), time) = timed(|| {
        for request in requests {
            store.append(request, &CallOptions::default()).expect("an append");
        }
    });
    (calls, events, time.as_secs_f64())
}

fn parse_texts(events: u64, size: u64) -> (u64, u64, f64) {
    let texts = texts(events, size);
    let ((), time) = timed(|| {
        for text in &texts {
            black_box(parse_append(text.as_bytes()).expect("a request"));
        }
    });
    (texts.len() as u64, events, time.as_secs_f64())
}

fn read(events: u64, read: impl Fn(&str) -> u64) -> (u64, u64, f64) {
    let (entities, reads) = (load::entities(events), READ.min(events * 10));
    let mut picks = Picks::new(1);
    let tags: Vec<String> = (0..reads).map(|_| load::entity(picks.below(entities))).collect();
    let ((), time) = timed(|| tags.iter().for_each(|tag| assert!(read(tag) > 2560)));
    (reads, reads * EVENTS_PER_ENTITY, time.as_secs_f64())
}

/// A store without its C surface.
struct Core<'a>(&'a dyn Store);

impl Subject for Core<'_> {
    fn append(&self, append: &Append<'_>) -> Outcome {
        let request = parse_append(append_request(append).as_bytes()).expect("a request");
        self.0.append(request, &CallOptions::default()).expect("an append");
        Outcome::Stored
    }

    fn read(&self, tag: Option<&str>, _form: Form) -> crate::stores::Found {
        let request = crate::stores::read_request(tag);
        let mut reading = ReadState::new(parse_read(request.as_bytes()).expect("a request"));
        let mut found = crate::stores::Found::default();
        let batch = BatchLimits { max_events: usize::MAX, max_bytes: usize::MAX };
        let mut look = |event: &EventView<'_>| {
            found.look(event.event_type.as_bytes(), event.data.as_bytes());
            Ok(())
        };
        self.0.read(&mut reading, batch, &CallOptions::default(), &mut look).expect("a read");
        found
    }
}
