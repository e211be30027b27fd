//! What a run has measured, as markdown.

use std::fmt::Write;

use super::Measured;
use super::fill::Stretch;
use super::steps::{Opened, Rate, WRITERS};
use crate::measure::Spread;
use crate::table::{count, heading};

const GIB: f64 = (1_u64 << 30) as f64;

pub fn markdown(measured: &Measured) -> String {
    let mut text = format!("### One store of {} events\n\n", count(measured.events as f64));
    let _ = writeln!(text, "{}.\n", measured.machine);
    filling(&mut text, measured);
    size(&mut text, measured);
    rates(&mut text, measured);
    openings(&mut text, measured);
    text
}

fn filling(text: &mut String, measured: &Measured) {
    let numbers = ["seconds", "events a second", "slowest append, ms", "file, GiB"];
    heading(text, &["appended events".to_owned()], numbers.map(str::to_owned).into_iter());
    for stretch in &measured.stretches {
        let _ = writeln!(
            text,
            "| {} to {} | {:.1} | {} | {} | {:.2} |",
            whole(stretch.from + 1),
            whole(stretch.to),
            stretch.seconds,
            count(rate(stretch)),
            count(stretch.slowest),
            stretch.bytes as f64 / GIB
        );
    }
    if let [first, .., last] = &measured.stretches[..] {
        let _ = writeln!(
            text,
            "\nThe last stretch ran at {:.2} times the rate of the first. The process had {} MiB at most.",
            rate(last) / rate(first),
            count(measured.filled.peak_mib)
        );
    }
    let _ = writeln!(
        text,
        "The index came to rest {:.1} s after the last append, in {:.0} segments; closing took {:.2} s.\n",
        measured.filled.resting, measured.filled.segments, measured.filled.closing
    );
}

/// A number of events: no decimals, however few they are.
fn whole(number: u64) -> String {
    if number < 100 { number.to_string() } else { count(number as f64) }
}

fn rate(stretch: &Stretch) -> f64 {
    (stretch.to - stretch.from) as f64 / stretch.seconds
}

fn size(text: &mut String, measured: &Measured) {
    let events = measured.database_bytes - measured.index_bytes - measured.free_bytes;
    let numbers = ["GiB", "bytes an event"].map(str::to_owned);
    heading(text, &["closed file".to_owned()], numbers.into_iter());
    for (name, bytes) in [
        ("all", measured.database_bytes),
        ("events", events),
        ("index", measured.index_bytes),
        ("free pages", measured.free_bytes),
    ] {
        let each = bytes as f64 / measured.filled.stored;
        let _ = writeln!(text, "| {name} | {:.2} | {} |", bytes as f64 / GIB, count(each));
    }
    text.push('\n');
}

fn rates(text: &mut String, measured: &Measured) {
    let (read, appended) = (&measured.read, &measured.appended);
    let words = ["workload", "a second"].map(str::to_owned);
    heading(text, &words, ["rate", "p50, µs", "p99, µs"].map(str::to_owned).into_iter());
    let mut row = |title: &str, unit: &str, rate: &Rate| {
        let (rate, p50, p99) = (count(rate.per_second), count(rate.p50), count(rate.p99));
        let _ = writeln!(text, "| {title} | {unit} | {rate} | {p50} | {p99} |");
    };
    let [first, again, four] = &read.entities;
    row("read 10,000 entities of ten events, nothing of the file in memory", "reads", first);
    row("the same entities again", "reads", again);
    row("read one entity, 4 readers", "reads", four);
    for (writers, rate) in WRITERS.iter().zip(&appended.guarded) {
        let plural = if *writers == 1 { "writer" } else { "writers" };
        row(&format!("guarded append of one event, {writers} {plural}"), "events", rate);
    }
    row("read, decide, append; 1 thread", "decisions", &appended.decisions);
    let _ = writeln!(text, "| scan everything, once | events | {} | | |", count(read.scan));
    text.push('\n');
}

fn openings(text: &mut String, measured: &Measured) {
    let numbers = ["ms to open", "MiB at most"].map(str::to_owned);
    heading(text, &["store".to_owned()], numbers.into_iter());
    for (title, opened) in
        [("closed before", &measured.closed), ("killed before", &measured.killed)]
    {
        let ms = spread(opened, |opened| opened.ms);
        let _ = writeln!(text, "| {title} | {ms} | {} |", spread(opened, |opened| opened.peak_mib));
    }
    let _ = writeln!(
        text,
        "\nA process that opens the closed store and reads 10,000 entities has {} MiB at most, with four \
         readers and a scan {} MiB; one with 64 writers {} MiB. Before each kill {} events were appended. \
         After as many, closing takes {} ms, the checkpoint included.",
        count(measured.read.peak_after_entities),
        count(measured.read.peak_after_scan),
        count(measured.appended.peak_mib),
        count(measured.burst as f64),
        count(measured.closing)
    );
}

fn spread(opened: &[Opened], of: impl Fn(&Opened) -> f64) -> String {
    Spread::of(opened.iter().map(of)).map_or(String::new(), |of| {
        format!("{} ({}..{})", count(of.median), count(of.min), count(of.max))
    })
}
