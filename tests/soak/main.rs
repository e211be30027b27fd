//! A soak test: processes and threads append to one file, read it and follow it, for as long as one
//! likes. Nothing may grow meanwhile: not memory, descriptors, the WAL, nor the slowest calls.
//!
//! `make soak SOAK_MINUTES=60` runs it. As one of the other tests it takes some seconds, or a
//! minute with `DCB_TEST_LONG=1`, and only shows that the test itself works.

#![cfg(target_os = "linux")]

#[path = "../crash/client.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod client;
#[path = "../crash/random.rs"]
mod random;
mod table;
mod work;

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use table::{Latencies, Sample, Table};

const PROCESSES: u64 = 3;
/// The environment variable with a worker's number and the path of its store.
const STORE: &str = "DCB_SOAK_STORE";

/// The entry point of a worker. It runs only in a process that the test starts.
#[test]
#[ignore = "a process of the other test"]
fn role() {
    let Ok(text) = std::env::var(STORE) else { return };
    let (number, path) = text.split_once(' ').expect("a number and a path");
    work::work(Path::new(path), number.parse().expect("a number"));
}

struct Worker {
    process: Child,
    lines: mpsc::Receiver<String>,
}

impl Worker {
    fn start(path: &Path, number: u64) -> Worker {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "role", "--ignored", "--nocapture", "--test-threads=1"])
            .env(STORE, format!("{number} {}", path.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("a process");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Worker { process, lines }
    }

    /// Asks the worker for the latencies of its appends and reads since the last time, and for the
    /// bytes that it still held while its store was closed.
    fn ask(&mut self) -> (Latencies, Latencies, u64) {
        let input = self.process.stdin.as_mut().expect("piped");
        input.write_all(b"tell\n").expect("a process that lives");
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("an answer");
            // The test harness prints its own lines first.
            if let Some((_, report)) = line.split_once("stats ") {
                let [appends, reads, kept] = report.split(" | ").collect::<Vec<_>>()[..] else {
                    panic!("{report}")
                };
                let kept = kept.parse().expect("a number");
                return (Latencies::from_text(appends), Latencies::from_text(reads), kept);
            }
        }
    }

    /// Returns the resident memory in KiB, and the number of open descriptors.
    fn usage(&self) -> (u64, u64) {
        let folder = format!("/proc/{}", self.process.id());
        let status = std::fs::read_to_string(format!("{folder}/status")).expect("a process");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|rest| rest.trim().split(' ').next()?.parse().ok());
        let descriptors = Path::new(&folder).join("fd").read_dir().expect("a process").count();
        (kib.expect("a number"), descriptors as u64)
    }
}

#[test]
fn nothing_grows_under_load() {
    let minutes: Option<f64> =
        std::env::var("SOAK_MINUTES").ok().map(|minutes| minutes.parse().expect("minutes"));
    let is_long = std::env::var_os("DCB_TEST_LONG").is_some();
    let seconds = minutes.map_or(if is_long { 60.0 } else { 6.0 }, |minutes| minutes * 60.0);
    // The build folder is usually on a disk, where a sync is a real sync.
    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("x.db");
    let mut workers: Vec<Worker> =
        (0..PROCESSES).map(|number| Worker::start(&path, number)).collect();

    let interval = Duration::from_secs_f64((seconds / 60.0).clamp(0.5, 10.0));
    let begin = Instant::now();
    let mut table = Table::new(interval);
    while begin.elapsed().as_secs_f64() < seconds {
        std::thread::sleep(interval);
        let mut sample = Sample { second: begin.elapsed().as_secs(), ..Sample::default() };
        for worker in &mut workers {
            let (appends, reads, kept) = worker.ask();
            sample.appends.add(&appends);
            sample.reads.add(&reads);
            sample.kept += kept;
            let (kib, descriptors) = worker.usage();
            sample.kib += kib;
            sample.descriptors += descriptors;
        }
        let len = |name: &str| std::fs::metadata(name).map_or(0, |metadata| metadata.len());
        sample.log = len(&format!("{}-wal", path.display()));
        sample.file = len(&path.display().to_string());
        table.push(sample);
    }
    for worker in &mut workers {
        // The worker ends at the end of its input.
        drop(worker.process.stdin.take());
        assert!(worker.process.wait().expect("a process").success());
    }
    let store = client::Store::open(&path).expect("the store");
    let head = store.head().expect("the head");
    let result = store.read(r#"{"backwards":true,"limit":1}"#).expect("a read");
    assert_eq!(result.events.first().map(|event| event.position), Some(head));
    println!("{head} events");
    // In a short run, growth is mostly noise, so only a long run fails because of it.
    let growing = table.growing();
    assert!(seconds < 600.0 || growing.is_empty(), "{growing:#?}");
    assert!(head > 0 && !table.is_idle(), "nothing was done");
}
