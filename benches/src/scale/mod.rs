//! One store of very many events, from the first append to the last: `--scale N`. What bends when a
//! store grows shows here. Each step is a process of its own, so a step's memory is its own too.

mod fill;
mod machine;
mod room;
mod steps;
mod table;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::options::Options;
use crate::stores::Libdcb;
use fill::Stretch;
use steps::{Appended, Opened, Read};

/// Where the store of a run lies, and what the run remembers of its filling.
pub struct Place {
    folder: PathBuf,
    pub events: u64,
}

impl Place {
    fn of(options: &Options, events: u64) -> Self {
        Place { folder: options.data.join(format!("scale-{events}")), events }
    }

    fn open(&self) -> Libdcb {
        Libdcb::open(&format!("sqlite:{}", self.database().display()))
    }

    fn database(&self) -> PathBuf {
        self.folder.join("store.db")
    }

    fn stretches(&self) -> PathBuf {
        self.folder.join("stretches")
    }

    fn database_bytes(&self) -> u64 {
        std::fs::metadata(self.database()).map_or(0, |file| file.len())
    }
}

/// All that a run has measured.
pub struct Measured {
    pub events: u64,
    pub stretches: Vec<Stretch>,
    pub filled: steps::Filled,
    pub database_bytes: u64,
    pub index_bytes: u64,
    pub free_bytes: u64,
    pub closed: Vec<Opened>,
    pub read: Read,
    pub appended: Appended,
    /// How long it took to close the store after a burst of appends, in milliseconds.
    pub closing: f64,
    pub killed: Vec<Opened>,
    pub burst: u64,
    pub machine: String,
}

/// Runs all steps and returns the tables, or a line that says why not.
pub fn run(options: &Options, events: u64) -> Result<String, String> {
    let place = Place::of(options, events);
    room::check(&place)?;
    std::fs::create_dir_all(&place.folder)
        .map_err(|error| format!("{}: {error}", place.folder.display()))?;
    let measured = measure(options, &place)?;
    let text = table::markdown(&measured);
    if options.is_kept {
        eprintln!(
            "kept: {} (measure it again with the same arguments; `dcb verify sqlite:{}` reads it all)",
            place.folder.display(),
            place.database().display()
        );
    } else {
        std::fs::remove_dir_all(&place.folder)
            .map_err(|error| format!("{}: {error}", place.folder.display()))?;
    }
    Ok(text)
}

fn measure(options: &Options, place: &Place) -> Result<Measured, String> {
    let filled = step("fill")?;
    let database_bytes = place.database_bytes();
    let (index_bytes, free_bytes) = room::index_and_free(&place.database());
    let again = |before: Option<&str>| -> Result<Vec<Opened>, String> {
        (0..options.rounds)
            .map(|_| {
                before.map_or(Ok(()), |before| step::<0>(before).map(|_| ()))?;
                step("open").map(Opened::from)
            })
            .collect()
    };
    Ok(Measured {
        events: place.events,
        stretches: fill::stretches(place)?,
        filled: filled.into(),
        database_bytes,
        index_bytes,
        free_bytes,
        closed: again(None)?,
        read: step("read")?.into(),
        appended: step("append")?.into(),
        closing: step::<1>("close")?[0],
        killed: again(Some("kill"))?,
        burst: options.burst,
        machine: machine::describe(&place.folder),
    })
}

/// Runs a step in a process of its own, and returns the numbers that it printed.
fn step<const N: usize>(name: &str) -> Result<[f64; N], String> {
    eprintln!("step: {name}");
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let output = Command::new(program)
        .args(std::env::args_os().skip(1))
        .args(["--step", name])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("step {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("step {name} failed: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers
        .try_into()
        .map_err(|_| format!("step {name} printed {text:?}, which is not {N} numbers"))
}

/// What a step's own process does: its numbers go to stdout.
pub fn run_step(options: &Options, events: u64, name: &str) -> Result<(), String> {
    let place = Place::of(options, events);
    let numbers: Vec<f64> = match name {
        "fill" => steps::fill(options, &place)?,
        "open" => steps::open(&place),
        "read" => steps::read(options, &place),
        "append" => steps::append(options, &place),
        "close" => steps::close(options, &place),
        "kill" => steps::kill(options, &place),
        _ => return Err(format!("--step {name}: there is no such step")),
    };
    let words: Vec<String> = numbers.iter().map(f64::to_string).collect();
    println!("{}", words.join(" "));
    Ok(())
}
