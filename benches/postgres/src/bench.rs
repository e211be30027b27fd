//! One run of the benchmark: the server, the drivers of the stores, and what was measured so far.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::driver::{Driver, FILL_PATIENCE, Missing};
use crate::kinds::{Kind, NOT_TO_BE_HAD};
use crate::measure::{Sample, timed};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::server::Server;

/// How many numbers of events one run may use up.
const NUMBERS_OF_A_RUN: u64 = 1 << 24;

/// The file of a kept server with the number of runs that were begun on it, so that none of their
/// events has the number of a new one.
const RUNS: &str = "runs";
/// How large a kept database may be beside its size after filling, so that it is not filled anew.
const GROWTH: f64 = 1.1;

/// A store that was filled with so many events, and its driver.
pub struct Subject {
    pub kind: Kind,
    pub size: u64,
    /// `None` after it has failed, until it is started again.
    driver: Option<Driver>,
    /// A second process with the same store open, for some workloads.
    second: Option<Driver>,
    program: Vec<PathBuf>,
    /// By way of which port it reaches the server.
    port: Option<u16>,
}

impl Subject {
    pub fn database(&self) -> String {
        format!("{}_{}", self.kind.database_of().word(), self.size)
    }

    fn start(&self, server: &Server) -> Result<Driver, String> {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).arg(server.uri(&self.database(), self.port));
        Driver::start(command)
    }

    /// Runs a workload in one process, or in two at once and with the sum of their rates.
    fn run(
        &mut self,
        server: &Server,
        lines: &[String],
        time: Duration,
    ) -> Result<Sample, Missing> {
        if self.driver.is_none() {
            self.driver = Some(self.start(server).map_err(Missing::Failed)?);
        }
        if lines.len() > 1 && self.second.is_none() {
            self.second = Some(self.start(server).map_err(Missing::Failed)?);
        }
        let drivers = [&mut self.driver, &mut self.second];
        let mut running: Vec<_> = drivers.into_iter().flatten().zip(lines).collect();
        for (driver, line) in &mut running {
            driver.begin(line);
        }
        let answers: Vec<_> = running.iter().map(|(driver, _)| driver.end(time)).collect();
        let mut sum = Sample::default();
        let mut missing = None;
        for answer in answers {
            match answer {
                Ok(sample) => {
                    sum.rate += sample.rate;
                    (sum.p50, sum.p99) = (sum.p50.max(sample.p50), sum.p99.max(sample.p99));
                }
                Err(other) => missing = Some(other),
            }
        }
        if matches!(missing, Some(Missing::Failed(_))) {
            (self.driver, self.second) = (None, None);
        }
        missing.map_or(Ok(sum), Err)
    }
}

pub struct Bench {
    pub options: Options,
    /// They end before the server does.
    pub subjects: Vec<Subject>,
    pub server: Server,
    pub report: Report,
    runs: u64,
}

/// What a row asks of each store.
pub struct Asked<'a> {
    pub title: &'a str,
    pub unit: &'static str,
    /// Whether the bare query can do it.
    pub is_query: bool,
    /// Whether only stores of the first size do it.
    pub first_size: bool,
    /// In how many processes at once.
    pub processes: usize,
    /// How much longer than `--seconds` it may take, such as for a scan.
    pub patience: Duration,
}

impl<'a> Asked<'a> {
    pub fn new(title: &'a str, unit: &'static str) -> Self {
        let patience = Duration::ZERO;
        Asked { title, unit, is_query: false, first_size: false, processes: 1, patience }
    }
}

impl Bench {
    /// Installs and fills the stores that were asked for.
    pub fn prepare(options: Options, server: Server) -> Self {
        let report = Report::new(&options, &server);
        let runs = options.keep.as_ref().and_then(|_| {
            std::fs::read_to_string(server.folder().join(RUNS)).ok()?.trim().parse().ok()
        });
        let runs = runs.unwrap_or(0);
        let mut bench = Bench { options, subjects: Vec::new(), server, report, runs };
        let mut missing: Vec<(String, String)> = Vec::new();
        if bench.options.stores.iter().any(|kind| kind.is_rival()) {
            missing.extend(NOT_TO_BE_HAD.iter().map(|(name, why)| ((*name).into(), (*why).into())));
        }
        for kind in bench.options.stores.clone() {
            let added =
                kind.install(&bench.options.out).and_then(|program| bench.add(kind, &program));
            if let Err(why) = added {
                bench.subjects.retain(|subject| subject.kind != kind);
                missing.push((kind.name().to_owned(), why));
            }
        }
        for (name, why) in &missing {
            eprintln!("SKIPPED: {}: {why}", name.to_uppercase());
        }
        bench.report.skipped = missing;
        let databases: Vec<String> = bench.subjects.iter().map(Subject::database).collect();
        bench.server.settle(&databases);
        bench
    }

    fn add(&mut self, kind: Kind, program: &[PathBuf]) -> Result<(), String> {
        for size in self.options.sizes.clone() {
            let mut subject = Subject {
                kind,
                size,
                driver: None,
                second: None,
                program: program.to_vec(),
                port: None,
            };
            let database = subject.database();
            if kind.database_of() != kind {
                let is_there = self.subjects.iter().any(|other| other.database() == database);
                if !is_there {
                    return Err("it needs the tables of libdcb".to_owned());
                }
                self.subjects.push(subject);
                continue;
            }
            if self.is_fresh(&database) {
                eprintln!("{}: {size} events are there", kind.name());
            } else {
                self.server.create_database(&database);
                let mut driver = subject.start(&self.server)?;
                let line = format!("fill 0 {size} {size}");
                let (filled, time) = timed(|| driver.ask(&line, FILL_PATIENCE));
                filled.map_err(|missing| format!("{missing:?}"))?;
                let seconds = time.as_secs_f64();
                eprintln!("{}: {size} events in {seconds:.1} s", kind.name());
                self.server.note_filled(&database, size as f64 / seconds);
                subject.driver = Some(driver);
            }
            let filled = self.server.filled(&database).ok_or("its database is not filled")?;
            self.report.filled.push((kind, size, filled));
            self.subjects.push(subject);
        }
        Ok(())
    }

    /// Whether a database was filled and has hardly grown since.
    fn is_fresh(&self, database: &str) -> bool {
        self.server.filled(database).is_some_and(|filled| {
            let (tables, indexes) = self.server.bytes(database);
            tables + indexes < (filled.tables + filled.indexes) * GROWTH
        })
    }

    /// Lets all stores reach the server by way of a port from now on.
    pub fn route(&mut self, port: Option<u16>) {
        for subject in &mut self.subjects {
            (subject.driver, subject.second, subject.port) = (None, None, port);
        }
    }

    /// Runs a workload on each store in turn, as often as there are rounds. `line` makes what a
    /// driver is asked from the size of its store and the first number of a new event.
    pub fn compare(&mut self, asked: &Asked<'_>, line: impl Fn(u64, u64) -> String) {
        let first_size = self.options.sizes[0];
        let mut row = Row::new(asked.title, asked.unit);
        let most = self.options.rounds * (self.subjects.len() * asked.processes) as u64;
        let file = self.server.folder().join(RUNS);
        std::fs::write(file, (self.runs + most).to_string()).expect("the number of runs");
        for round in 1..=self.options.rounds {
            for subject in &mut self.subjects {
                let is_able = asked.is_query || subject.kind != Kind::Bare;
                if !is_able || asked.first_size && subject.size != first_size {
                    continue;
                }
                let mut next = || {
                    self.runs += 1;
                    line(subject.size, self.runs * NUMBERS_OF_A_RUN)
                };
                let lines: Vec<String> = (0..asked.processes).map(|_| next()).collect();
                let patience = self.options.time * 2 + asked.patience;
                let sample = subject.run(&self.server, &lines, patience);
                let name = subject.kind.name();
                match &sample {
                    Ok(sample) => eprintln!(
                        "{}, round {round}, {name}, {} events: {:.0} {} a second, {:.0} / {:.0} us",
                        asked.title, subject.size, sample.rate, asked.unit, sample.p50, sample.p99
                    ),
                    Err(missing) => eprintln!("{}, {name}: {missing:?}", asked.title),
                }
                row.add(subject.kind, subject.size, sample);
            }
        }
        self.report.rows.push(row);
    }
}
