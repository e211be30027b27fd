//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::arguments::{number, numbers, seconds, words};
use crate::kinds::Kind;

pub const USAGE: &str = "\
dcb-bench-postgres: libdcb beside other stores, on one PostgreSQL server made for it

    --stores A,B     of libdcb, plain, dcbes, eventsourcing, disintegrate, bare (all)
    --workloads A,B  of read, scan, decide, notify, append, processes, delay, standby (all)
    --sizes N,N      events that each store is filled with first, a store for each size (100000)
    --callers N,N    how many callers append at once (1,16,64,256)
    --rounds N       how often each store runs each workload (3)
    --seconds S      how long one run of a store takes (2)
    --out FOLDER     where postgres.md goes, and what is installed of others (target/bench)
    --set NAME=VALUE a parameter of the server, after those that are always set
    --keep FOLDER    keeps the server and its databases there, and another run takes what it needs of them
    --quick          rounds 2, seconds 0.5, sizes 20000
    --smoke          one round of 0.02 seconds on 400 events, of libdcb, plain and bare, callers 1,16
";

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub stores: Vec<Kind>,
    pub workloads: Vec<String>,
    pub sizes: Vec<u64>,
    pub callers: Vec<u64>,
    pub rounds: u64,
    pub time: Duration,
    pub out: PathBuf,
    /// More parameters of the server, each as `name=value`.
    pub settings: Vec<String>,
    /// Where the server stays.
    pub keep: Option<PathBuf>,
    /// Whether the figures mean nothing.
    pub is_smoke: bool,
}

impl Options {
    pub const WORKLOADS: [&str; 8] =
        ["read", "scan", "decide", "notify", "append", "processes", "delay", "standby"];

    /// Reads the arguments; the error is a line for the caller.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            stores: Kind::ALL.to_vec(),
            workloads: Self::WORKLOADS.map(str::to_owned).to_vec(),
            sizes: vec![100_000],
            callers: vec![1, 16, 64, 256],
            rounds: 3,
            time: Duration::from_secs(2),
            out: PathBuf::from("target/bench"),
            settings: Vec::new(),
            keep: None,
            is_smoke: false,
        };
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--help" => {
                    return Err("what there is to choose, and what is chosen else".to_owned());
                }
                "--quick" => {
                    (options.rounds, options.sizes) = (2, vec![20_000]);
                    options.time = Duration::from_millis(500);
                    continue;
                }
                "--smoke" => {
                    (options.rounds, options.sizes) = (1, vec![400]);
                    options.time = Duration::from_millis(20);
                    options.callers = vec![1, 16];
                    options.stores = vec![Kind::Libdcb, Kind::Plain, Kind::Bare];
                    options.is_smoke = true;
                    continue;
                }
                _ => {}
            }
            let value = arguments.next().ok_or_else(|| format!("{name}: needs a value"))?;
            match name.as_str() {
                "--stores" => {
                    let chosen = words(&name, &value, &Kind::ALL.map(Kind::word))?;
                    options.stores = Kind::ALL
                        .into_iter()
                        .filter(|kind| chosen.contains(&kind.word()))
                        .collect();
                }
                "--workloads" => {
                    let chosen = words(&name, &value, &Self::WORKLOADS)?;
                    options.workloads = chosen.into_iter().map(str::to_owned).collect();
                }
                "--sizes" => options.sizes = numbers(&name, &value)?,
                "--callers" => options.callers = numbers(&name, &value)?,
                "--rounds" => options.rounds = number(&name, &value)?,
                "--seconds" => options.time = seconds(&name, &value)?,
                "--set" if value.contains('=') => options.settings.push(value),
                "--set" => return Err(format!("{name}: {value} is not NAME=VALUE")),
                "--keep" => options.keep = Some(PathBuf::from(value)),
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
        let options = parse("--quick --stores plain,libdcb --sizes 5,30 --seconds 0.25").unwrap();
        assert_eq!(options.stores, [Kind::Libdcb, Kind::Plain]);
        assert_eq!((options.rounds, options.sizes), (2, vec![5, 30]));
        assert_eq!(options.time, Duration::from_millis(250));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--rounds",
            "--rounds 0",
            "--sizes 5,x",
            "--seconds -1",
            "--stores x",
            "--set x",
            "--wat 1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
