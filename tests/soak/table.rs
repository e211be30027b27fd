//! The measurements of a soak test, and which of them grow.

use std::collections::BTreeMap;
use std::time::Duration;

/// A histogram of latencies, exact to about a tenth.
#[derive(Debug, Default, Clone)]
pub struct Latencies(BTreeMap<u32, u64>);

/// How many buckets there are for each doubling.
const FINE: f64 = 8.0;

impl Latencies {
    pub fn note(&mut self, time: Duration) {
        let micros = time.as_micros().max(1) as f64;
        *self.0.entry((micros.log2() * FINE).round() as u32).or_default() += 1;
    }

    pub fn add(&mut self, other: &Latencies) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Returns the quantile in milliseconds: this share of the calls took no longer.
    pub fn quantile(&self, share: f64) -> f64 {
        let (wanted, mut sum) = ((self.count() as f64 * share).ceil() as u64, 0);
        for (bucket, count) in &self.0 {
            sum += count;
            if sum >= wanted {
                return (f64::from(*bucket) / FINE).exp2() / 1_000.0;
            }
        }
        0.0
    }

    pub fn to_text(&self) -> String {
        let parts: Vec<_> =
            self.0.iter().map(|(bucket, count)| format!("{bucket}:{count}")).collect();
        parts.join(",")
    }

    pub fn from_text(text: &str) -> Latencies {
        let pair = |part: &str| {
            let (bucket, count) = part.split_once(':')?;
            Some((bucket.parse().ok()?, count.parse().ok()?))
        };
        Latencies(text.split(',').filter_map(pair).collect())
    }
}

/// One sample. Memory and descriptors are sums over all processes.
#[derive(Debug, Default, Clone)]
pub struct Sample {
    pub second: u64,
    pub kib: u64,
    /// How many bytes are in use while the store is closed.
    pub kept: u64,
    pub descriptors: u64,
    pub log: u64,
    pub file: u64,
    pub appends: Latencies,
    pub reads: Latencies,
}

/// The memory that the index's filters may take: 24 MiB a process (docs/internals/memory.md).
const FILTERS_MIB: f64 = 24.0 * crate::PROCESSES as f64;
/// The bound of the WAL: twice the size from which the end of a checkpoint waits for writers.
const WAL_BOUND: u64 = 2 * 32 * 1024 * 1024;

/// The samples, each printed when it is added.
pub struct Table {
    interval: Duration,
    samples: Vec<Sample>,
}

const MIB: f64 = 1024.0 * 1024.0;

impl Table {
    pub fn new(interval: Duration) -> Table {
        println!(
            "{:>6} {:>8} {:>8} {:>5} {:>8} {:>9} {:>9} {:>8} {:>8} {:>9} {:>8} {:>8}",
            "s",
            "MiB",
            "kept KiB",
            "fds",
            "log MiB",
            "file MiB",
            "appends/s",
            "p50 ms",
            "p99 ms",
            "reads/s",
            "p50 ms",
            "p99 ms"
        );
        Table { interval, samples: Vec::new() }
    }

    pub fn push(&mut self, sample: Sample) {
        let rate = |latencies: &Latencies| latencies.count() as f64 / self.interval.as_secs_f64();
        println!(
            "{:>6} {:>8.1} {:>8.0} {:>5} {:>8.1} {:>9.1} {:>9.0} {:>8.2} {:>8.2} {:>9.0} {:>8.2} {:>8.2}",
            sample.second,
            sample.kib as f64 / 1024.0,
            sample.kept as f64 / 1024.0,
            sample.descriptors,
            sample.log as f64 / MIB,
            sample.file as f64 / MIB,
            rate(&sample.appends),
            sample.appends.quantile(0.5),
            sample.appends.quantile(0.99),
            rate(&sample.reads),
            sample.reads.quantile(0.5),
            sample.reads.quantile(0.99),
        );
        self.samples.push(sample);
    }

    pub fn is_idle(&self) -> bool {
        self.samples.iter().all(|sample| sample.appends.count() == 0 || sample.reads.count() == 0)
    }

    /// Returns the measurements that have grown: it leaves out the first sixth, and compares the
    /// median of the last third with that of the first. Filters that fill and the noise of a busy
    /// machine are allowed for. The memory that is in use while the store is closed has no such
    /// allowance, so that a leak of one byte a call is found.
    pub fn growing(&self) -> Vec<String> {
        let steady = &self.samples[self.samples.len() / 6..];
        let third = steady.len() / 3;
        let (first, last) = (&steady[..third], &steady[steady.len() - third..]);
        let mut growing = Vec::new();
        let mut hold = |what: &str, of: &dyn Fn(&Sample) -> f64, factor: f64, more: f64| {
            let (before, after) = (median(first, of), median(last, of));
            println!("{what}: {before:.2}, and in the end {after:.2}");
            if after > before * factor + more {
                growing.push(format!("{what}: from {before:.2} to {after:.2}"));
            }
        };
        hold("MiB in memory", &|sample| sample.kib as f64 / 1024.0, 1.25, FILTERS_MIB);
        hold("KiB kept when closed", &|sample| sample.kept as f64 / 1024.0, 1.0, 512.0);
        hold("descriptors", &|sample| sample.descriptors as f64, 1.0, 6.0);
        hold("p99 of appends, ms", &|sample| sample.appends.quantile(0.99), 1.5, 2.0);
        hold("p99 of reads, ms", &|sample| sample.reads.quantile(0.99), 1.5, 2.0);
        let log = self.samples.iter().map(|sample| sample.log).max().unwrap_or(0);
        println!("the log's longest: {:.1} MiB", log as f64 / MIB);
        if log > WAL_BOUND {
            growing.push(format!("the log: {:.1} MiB", log as f64 / MIB));
        }
        growing
    }
}

fn median(samples: &[Sample], of: &dyn Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[test]
fn growing_measurements_are_reported() {
    let sample = |second, kib, micros| {
        let mut sample = Sample { second, kib, descriptors: 60, ..Sample::default() };
        for _ in 0..100 {
            sample.appends.note(Duration::from_micros(micros));
            sample.reads.note(Duration::from_micros(300));
        }
        sample
    };
    let table = |samples| Table { interval: Duration::from_secs(1), samples };
    let flat = (0..60).map(|second| sample(second, 100_000 + second % 7 * 999, 900));
    assert_eq!(table(flat.collect()).growing(), Vec::<String>::new());
    let swells = (0..60).map(|second| sample(second, 100_000 + second * 8_000, 900));
    assert_eq!(table(swells.collect()).growing().len(), 1);
    let leaks = (0..60).map(|second| {
        let kept = 700_000 + second * 20_000;
        Sample { kept, ..sample(second, 100_000, 900) }
    });
    assert_eq!(table(leaks.collect()).growing().len(), 1);
    let slows = (0..60).map(|second| sample(second, 100_000, 900 + second * 200));
    assert_eq!(table(slows.collect()).growing().len(), 1);
    let mut long = sample(1, 1, 1);
    long.log = WAL_BOUND + 1;
    assert_eq!(table(vec![long]).growing().len(), 1);
}
