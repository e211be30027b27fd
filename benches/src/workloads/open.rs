//! Opening a large store, and the memory that it takes. Each opening is a process of its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::read;
use crate::bench::Bench;
use crate::load;
use crate::measure::{Spread, timed};
use crate::options::Options;
use crate::report::{count, heading};
use crate::stores::{Append, Form, Kind, Outcome, Subject};

const GOAL_MS: f64 = 50.0;
const GOAL_MIB: f64 = 64.0;

pub fn compare(bench: &mut Bench, folder: &Path) {
    let mut text = String::new();
    let columns =
        ["ms to open", "MiB then", "MiB after 10,000 reads of entities", "MiB after a scan"];
    heading(&mut text, &["store".to_owned()], columns.map(str::to_owned).into_iter());
    for killed in [false, true] {
        let mut runs: Vec<Vec<f64>> = Vec::new();
        for _ in 0..bench.options.rounds {
            if killed {
                child("killed", folder, &bench.options);
            }
            runs.push(child("opened", folder, &bench.options));
        }
        let column = |index: usize| {
            let spread = Spread::of(runs.iter().map(|run| run[index]));
            spread.map_or(String::new(), |of| {
                format!("{} ({}..{})", count(of.median), count(of.min), count(of.max))
            })
        };
        let title = if killed { "killed before" } else { "closed before" };
        text += &format!("| {title} |");
        for index in 0..columns.len() {
            text += &format!(" {} |", column(index));
        }
        text.push('\n');
    }
    text += &format!("\nThe goals are {GOAL_MS} ms and {GOAL_MIB} MiB.\n");
    let title = format!("libdcb, opening {} events", count(bench.options.large as f64));
    bench.report.sections.push((title, text));
}

/// Runs a part of this program in a process of its own, and gives the numbers it printed.
fn child(part: &str, folder: &Path, options: &Options) -> Vec<f64> {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--part", part])
        .arg(folder)
        .args([options.large.to_string(), options.burst.to_string()])
        .output()
        .expect("a process of this program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.split_whitespace().map(|word| word.parse().expect("a number")).collect()
}

/// What the process of its own does: it appends `burst` events and is killed, or it reads.
pub fn part(part: &str, folder: &Path, events: u64, burst: u64) {
    let (store, time) = timed(|| Kind::Libdcb.open(folder));
    match part {
        "killed" => {
            append_unsaved(&*store, 0, burst);
            // SAFETY: ends the process as a kill does: nothing is closed, nothing is flushed.
            unsafe { libc::_exit(0) }
        }
        _ => {
            let opened = resident_mib();
            read::entities(&*store, 1, Form::Structs, Duration::from_millis(500), events);
            let after_reads = resident_mib();
            read::scan(&*store, events);
            let after_scan = resident_mib();
            println!("{} {opened} {after_reads} {after_scan}", time.as_secs_f64() * 1000.0);
        }
    }
}

/// Appends events with numbers from `first` on, and leaves them in the WAL.
pub fn append_unsaved(store: &dyn Subject, first: u64, events: u64) {
    for first in (first..first + events).step_by(64) {
        let batch: Vec<_> = (first..first + 64).map(load::event).collect();
        assert_eq!(store.append(&Append { events: &batch, condition: None }), Outcome::Stored);
    }
}

/// The memory of this process that is its own.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux's /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") / 1024.0
}
