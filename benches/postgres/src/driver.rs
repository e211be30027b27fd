//! The process that runs workloads on a store: see `drive.rs` for what it is asked and answers.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::measure::Sample;

/// How long a driver may take for an answer, beside the time that it is asked to run for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to fill a store.
pub const FILL_PATIENCE: Duration = Duration::from_secs(3 * 60 * 60);

pub struct Driver {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// Why there is no sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Missing {
    /// The store has no such thing.
    None(String),
    /// It failed, and the driver is gone.
    Failed(String),
}

impl Driver {
    /// Starts the process and waits until its store is open.
    pub fn start(mut command: Command) -> Result<Self, String> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let driver = Driver { process, input, lines };
        match driver.lines.recv_timeout(PATIENCE).as_deref() {
            Ok("ready") => Ok(driver),
            Ok(line) => Err(line.to_owned()),
            Err(_) => Err("its driver does not start".to_owned()),
        }
    }

    /// Asks for a workload.
    pub fn begin(&mut self, line: &str) {
        // Of a driver that is gone, the answer tells.
        let _ = writeln!(self.input.as_mut().expect("its input"), "{line}");
    }

    /// Waits for the answer.
    pub fn end(&self, patience: Duration) -> Result<Sample, Missing> {
        let failed = |text: &str| Err(Missing::Failed(text.to_owned()));
        let line = match self.lines.recv_timeout(patience + PATIENCE) {
            Ok(line) => line,
            Err(_) => return failed("no answer"),
        };
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if word == "none" {
            return Err(Missing::None(rest.to_owned()));
        }
        let numbers: Vec<f64> = rest.split(' ').map_while(|number| number.parse().ok()).collect();
        match (word, &numbers[..]) {
            ("ok", &[rate, p50, p99]) => Ok(Sample { rate, p50, p99, cpu: 0.0 }),
            _ => failed(&line),
        }
    }

    pub fn ask(&mut self, line: &str, patience: Duration) -> Result<Sample, Missing> {
        self.begin(line);
        self.end(patience)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
