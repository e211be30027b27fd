//! Who waits longest: writers beside each other, and small appends beside a large one.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::append::{append_new, hammer};
use crate::bench::Bench;
use crate::measure::{Clock, Spread, timed};
use crate::report::{count, heading};
use crate::stores::Subject;

/// Writers with equal work, and the share of the time by which the first of them may be done
/// before the last.
const EQUALS: u64 = 64;
const GOAL_APART: f64 = 0.1;
/// How many times its median the 99th percentile of an append may be.
const GOAL_TAIL: f64 = 5.0;
/// The writers beside a large append.
const BESIDE: u64 = 4;
/// How long the slowest append beside it may take, in times of the large one.
const GOAL_HELD: f64 = 1.0;

pub fn compare(bench: &mut Bench) {
    let mut text = String::new();
    let columns = [
        format!("{EQUALS} equal writers: first done before last"),
        "16 writers: 99th percentile / median".to_owned(),
        format!("slowest append / append of {} beside it", count(bench.options.burst as f64)),
    ];
    heading(&mut text, &["store".to_owned()], columns.into_iter());
    for kind in bench.options.stores.clone() {
        let (mut apart, mut tail, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=bench.options.rounds {
            apart.push(bench.on_new(kind, |store| equals(store, bench.options.time)));
            let sample = bench.on_new(kind, |store| hammer(store, 16, 1, bench.options.time, 0));
            tail.push(sample.p99 / sample.p50);
            held.push(bench.on_new(kind, |store| beside_a_batch(store, bench.options.burst)));
            eprintln!("tails, round {round}, {}", kind.name());
        }
        let spread = |numbers: Vec<f64>| {
            let of = Spread::of(numbers);
            of.map_or(String::new(), |of| {
                format!("{:.2} ({:.2}..{:.2})", of.median, of.min, of.max)
            })
        };
        text += &format!(
            "| {} | {} | {} | {} |\n",
            kind.name(),
            spread(apart),
            spread(tail),
            spread(held)
        );
    }
    text += &format!("\nThe goals are at most {GOAL_APART}, {GOAL_TAIL} and {GOAL_HELD}.\n");
    bench.report.sections.push(("Tails".to_owned(), text));
}

/// Gives each of the writers as many appends as are done in about `time`; by which share of the
/// whole time the first of them is done before the last.
fn equals(store: &dyn Subject, time: Duration) -> f64 {
    let warm = hammer(store, EQUALS, 1, time / 4, 0);
    let each = ((warm.rate * time.as_secs_f64()) as u64 / EQUALS).max(10);
    let next = AtomicU64::new(1 << 40);
    let barrier = Barrier::new(EQUALS as usize);
    let ends = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..EQUALS)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let clock = Clock::start();
                    for _ in 0..each {
                        append_new(store, next.fetch_add(1, Ordering::Relaxed), 1);
                    }
                    clock.elapsed().as_secs_f64()
                })
            })
            .collect();
        Spread::of(writers.into_iter().map(|writer| writer.join().expect("a writer")))
    });
    ends.map_or(0.0, |ends| (ends.max - ends.min) / ends.max)
}

/// The slowest of the small appends that run beside a large one, in times of the large one.
fn beside_a_batch(store: &dyn Subject, events: u64) -> f64 {
    let next = AtomicU64::new(1 << 40);
    let is_done = AtomicBool::new(false);
    let small = || append_new(store, next.fetch_add(1, Ordering::Relaxed), 1).1;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..BESIDE)
            .map(|_| {
                scope.spawn(|| {
                    let mut slowest = Duration::ZERO;
                    while !is_done.load(Ordering::Relaxed) {
                        slowest = slowest.max(small());
                    }
                    slowest
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100));
        let (_, large) = timed(|| append_new(store, 0, events));
        // What the large append leaves to be done may hold the others up as well.
        std::thread::sleep(Duration::from_millis(500));
        is_done.store(true, Ordering::Relaxed);
        let slowest = writers.into_iter().map(|writer| writer.join().expect("a writer")).max();
        slowest.unwrap_or_default().as_secs_f64() / large.as_secs_f64()
    })
}
