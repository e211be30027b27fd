//! The steps of a run. Each has a process of its own and gives numbers.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

use super::{Place, fill};
use crate::load::{self, EVENTS_PER_ENTITY, Picks};
use crate::measure::{Clock, Sample, timed};
use crate::options::Options;
use crate::stores::{Form, Libdcb, Subject};
use crate::workloads::{append as appends, decide, open::append_unsaved, read as reads};

/// Entities that are read in one go.
const READS: u64 = 10_000;
/// The writers of the guarded appends, a row for each.
pub const WRITERS: [u64; 3] = [1, 16, 64];

const RATES: usize = 3;

/// A rate, and two percentiles in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Rate {
    fn of(sample: Sample) -> [f64; RATES] {
        [sample.rate, sample.p50, sample.p99]
    }

    fn from(numbers: &[f64]) -> Self {
        Rate { per_second: numbers[0], p50: numbers[1], p99: numbers[2] }
    }
}

/// What followed when the store was full; times in seconds.
pub struct Filled {
    pub resting: f64,
    pub closing: f64,
    pub segments: f64,
    pub peak_mib: f64,
    /// How many events the store has: more than were asked for if it was measured before.
    pub stored: f64,
}

impl From<[f64; 5]> for Filled {
    fn from([resting, closing, segments, peak_mib, stored]: [f64; 5]) -> Self {
        Filled { resting, closing, segments, peak_mib, stored }
    }
}

/// Appends what is missing, and lets the store come to rest.
pub fn fill(options: &Options, place: &Place) -> Result<Vec<f64>, String> {
    let store = place.open();
    fill::fill(&store, place)?;
    let ((), resting) = timed(|| store.come_to_rest(options.rest));
    let (segments, stored) = (store.segments() as f64, store.head() as f64);
    let ((), closing) = timed(|| drop(store));
    Ok(vec![resting.as_secs_f64(), closing.as_secs_f64(), segments, peak_mib(), stored])
}

/// One opening.
pub struct Opened {
    pub ms: f64,
    pub peak_mib: f64,
}

impl From<[f64; 2]> for Opened {
    fn from([ms, peak_mib]: [f64; 2]) -> Self {
        Opened { ms, peak_mib }
    }
}

pub fn open(place: &Place) -> Vec<f64> {
    let (store, time) = timed(|| place.open());
    let peak = peak_mib();
    drop(store);
    vec![time.as_secs_f64() * 1000.0, peak]
}

/// What reading gave.
pub struct Read {
    /// Entities, the first time and again, and with four readers.
    pub entities: [Rate; 3],
    pub peak_after_entities: f64,
    /// Events a second.
    pub scan: f64,
    pub peak_after_scan: f64,
}

impl From<[f64; 3 * RATES + 3]> for Read {
    fn from(numbers: [f64; 3 * RATES + 3]) -> Self {
        Read {
            entities: [0, 1, 2].map(|index| Rate::from(&numbers[index * RATES..])),
            peak_after_entities: numbers[3 * RATES],
            scan: numbers[3 * RATES + 1],
            peak_after_scan: numbers[3 * RATES + 2],
        }
    }
}

pub fn read(options: &Options, place: &Place) -> Vec<f64> {
    forget_pages(place);
    let store = place.open();
    let mut numbers = Vec::new();
    numbers.extend(Rate::of(read_entities(&store, place)));
    let peak = peak_mib();
    numbers.extend(Rate::of(read_entities(&store, place)));
    let four = reads::entities(&store, 4, Form::Structs, options.time, place.events);
    numbers.extend(Rate::of(four));
    numbers.push(peak);
    numbers.push(reads::scan(&store, place.events).rate);
    numbers.push(peak_mib());
    numbers
}

/// Reads entities picked at random, the same ones in each call.
fn read_entities(store: &Libdcb, place: &Place) -> Sample {
    let entities = load::entities(place.events);
    let mut picks = Picks::new(1);
    let clock = Clock::start();
    let latencies = (0..READS)
        .map(|_| {
            let tag = load::entity(picks.below(entities));
            let (found, latency) = timed(|| store.read(Some(&tag), Form::Structs));
            assert!(found.events >= EVENTS_PER_ENTITY, "{tag} has {} events", found.events);
            latency
        })
        .collect();
    clock.sample(READS, latencies)
}

/// Lets the system forget what it has cached of the file, so that it is read from the disk.
fn forget_pages(place: &Place) {
    let file = File::open(place.database()).expect("the database");
    file.sync_all().expect("a sync");
    // SAFETY: the descriptor is open; the call only advises.
    let status = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(status, 0, "posix_fadvise");
}

/// What appending gave.
pub struct Appended {
    /// Guarded appends of one event, by so many writers.
    pub guarded: [Rate; WRITERS.len()],
    pub decisions: Rate,
    pub peak_mib: f64,
}

impl From<[f64; 4 * RATES + 1]> for Appended {
    fn from(numbers: [f64; 4 * RATES + 1]) -> Self {
        Appended {
            guarded: [0, 1, 2].map(|index| Rate::from(&numbers[index * RATES..])),
            decisions: Rate::from(&numbers[3 * RATES..]),
            peak_mib: numbers[4 * RATES],
        }
    }
}

pub fn append(options: &Options, place: &Place) -> Vec<f64> {
    let store = place.open();
    let mut numbers = Vec::new();
    for writers in WRITERS {
        // The numbers of the events are unique: no event has one at or above the head.
        let first = store.head();
        numbers.extend(Rate::of(appends::hammer(&store, writers, 1, options.time, first)));
    }
    let next = AtomicU64::new(store.head());
    let entities = load::entities(place.events);
    numbers.extend(Rate::of(decide::on_any_entity(&store, 1, options.time, entities, &next)));
    numbers.push(peak_mib());
    numbers
}

/// Closes the store with a burst of appends in its WAL.
pub fn close(options: &Options, place: &Place) -> Vec<f64> {
    let store = place.open();
    append_unsaved(&store, store.head(), options.burst);
    let ((), time) = timed(|| drop(store));
    vec![time.as_secs_f64() * 1000.0]
}

/// Ends as a killed process does, with a burst of appends in the WAL.
pub fn kill(options: &Options, place: &Place) -> Vec<f64> {
    let store = place.open();
    append_unsaved(&store, store.head(), options.burst);
    // SAFETY: ends the process as a kill does: nothing is closed, nothing is flushed.
    unsafe { libc::_exit(0) }
}

/// The most memory that this process has had, in MiB.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux's /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") / 1024.0
}
