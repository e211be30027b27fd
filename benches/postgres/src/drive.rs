//! The driver of a store: a process that runs workloads on it, as lines on its standard input ask.
//!
//! It prints `ready` once the store is open, and a line for each line that it reads:
//!
//! | line | workload |
//! | --- | --- |
//! | `fill FROM TO TOTAL` | appends the events with these numbers, in large batches |
//! | `append CALLERS EVENTS SECONDS FIRST` | appends of new events, each if its first event's own tag is new |
//! | `read CALLERS SECONDS TOTAL` | reads of entities picked at random |
//! | `scan TOTAL` | reads everything once |
//! | `decide CALLERS SECONDS TOTAL FIRST` | reads an entity and appends an event to it, if nothing else has |
//! | `notify SECONDS FIRST` | one append after the other, each until another instance of the store has its event |
//!
//! TOTAL is the number of events that the store was filled with, FIRST the number from which on
//! events are new. The answer is `ok`, the units a second, and the median and the 99th percentile
//! of one operation in microseconds; or `none` and the reason why the store cannot do it; or
//! `failed` and the reason.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::load::{self, EVENTS_PER_ENTITY, Picks};
use crate::measure::{Clock, Sample, run, timed};
use crate::stores::Subject;

/// How many events an append has that fills a store.
const BATCH: u64 = 4096;
/// How long a subscriber is left alone before the next append, so that it waits.
const PAUSE: Duration = Duration::from_millis(2);

/// Obeys the lines of standard input. `open` opens another instance of the store.
pub fn drive(open: impl Fn() -> Box<dyn Subject>) {
    let store = open();
    let answer = |line: &str| {
        println!("{line}");
        std::io::stdout().flush().expect("stdout");
    };
    answer("ready");
    for line in std::io::stdin().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let time = |index: usize| {
            Duration::from_secs_f64(words[index].parse().expect("a number of seconds"))
        };
        let sample = match words[0] {
            "fill" => fill(&*store, number(1), number(2), number(3)),
            "append" => append(&*store, number(1), number(2), time(3), number(4)),
            "read" => read(&*store, number(1), time(2), number(3)),
            "scan" => scan(&*store, number(1)),
            "decide" => decide(&*store, number(1), time(2), number(3), number(4)),
            "notify" => notify(&*store, &*open(), time(1), number(2)),
            other => panic!("{other}: there is no such workload"),
        };
        answer(&format!("ok {} {} {}", sample.rate, sample.p50, sample.p99));
    }
}

fn fill(store: &dyn Subject, from: u64, to: u64, total: u64) -> Sample {
    let entities = load::entities(total);
    let (clock, mut latencies, mut next) = (Clock::start(), Vec::new(), from);
    while next < to {
        let end = (next + BATCH).min(to);
        let event = |number| load::event_of(number, &load::entity(number % entities));
        let batch: Vec<_> = (next..end).map(event).collect();
        let (stored, time) = timed(|| store.append(&batch, None));
        assert!(stored, "an append without a condition");
        latencies.push(time);
        next = end;
    }
    clock.sample(to - from, latencies)
}

fn append(store: &dyn Subject, callers: u64, events: u64, time: Duration, first: u64) -> Sample {
    let next = AtomicU64::new(first);
    let caller = |_| {
        || {
            let first = next.fetch_add(events, Ordering::Relaxed);
            let batch: Vec<_> = (first..first + events).map(load::event).collect();
            let (stored, time) = timed(|| store.append(&batch, Some((&batch[0].tags[0], 0))));
            assert!(stored, "the tag is new");
            (events, time)
        }
    };
    run(callers, time / 5, caller);
    run(callers, time, caller)
}

fn read(store: &dyn Subject, callers: u64, time: Duration, total: u64) -> Sample {
    let entities = load::entities(total);
    run(callers, time, |caller| {
        let mut picks = Picks::new(caller + 1);
        move || {
            let tag = load::entity(picks.below(entities));
            let ((events, _), time) = timed(|| store.read(Some(&tag), 0));
            assert!(events >= EVENTS_PER_ENTITY, "all events of an entity");
            (1, time)
        }
    })
}

fn scan(store: &dyn Subject, total: u64) -> Sample {
    let clock = Clock::start();
    let ((events, _), time) = timed(|| store.read(None, 0));
    assert!(events >= total, "all events");
    clock.sample(events, vec![time])
}

fn decide(store: &dyn Subject, callers: u64, time: Duration, total: u64, first: u64) -> Sample {
    let entities = load::entities(total);
    let next = AtomicU64::new(first);
    run(callers, time, |caller| {
        let (mut picks, next) = (Picks::new(caller + first), &next);
        move || {
            let tag = load::entity(picks.below(entities));
            let once = || {
                let (_, position) = store.read(Some(&tag), 0);
                let event = load::event_of(next.fetch_add(1, Ordering::Relaxed), &tag);
                store.append(&[event], Some((&tag, position)))
            };
            let ((), time) = timed(|| while !once() {});
            (1, time)
        }
    })
}

/// Measures from the call of an append until the subscriber has read its event.
fn notify(store: &dyn Subject, subscriber: &dyn Subject, time: Duration, first: u64) -> Sample {
    let (_, mut position) = subscriber.read(Some("none"), 0);
    let (ready, is_ready) = mpsc::channel();
    let (received, is_received) = mpsc::channel();
    let (clock, mut latencies) = (Clock::start(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Ok(number) = is_ready.recv() {
                let tag = load::unique(number);
                let mut found = 0;
                while found == 0 {
                    subscriber.wait(position);
                    let (events, read) = subscriber.read(Some(&tag), position);
                    (found, position) = (events, position.max(read));
                }
                received.send(Instant::now()).expect("the appender");
            }
        });
        let mut number = first;
        while latencies.is_empty() || clock.elapsed() < time {
            ready.send(number).expect("the subscriber");
            std::thread::sleep(PAUSE);
            let start = Instant::now();
            store.append(&[load::event(number)], None);
            latencies.push(is_received.recv().expect("the event") - start);
            number += 1;
        }
        drop(ready);
    });
    let count = latencies.len() as u64;
    clock.sample(count, latencies)
}
