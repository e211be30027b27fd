//! The commands as a shell runs them: what they print in each format, their exit statuses, and what
//! is left when they are interrupted.

mod bench;
mod damage;
mod full_disk;
mod golden;
mod interruptions;
mod neighbours;
mod pages;
mod progress;
mod recording;
mod servers;
mod statuses;
mod tutorial;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A line of `dcb export`, for an event with fixed times.
fn line(position: u64) -> String {
    format!(
        r#"{{"position":{position},"type":"Counted","tags":["number:{position}","parity:{}"],"data":{{"n":{position},"mark":"MARK-{position}-"}},"id":"id-{position}","timestamp":"2026-11-23T04:12:17.{:06}Z"}}"#,
        position % 2,
        position % 1_000_000
    )
}

/// Returns a file of so many events.
fn lines(events: u64) -> String {
    (1..=events).map(|position| line(position) + "\n").collect()
}

/// A command in a folder, in UTC and without what the environment of the test says.
fn dcb(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dcb"));
    command.args(arguments).current_dir(folder).env("TZ", "UTC").env_remove("DCB_URI");
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    dcb(folder, arguments).output().expect("the program runs")
}

/// Runs a command with this on its stdin.
fn run_with(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = dcb(folder, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // It may end before it has read all.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the program ends")
}

/// Runs a command on a terminal with so many columns, and returns what appears there.
fn on_terminal(folder: &Path, columns: usize, arguments: &str) -> String {
    let program = env!("CARGO_BIN_EXE_dcb");
    let output = Command::new("script")
        .args([
            "-qec",
            &format!("stty rows 24 cols {columns}; '{program}' {arguments}"),
            "/dev/null",
        ])
        .current_dir(folder)
        .env("TZ", "UTC")
        .env_remove("DCB_URI")
        .output()
        .expect("script of util-linux");
    String::from_utf8(output.stdout).expect("UTF-8").replace("\r\n", "\n")
}

/// Returns the stdout of a command that has to succeed.
#[track_caller]
fn good(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Returns the stderr of a command that has to end with this status.
#[track_caller]
fn failed(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}
