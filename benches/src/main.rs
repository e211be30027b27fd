//! libdcb beside other stores, in one process and one run. `make bench` runs it.

mod arguments;
mod bench;
mod chart;
mod disk;
mod load;
mod measure;
mod options;
mod report;
mod scale;
mod stores;
mod table;
mod workloads;

use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;
use std::path::Path;
use std::process::ExitCode;

use bench::Bench;
use options::{Options, USAGE};
use workloads::{append, decide, large, memory, open, read, tails};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, part, folder, events, burst] = &arguments[..]
        && flag == "--part"
    {
        let number = |text: &String| text.parse().expect("a number of events");
        open::part(part, Path::new(folder), number(events), number(burst));
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(error) => {
            eprint!("{error}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    if let (Some(events), Some(step)) = (options.scale, &options.step) {
        return told(scale::run_step(&options, events, step));
    }
    std::fs::create_dir_all(&options.data).expect("the folder for the stores");
    std::fs::create_dir_all(&options.out).expect("the folder for the results");
    if !options.is_smoke && disk::is_memory(&options.data) {
        eprintln!(
            "{} is in memory, where a sync costs nothing: choose a folder on a disk with --data",
            options.data.display()
        );
        return ExitCode::FAILURE;
    }
    if let Some(events) = options.scale {
        return told(scale::run(&options, events).map(|text| {
            std::fs::write(options.out.join("scale.md"), &text).expect("scale.md");
            print!("{text}");
        }));
    }
    let mut out = quiet_stdout();
    let mut bench = Bench::new(options);
    run(&mut bench);
    let markdown = bench.report.markdown();
    let results = &bench.options.out;
    std::fs::write(results.join("benchmark.md"), &markdown).expect("benchmark.md");
    if !bench.report.rows.is_empty() {
        let chart = chart::svg(&bench.report.rows);
        std::fs::write(results.join("benchmark.svg"), chart).expect("benchmark.svg");
    }
    out.write_all(markdown.as_bytes()).expect("stdout");
    ExitCode::SUCCESS
}

fn run(bench: &mut Bench) {
    let chosen = |bench: &Bench, word: &str| bench.options.workloads.iter().any(|own| own == word);
    if chosen(bench, "append") {
        append::compare(bench);
    }
    if chosen(bench, "bulk") {
        append::bulk(bench);
    }
    if chosen(bench, "tails") {
        tails::compare(bench);
    }
    if chosen(bench, "read") || chosen(bench, "decide") {
        for events in bench.options.sizes.clone() {
            let stores = bench.loaded(events);
            if chosen(bench, "read") {
                read::compare(bench, &stores, events);
            }
            if chosen(bench, "decide") {
                decide::compare(bench, &stores, events);
            }
            drop(stores);
            std::fs::remove_dir_all(&bench.options.data).expect("the stores to be gone");
        }
    }
    if chosen(bench, "memory") {
        memory::compare(bench);
    }
    if chosen(bench, "large") || chosen(bench, "open") {
        let folder = large::prepare(bench);
        if chosen(bench, "open") {
            open::compare(bench, &folder);
        }
        if chosen(bench, "large") {
            large::compare(bench, &folder);
        }
    }
    let _ = std::fs::remove_dir_all(&bench.options.data);
}

/// The exit status; an error goes to stderr.
fn told(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What this program prints, and nothing else does: UmaDB tells stdout about every opening.
fn quiet_stdout() -> File {
    let nowhere = File::options().write(true).open("/dev/null").expect("/dev/null");
    // SAFETY: both are open descriptors, and the duplicate is owned by nobody else.
    unsafe {
        let out = libc::dup(libc::STDOUT_FILENO);
        assert!(out >= 0, "a second descriptor of stdout");
        libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&nowhere), libc::STDOUT_FILENO);
        File::from_raw_fd(out)
    }
}
