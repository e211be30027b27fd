//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::arguments::{number, numbers, seconds, words};
use crate::stores::Kind;

pub const USAGE: &str = "\
dcb-bench: libdcb beside other stores, in one process and one run

    --workloads A,B  of append, bulk, tails, read, decide, memory, large, open (all)
    --stores A,B     of libdcb, tephra, umadb, plain, bare (all)
    --rounds N       how often each store runs each workload (5)
    --seconds S      how long one run of a store takes (2)
    --sizes N,N      events of the stores of `read` and `decide`, one after the other
                     (100000,300000,1000000,10000000)
    --events N       events of a bulk load (1000000)
    --small N        events of the small store of `large` (100000)
    --large N        events of the large store of `large` and `open` (10000000)
    --data FOLDER    where the stores lie, on a disk (target/bench/data)
    --out FOLDER     where benchmark.md and benchmark.svg go (target/bench)
    --scale N        instead of the workloads: one store of N events, from the first append to the
                     last; it takes 480 bytes an event; a run that was interrupted is gone on with
    --keep           leave the store of --scale where it is, to be measured again
    --quick          rounds 3, seconds 0.5, sizes and events 100000, small 20000, large 200000
    --smoke          one round of 0.02 seconds on some hundred events, of libdcb, plain and bare,
                     also in memory: whether all of it runs, and not how fast
";

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub workloads: Vec<String>,
    pub stores: Vec<Kind>,
    pub rounds: u64,
    pub time: Duration,
    pub sizes: Vec<u64>,
    pub events: u64,
    pub small: u64,
    pub large: u64,
    pub data: PathBuf,
    pub out: PathBuf,
    /// Events of the large append of `tails`, and of a process that is killed.
    pub burst: u64,
    /// How long stores that were filled are left alone.
    pub settle: Duration,
    /// How long a store does nothing behind its appends before it counts as at rest.
    pub rest: Duration,
    /// Whether the figures mean nothing.
    pub is_smoke: bool,
    /// How many events the one store of `--scale` has.
    pub scale: Option<u64>,
    /// Whether the store of `--scale` stays.
    pub is_kept: bool,
    /// The part of `--scale` that a process of its own runs.
    pub step: Option<String>,
}

impl Options {
    pub const WORKLOADS: [&str; 8] =
        ["append", "bulk", "tails", "read", "decide", "memory", "large", "open"];

    /// Reads the arguments; the error is a line for the caller.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            workloads: Self::WORKLOADS.map(str::to_owned).to_vec(),
            stores: Kind::built().collect(),
            rounds: 5,
            time: Duration::from_secs(2),
            sizes: vec![100_000, 300_000, 1_000_000, 10_000_000],
            events: 1_000_000,
            small: 100_000,
            large: 10_000_000,
            data: PathBuf::from("target/bench/data"),
            out: PathBuf::from("target/bench"),
            burst: 100_000,
            settle: Duration::from_secs(3),
            // Longer than one merge takes.
            rest: Duration::from_secs(10),
            is_smoke: false,
            scale: None,
            is_kept: false,
            step: None,
        };
        while let Some(name) = arguments.next() {
            if name == "--help" {
                return Err("what there is to choose, and what is chosen else".to_owned());
            }
            if name == "--quick" {
                options.rounds = 3;
                options.time = Duration::from_millis(500);
                options.sizes = vec![100_000];
                (options.events, options.small, options.large) = (100_000, 20_000, 200_000);
                continue;
            }
            if name == "--smoke" {
                options.stores = vec![Kind::Libdcb, Kind::Plain, Kind::Bare];
                options.rounds = 1;
                options.time = Duration::from_millis(20);
                options.sizes = vec![400];
                (options.events, options.small, options.large) = (400, 200, 400);
                (options.burst, options.settle, options.rest) =
                    (640, Duration::ZERO, Duration::ZERO);
                options.is_smoke = true;
                continue;
            }
            if name == "--keep" {
                options.is_kept = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name}: needs a value"))?;
            match name.as_str() {
                "--workloads" => {
                    let chosen = words(&name, &value, &Self::WORKLOADS)?;
                    options.workloads = chosen.into_iter().map(str::to_owned).collect();
                }
                "--stores" => {
                    let built: Vec<&str> = Kind::built().map(Kind::word).collect();
                    let chosen = words(&name, &value, &built)?;
                    options.stores.retain(|kind| chosen.contains(&kind.word()));
                }
                "--rounds" => options.rounds = number(&name, &value)?,
                "--seconds" => options.time = seconds(&name, &value)?,
                "--sizes" => options.sizes = numbers(&name, &value)?,
                "--events" => options.events = number(&name, &value)?,
                "--scale" => options.scale = Some(number(&name, &value)?),
                "--step" => options.step = Some(value),
                "--small" => options.small = number(&name, &value)?,
                "--large" => options.large = number(&name, &value)?,
                "--data" => options.data = PathBuf::from(value),
                "--out" => options.out = PathBuf::from(value),
                _ => return Err(format!("{name}: there is no such option")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_given_is_taken_and_the_rest_stays() {
        let options =
            parse("--quick --stores plain,libdcb --events 7 --sizes 5,30 --seconds 0.25").unwrap();
        assert_eq!(options.stores, [Kind::Libdcb, Kind::Plain]);
        assert_eq!((options.rounds, options.events, options.large), (3, 7, 200_000));
        assert_eq!(options.sizes, [5, 30]);
        assert_eq!(options.time, Duration::from_millis(250));
    }

    #[test]
    fn a_store_of_many_events_is_asked_for_by_their_number() {
        let options = parse("--scale 5000 --keep --step open").unwrap();
        assert_eq!((options.scale, options.is_kept), (Some(5000), true));
        assert_eq!(options.step.as_deref(), Some("open"));
        assert!(parse("--scale").is_err());
        assert!(parse("--scale 1e8").is_err());
    }

    #[test]
    fn stores_that_are_not_built_are_no_choice() {
        assert_eq!(parse("--stores tephra").is_ok(), cfg!(feature = "rivals"));
        assert_eq!(parse("").unwrap().stores.len(), if cfg!(feature = "rivals") { 5 } else { 3 });
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in
            ["--rounds", "--rounds 0", "--sizes 5,x", "--seconds -1", "--stores x", "--wat 1"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
