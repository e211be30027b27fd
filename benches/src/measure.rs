//! Clocks, medians and ratios.

use std::sync::Barrier;
use std::time::{Duration, Instant};

/// One run of one store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Units a second.
    pub rate: f64,
    /// Of one operation, in microseconds.
    pub p50: f64,
    pub p99: f64,
    /// Processor time of one unit, all threads of the process together, in microseconds.
    pub cpu: f64,
}

/// Lets each of `threads` threads repeat an operation of its own until `time` is over. An
/// operation tells how many units it did, and how long that took without its preparation.
pub fn run<O>(threads: u64, time: Duration, operation: impl Fn(u64) -> O + Sync) -> Sample
where
    O: FnMut() -> (u64, Duration),
{
    let barrier = Barrier::new(threads as usize + 1);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, operation) = (&barrier, &operation);
                scope.spawn(move || {
                    let mut operation = operation(thread);
                    let (mut units, mut latencies) = (0, Vec::new());
                    barrier.wait();
                    let end = Instant::now() + time;
                    while latencies.is_empty() || Instant::now() < end {
                        let (done, latency) = operation();
                        units += done;
                        latencies.push(latency);
                    }
                    (units, latencies)
                })
            })
            .collect();
        barrier.wait();
        let clock = Clock::start();
        let (mut units, mut latencies) = (0, Vec::new());
        for thread in running {
            let (done, mut own) = thread.join().expect("a thread of the workload");
            units += done;
            latencies.append(&mut own);
        }
        clock.sample(units, latencies)
    })
}

/// Measures a run from its start on.
pub struct Clock {
    start: Instant,
    cpu: Duration,
}

impl Clock {
    pub fn start() -> Self {
        Clock { start: Instant::now(), cpu: cpu_time() }
    }

    /// How long the run takes by now.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The sample of a run that ends now: `units` done, by operations that took `latencies`.
    pub fn sample(self, units: u64, latencies: Vec<Duration>) -> Sample {
        sample(units, self.elapsed(), cpu_time() - self.cpu, latencies)
    }
}

/// The processor time that this process has used.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the output is valid.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "the clock of the process");
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

fn sample(units: u64, time: Duration, cpu: Duration, mut latencies: Vec<Duration>) -> Sample {
    latencies.sort_unstable();
    let at = |part: f64| {
        let index = (latencies.len() as f64 * part) as usize;
        latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    };
    Sample {
        rate: units as f64 / time.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        cpu: cpu.as_secs_f64() * 1e6 / units as f64,
    }
}

/// Runs `operation`, and tells how long it took.
pub fn timed<T>(operation: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = operation();
    (result, start.elapsed())
}

/// The middle of some numbers, and their ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        let middle = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            0 => f64::midpoint(numbers[middle - 1], numbers[middle]),
            _ => numbers[middle],
        };
        Some(Spread { min, median, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
    }

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let latencies = (1..=100).rev().map(Duration::from_micros).collect();
        let (time, cpu) = (Duration::from_secs(2), Duration::from_millis(1));
        let sample = sample(100, time, cpu, latencies);
        assert_eq!((sample.rate, sample.p50, sample.p99, sample.cpu), (50.0, 51.0, 100.0, 10.0));
    }
}
