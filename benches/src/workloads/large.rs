//! A large store beside a small one: what grows with the number of events shows here.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{append, decide, read};
use crate::bench::{Bench, LOAD_BATCH, fill};
use crate::load;
use crate::measure::{Sample, Spread, timed};
use crate::report::{count, heading, percentiles, ratio};
use crate::stores::{Form, Kind, Subject};

/// What the rate of the large store is to be at least, beside the small one's.
const GOAL: f64 = 0.8;

/// Fills the large store, lets it come to rest, and closes it.
pub fn prepare(bench: &Bench) -> PathBuf {
    let folder = bench.new_folder(Kind::Libdcb);
    let store = Kind::Libdcb.open(&folder);
    let events = bench.options.large;
    let ((), time) = timed(|| fill(&*store, events));
    let ((), resting) = timed(|| store.come_to_rest(bench.options.rest));
    let ((), closing) = timed(|| drop(store));
    eprintln!(
        "large: {events} events in {:.1} s, at rest after {:.1} s, closed in {:.2} s",
        time.as_secs_f64(),
        resting.as_secs_f64(),
        closing.as_secs_f64()
    );
    folder
}

type Run<'a> = Box<dyn Fn(&dyn Subject, u64) -> Sample + 'a>;

pub fn compare(bench: &mut Bench, folder: &std::path::Path) {
    let (small, large, time) = (bench.options.small, bench.options.large, bench.options.time);
    let numbers = AtomicU64::new(1 << 40);
    let mut text = String::new();
    let columns = [small, large].map(|events| format!("{} events", count(events as f64)));
    let times = columns.clone().map(|column| format!("µs at {column}"));
    heading(
        &mut text,
        &["workload".to_owned(), "a second".to_owned()],
        columns.into_iter().chain(["large / small".to_owned()]).chain(times),
    );
    let big = Kind::Libdcb.open(folder);
    for (title, unit, writes, run) in workloads(time, &numbers) {
        let (mut smalls, mut larges) = (Vec::new(), Vec::new());
        // Appends make a small store large, so each run of them has one of its own.
        let kept = (!writes).then(|| {
            let store = Kind::Libdcb.open(&bench.new_folder(Kind::Libdcb));
            fill(&*store, small);
            store
        });
        for round in 1..=bench.options.rounds {
            smalls.push(match &kept {
                Some(store) => run(&**store, small),
                None => bench.on_new(Kind::Libdcb, |store| {
                    fill(store, small);
                    run(store, small)
                }),
            });
            larges.push(run(&*big, large));
            eprintln!(
                "{title}, round {round}: {:.0} and {:.0} {unit} a second",
                smalls[smalls.len() - 1].rate,
                larges[larges.len() - 1].rate
            );
        }
        let rate = |samples: &[Sample]| {
            Spread::of(samples.iter().map(|sample| sample.rate)).map_or(0.0, |rate| rate.median)
        };
        let share =
            Spread::of(larges.iter().zip(&smalls).map(|(large, small)| large.rate / small.rate));
        text += &format!(
            "| {title} | {unit} | {} | {} | {} | {} | {} |\n",
            count(rate(&smalls)),
            count(rate(&larges)),
            ratio(share, Some(GOAL)),
            percentiles(&smalls),
            percentiles(&larges)
        );
    }
    text += "\nThe 99th percentile of an append is to stay under five times its median.\n";
    bench.report.sections.push(("libdcb, large beside small".to_owned(), text));
}

fn workloads<'a>(
    time: Duration,
    numbers: &'a AtomicU64,
) -> Vec<(String, &'static str, bool, Run<'a>)> {
    let mut all: Vec<(String, &'static str, bool, Run<'a>)> = Vec::new();
    for readers in [1, 4] {
        for form in [Form::Structs, Form::Json] {
            let run = move |store: &dyn Subject, events| {
                read::entities(store, readers, form, time, events)
            };
            all.push((read::title(readers, form), "reads", false, Box::new(run)));
        }
    }
    all.push(("scan everything".to_owned(), "events", false, Box::new(read::scan)));
    for threads in [1, 4, 16] {
        let run = move |store: &dyn Subject, events| {
            decide::on_any_entity(store, threads, time, load::entities(events), numbers)
        };
        let title = format!("read, decide, append; {threads} threads");
        all.push((title, "decisions", true, Box::new(run)));
    }
    let shapes = append::shapes().map(|(writers, events, _)| (writers, events));
    for (writers, events) in shapes.into_iter().chain([(1, LOAD_BATCH)]) {
        let run = move |store: &dyn Subject, _| {
            let first = numbers.load(std::sync::atomic::Ordering::Relaxed);
            let sample = append::hammer(store, writers, events, time, first);
            numbers.fetch_add(1 << 32, std::sync::atomic::Ordering::Relaxed);
            sample
        };
        all.push((append::title(writers, events), "events", true, Box::new(run)));
    }
    all
}
