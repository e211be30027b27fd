//! What was measured, as markdown.

use std::fmt::Write;

use crate::driver::Missing;
use crate::kinds::Kind;
use crate::measure::{Sample, Spread};
use crate::options::Options;
use crate::rows::title;
use crate::server::{Filled, Server};
use crate::table::{count, heading, percentiles, ratio};

/// How many times as fast as the best store of somebody else, at 64 callers.
const GOAL_RIVALS: f64 = 3.0;
/// How many times as long as the bare query a read may take.
const GOAL_QUERY: f64 = 1.3;
/// What the rate of a large store is to be at least, beside a small one's.
const GOAL_LARGE: f64 = 0.8;

/// What a store made of a workload.
struct Cell {
    kind: Kind,
    size: u64,
    samples: Vec<Sample>,
    /// Why there is none, or not one of each round.
    missing: Option<Missing>,
}

/// A workload and what each store made of it, round by round.
pub struct Row {
    title: String,
    unit: &'static str,
    cells: Vec<Cell>,
}

impl Row {
    pub fn new(title: &str, unit: &'static str) -> Self {
        Row { title: title.to_owned(), unit, cells: Vec::new() }
    }

    pub fn add(&mut self, kind: Kind, size: u64, sample: Result<Sample, Missing>) {
        let found = self.cells.iter().position(|cell| (cell.kind, cell.size) == (kind, size));
        let index = found.unwrap_or_else(|| {
            self.cells.push(Cell { kind, size, samples: Vec::new(), missing: None });
            self.cells.len() - 1
        });
        match sample {
            Ok(sample) => self.cells[index].samples.push(sample),
            Err(missing) => self.cells[index].missing = Some(missing),
        }
    }

    fn samples(&self, kind: Kind, size: u64) -> &[Sample] {
        let own = self.cells.iter().find(|cell| (cell.kind, cell.size) == (kind, size));
        own.map_or(&[], |cell| &cell.samples)
    }

    fn rate(&self, kind: Kind, size: u64) -> Option<Spread> {
        Spread::of(self.samples(kind, size).iter().map(|sample| sample.rate))
    }

    /// How many times as fast as another store libdcb was, in each round.
    fn ratio(&self, other: Kind, size: u64) -> Option<Spread> {
        let pairs = self.samples(Kind::Libdcb, size).iter().zip(self.samples(other, size));
        Spread::of(pairs.map(|(own, other)| own.rate / other.rate))
    }

    /// How many times as fast a store was at one size as at another, in each round.
    fn growth(&self, kind: Kind, large: u64, small: u64) -> Option<Spread> {
        let pairs = self.samples(kind, large).iter().zip(self.samples(kind, small));
        Spread::of(pairs.map(|(large, small)| large.rate / small.rate))
    }

    /// The text of a cell: the median of the rates, or why there is none.
    fn text(&self, kind: Kind, size: u64) -> String {
        match self.rate(kind, size) {
            Some(Spread { min, median, max }) => {
                format!("{} ({}..{})", count(median), count(min), count(max))
            }
            None => match self.cells.iter().find(|cell| (cell.kind, cell.size) == (kind, size)) {
                Some(Cell { missing: Some(Missing::None(_)), .. }) => "none".to_owned(),
                Some(Cell { missing: Some(Missing::Failed(_)), .. }) => "failed".to_owned(),
                _ => String::new(),
            },
        }
    }
}

/// All of a run.
pub struct Report {
    sizes: Vec<u64>,
    settings: String,
    pub rows: Vec<Row>,
    /// The stores that are not in it, and why.
    pub skipped: Vec<(String, String)>,
    /// Of each store: how many events it was filled with, and what was noted then.
    pub filled: Vec<(Kind, u64, Filled)>,
}

impl Report {
    pub fn new(options: &Options, server: &Server) -> Self {
        let settings = format!(
            "{} rounds of {} s. {}. All stores by TCP over loopback, without TLS.",
            options.rounds,
            options.time.as_secs_f64(),
            server.describe()
        );
        Report {
            sizes: options.sizes.clone(),
            settings,
            rows: Vec::new(),
            skipped: Vec::new(),
            filled: Vec::new(),
        }
    }

    /// Adds what the disk takes for a sync and how busy the machine is.
    pub fn describe_machine(&mut self, sync: &Sample) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<&str> = load.split(' ').take(3).collect();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let _ = write!(
            self.settings,
            " {cores} processors, load {} at the start; overwriting a block of 4 KiB and \
             `fdatasync` takes {} µs.",
            load.join(" "),
            count(sync.p50)
        );
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n", self.settings);
        for (name, why) in &self.skipped {
            let _ = writeln!(text, "\n**SKIPPED: {name}**: {why}.");
        }
        for size in &self.sizes {
            let events = count(*size as f64);
            let _ = write!(text, "\n### Stores of {events} events, units a second\n\n");
            self.rates(&mut text, *size);
            let _ = write!(text, "\n### One operation: median / 99th percentile, in µs\n\n");
            self.latencies(&mut text, *size);
            self.goals(&mut text, *size);
        }
        self.large(&mut text);
        text.push_str("\n### Filling\n\n");
        let words = ["store".to_owned()];
        let numbers = [
            "events",
            "events a second",
            "MiB",
            "bytes an event, tables",
            "bytes an event, indexes",
        ]
        .map(str::to_owned);
        heading(&mut text, &words, numbers.into_iter());
        for (kind, size, Filled { rate, tables, indexes }) in &self.filled {
            let (mib, events) = ((tables + indexes) / (1024.0 * 1024.0), *size as f64);
            let numbers = [events, *rate, mib, tables / events, indexes / events];
            let _ = writeln!(text, "| {} | {} |", kind.name(), numbers.map(count).join(" | "));
        }
        self.missing(&mut text);
        text
    }

    fn kinds(&self, size: u64) -> Vec<Kind> {
        let ran = |kind: &Kind| self.rows.iter().any(|row| !row.text(*kind, size).is_empty());
        Kind::ALL.into_iter().filter(ran).collect()
    }

    fn rates(&self, text: &mut String, size: u64) {
        let kinds = self.kinds(size);
        let others = || kinds.iter().copied().filter(|kind| *kind != Kind::Libdcb);
        let names = kinds.iter().map(|kind| kind.name().to_owned());
        let over = others().map(|kind| format!("libdcb / {}", kind.name()));
        let words = ["workload".to_owned(), "unit".to_owned()];
        heading(text, &words, names.chain(over));
        for row in self.rows_of(size) {
            let cells = kinds.iter().map(|kind| row.text(*kind, size));
            let ratios = others().map(|kind| {
                let goal = if kind == Kind::Bare { 1.0 / GOAL_QUERY } else { 1.0 };
                ratio(row.ratio(kind, size), Some(goal))
                    .replace(&format!(", goal {goal}"), &format!(", goal {goal:.2}"))
            });
            let cells: Vec<String> = cells.chain(ratios).collect();
            let _ = writeln!(text, "| {} | {} | {} |", row.title, row.unit, cells.join(" | "));
        }
    }

    fn rows_of(&self, size: u64) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.cells.iter().any(|cell| cell.size == size))
    }

    fn latencies(&self, text: &mut String, size: u64) {
        let kinds = self.kinds(size);
        let names = kinds.iter().map(|kind| kind.name().to_owned());
        heading(text, &["workload".to_owned()], names);
        for row in self.rows_of(size) {
            let cells: Vec<String> =
                kinds.iter().map(|kind| percentiles(row.samples(*kind, size))).collect();
            let _ = writeln!(text, "| {} | {} |", row.title, cells.join(" | "));
        }
    }

    /// Guarded appends by 64 callers beside the best of the stores of others.
    fn goals(&self, text: &mut String, size: u64) {
        for events in [1, 64] {
            let name = title(64, events);
            let Some(row) = self.rows_of(size).find(|row| row.title == name) else { continue };
            let median = |kind: &Kind| row.rate(*kind, size).map_or(0.0, |rate| rate.median);
            let rivals = Kind::ALL.into_iter().filter(|kind| kind.is_rival());
            let best = rivals.max_by(|one, other| median(one).total_cmp(&median(other)));
            if let Some(best) = best.filter(|best| median(best) > 0.0) {
                let times = ratio(row.ratio(best, size), Some(GOAL_RIVALS));
                let _ = writeln!(
                    text,
                    "\n{name}: {times} times the best of the others, {}; the goal is {GOAL_RIVALS}.",
                    best.name()
                );
            }
        }
    }

    /// Each larger store beside the smallest, by the ratios of the same rounds.
    fn large(&self, text: &mut String) {
        let small = self.sizes.iter().copied().min().unwrap_or_default();
        for large in self.sizes.iter().copied().filter(|size| *size > small) {
            let (few, many) = (count(small as f64), count(large as f64));
            let _ = write!(text, "\n### {many} events beside {few}\n\n");
            let kinds: Vec<Kind> =
                self.kinds(large).into_iter().filter(|kind| *kind != Kind::Bare).collect();
            let names = kinds.iter().map(|kind| kind.name().to_owned());
            heading(text, &["workload".to_owned()], names);
            for row in self.rows_of(large) {
                let share = |kind: &Kind| {
                    ratio(
                        row.growth(*kind, large, small),
                        (*kind == Kind::Libdcb).then_some(GOAL_LARGE),
                    )
                };
                let cells: Vec<String> = kinds.iter().map(share).collect();
                let _ = writeln!(text, "| {} | {} |", row.title, cells.join(" | "));
            }
        }
    }

    fn missing(&self, text: &mut String) {
        let mut told = Vec::new();
        for row in &self.rows {
            for cell in &row.cells {
                let line = match &cell.missing {
                    Some(Missing::None(why)) => format!("{}: no such thing: {why}", row.title),
                    Some(Missing::Failed(why)) => format!("{}: FAILED: {why}", row.title),
                    None => continue,
                };
                let line = format!("- {}, {line}", cell.kind.name());
                if !told.contains(&line) {
                    told.push(line);
                }
            }
        }
        if !told.is_empty() {
            let _ = write!(text, "\n### What is missing\n\n{}\n", told.join("\n"));
        }
    }

    /// Whether anything failed.
    pub fn has_failed(&self) -> bool {
        let failed = |cell: &Cell| matches!(cell.missing, Some(Missing::Failed(_)));
        self.rows.is_empty() || self.rows.iter().any(|row| row.cells.iter().any(failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rate: f64) -> Sample {
        Sample { rate, ..Sample::default() }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut row = Row::new("", "");
        for (own, other) in [(10.0, 5.0), (30.0, 10.0)] {
            row.add(Kind::Libdcb, 1, Ok(at(own)));
            row.add(Kind::Plain, 1, Ok(at(other)));
        }
        assert_eq!(row.ratio(Kind::Plain, 1), Some(Spread { min: 2.0, median: 2.5, max: 3.0 }));
        assert_eq!(row.ratio(Kind::Bare, 1), None);
        for rate in [5.0, 27.0] {
            row.add(Kind::Libdcb, 100, Ok(at(rate)));
        }
        let growth = row.growth(Kind::Libdcb, 100, 1);
        assert_eq!(growth, Some(Spread { min: 0.5, median: 0.7, max: 0.9 }));
    }

    #[test]
    fn a_cell_without_a_rate_says_why() {
        let mut row = Row::new("", "");
        row.add(Kind::Plain, 1, Err(Missing::None("no reason".to_owned())));
        row.add(Kind::DcbEs, 1, Err(Missing::Failed("a crash".to_owned())));
        row.add(Kind::DcbEs, 2, Ok(at(2.0)));
        assert_eq!(row.text(Kind::Plain, 1), "none");
        assert_eq!(row.text(Kind::DcbEs, 1), "failed");
        assert_eq!(row.text(Kind::DcbEs, 2), "2.0 (2.0..2.0)");
        assert_eq!(row.text(Kind::Libdcb, 1), "");
    }
}
