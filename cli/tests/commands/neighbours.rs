//! Another process that appends to a store while a command copies it, or fills it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{dcb, failed, good, lines, run};

const EVENTS: u64 = 40_000;

/// Appends events to a store until the value is dropped.
struct Neighbour(Child);

impl Neighbour {
    /// Starts the process, and waits until it has appended an event.
    fn start(folder: &Path, uri: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_dcb");
        let append = format!(
            "while [ ! -e stop ] && '{program}' append '{uri}' -t Neighbour >>appended; do :; done"
        );
        let child = Command::new("sh")
            .args(["-c", &append])
            .current_dir(folder)
            .env_remove("DCB_URI")
            .spawn()
            .unwrap();
        let (neighbour, begin) = (Neighbour(child), Instant::now());
        while fs::read(folder.join("appended")).unwrap_or_default().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(60), "it appends nothing");
            thread::sleep(Duration::from_millis(5));
        }
        neighbour
    }

    /// Ends the process, and returns the position of each event that it was told of.
    fn stop(mut self, folder: &Path) -> Vec<u64> {
        fs::write(folder.join("stop"), "").unwrap();
        self.0.wait().unwrap();
        let told = fs::read_to_string(folder.join("appended")).unwrap();
        told.lines().map(|line| line.parse().unwrap()).collect()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the number of the events of a store and its digest, and that it is whole.
fn verified(folder: &Path, uri: &str) -> String {
    good(&run(folder, &["verify", uri, "--quick"]))
}

fn filled(folder: &Path) {
    fs::write(folder.join("a.ndjson"), lines(EVENTS)).unwrap();
    good(&run(folder, &["import", "sqlite:a.db", "a.ndjson"]));
}

/// Returns the lines of an export of a store.
fn exported(folder: &Path, uri: &str) -> Vec<String> {
    good(&run(folder, &["export", uri])).lines().map(str::to_owned).collect()
}

#[test]
fn a_backup_of_a_store_that_is_written_holds_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    filled(path);
    let neighbour = Neighbour::start(path, "sqlite:a.db");
    let held: u64 = good(&run(path, &["backup", "sqlite:a.db", "b.db"])).trim().parse().unwrap();
    let told = neighbour.stop(path);
    assert!(held > EVENTS && !told.is_empty(), "{held}");
    assert!(verified(path, "sqlite:b.db").contains(&format!("{held} of {held}")));
    let whole = exported(path, "sqlite:a.db");
    assert!(exported(path, "sqlite:b.db") == whole[..held as usize], "the backup is another store");
}

#[test]
fn a_copy_of_a_store_that_is_written_is_a_part_and_becomes_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    filled(path);
    let neighbour = Neighbour::start(path, "sqlite:a.db");
    good(&run(path, &["copy", "sqlite:a.db", "sqlite:b.db"]));
    let part = exported(path, "sqlite:b.db");
    neighbour.stop(path);
    assert!(part.len() as u64 > EVENTS);
    assert!(exported(path, "sqlite:a.db")[..part.len()] == part, "the copy is another store");
    good(&run(path, &["copy", "sqlite:a.db", "sqlite:b.db"]));
    assert_eq!(verified(path, "sqlite:a.db"), verified(path, "sqlite:b.db"));
}

#[test]
fn an_import_beside_another_program_loses_nothing_and_does_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("a.ndjson"), lines(EVENTS)).unwrap();
    let mut import = dcb(path, &["import", "sqlite:a.db", "a.ndjson"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !path.join("a.db").exists() && import.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
    let neighbour = Neighbour::start(path, "sqlite:a.db");
    let output = import.wait_with_output().unwrap();
    let told = neighbour.stop(path);
    // It may have ended before the other program began.
    if output.status.success() {
        assert!(told.iter().all(|position| *position > EVENTS), "{told:?}");
    } else {
        let said = failed(&output, 1);
        let is_told = ["another program has appended", "the store is not empty"];
        assert!(is_told.iter().any(|part| said.contains(part)), "{said}");
    }
    let stored = exported(path, "sqlite:a.db");
    for position in told {
        assert!(stored[position as usize - 1].contains("\"Neighbour\""), "{position}");
    }
    // What is stored of the file is its beginning, in order; what is left of it can be appended.
    good(&run(path, &["import", "sqlite:a.db", "a.ndjson", "--append"]));
    let ids: Vec<String> = exported(path, "sqlite:a.db")
        .iter()
        .filter(|line| line.contains("\"Counted\""))
        .map(|line| line.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = (1..=EVENTS).map(|number| format!("id-{number}")).collect();
    assert!(ids == expected, "{} of the file's {EVENTS} events are stored", ids.len());
    assert!(verified(path, "sqlite:a.db").contains(" of "));
}

#[test]
fn a_copy_to_a_store_that_another_program_fills_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    filled(path);
    let neighbour = Neighbour::start(path, "sqlite:b.db");
    let said = failed(&run(path, &["copy", "sqlite:a.db", "sqlite:b.db"]), 1);
    assert!(said.contains("other events") || said.contains("another program"), "{said}");
    let told = neighbour.stop(path);
    let types = good(&run(path, &["types", "sqlite:b.db", "--json"]));
    assert!(!types.contains("Counted"), "{types}");
    assert!(
        good(&run(path, &["head", "sqlite:b.db"])).trim().parse::<usize>().unwrap() >= told.len()
    );
}
