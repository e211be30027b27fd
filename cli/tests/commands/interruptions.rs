//! Commands that are interrupted or killed at any moment, and run again.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::{dcb, failed, good, lines, run};

const EVENTS: u64 = 60_000;

/// How often a command is ended.
fn rounds() -> u64 {
    if std::env::var_os("DCB_TEST_LONG").is_some() { 60 } else { 6 }
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Runs a command several times, and ends it each time a little later: in turns as Ctrl-C does, and
/// without a chance to do anything about it. `check` looks at what is left. It may have ended by itself.
fn end_often(folder: &Path, arguments: &[&str], check: impl Fn()) {
    for round in 0..rounds() {
        let mut child =
            dcb(folder, arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_millis(10 + 131 * round % 700));
        if child.try_wait().unwrap().is_none() {
            signal(if round % 2 == 0 { "-INT" } else { "-KILL" }, child.id());
        }
        let output = child.wait_with_output().unwrap();
        // Ended by the signal, or by itself because of it, or in time.
        assert!(matches!(output.status.code(), None | Some(0 | 1)), "{arguments:?}: {output:?}");
        check();
    }
}

/// Returns a folder with a file of events and, in `a.db`, a store that has them.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.ndjson"), lines(EVENTS)).unwrap();
    good(&run(folder.path(), &["import", "sqlite:a.db", "a.ndjson"]));
    folder
}

fn digest(folder: &Path, uri: &str) -> String {
    good(&run(folder, &["verify", uri, "--quick"]))
}

/// Returns the names of the files in a folder that begin with `start`.
fn files(folder: &Path, start: &str) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(start))
        .collect()
}

#[test]
fn an_import_that_is_ended_goes_on() {
    let folder = filled();
    let path = folder.path();
    end_often(path, &["import", "sqlite:b.db", "a.ndjson"], || {});
    let said = failed(&run(path, &["import", "sqlite:b.db", "a.ndjson"]), 0);
    assert!(said.contains("imported"), "{said}");
    assert_eq!(digest(path, "sqlite:b.db"), digest(path, "sqlite:a.db"));
}

#[test]
fn a_copy_that_is_ended_goes_on() {
    let folder = filled();
    let path = folder.path();
    end_often(path, &["copy", "sqlite:a.db", "sqlite:b.db"], || {});
    let copied = good(&run(path, &["copy", "sqlite:a.db", "sqlite:b.db"]));
    assert!(copied.starts_with("60000 events, digest "), "{copied}");
    assert_eq!(digest(path, "sqlite:b.db"), digest(path, "sqlite:a.db"));
}

#[test]
fn a_backup_that_is_ended_leaves_no_file_under_its_name() {
    let folder = filled();
    let path = folder.path();
    let expected = digest(path, "sqlite:a.db");
    end_often(path, &["backup", "sqlite:a.db", "b.db"], || {
        // What there is is whole.
        if path.join("b.db").exists() {
            assert_eq!(digest(path, "sqlite:b.db"), expected);
            fs::remove_file(path.join("b.db")).unwrap();
        }
    });
    good(&run(path, &["backup", "sqlite:a.db", "b.db"]));
    assert_eq!(digest(path, "sqlite:b.db"), expected);
    assert_eq!(digest(path, "sqlite:a.db"), expected);
}

#[test]
fn an_export_that_is_interrupted_leaves_no_file() {
    let folder = filled();
    let path = folder.path();
    for round in 0..rounds() {
        let child = dcb(path, &["export", "sqlite:a.db", "b.ndjson"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(30 + 97 * round % 400));
        signal("-INT", child.id());
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            fs::remove_file(path.join("b.ndjson")).unwrap();
        } else {
            // Without a code where the signal came before the command was ready for it.
            let is_told = String::from_utf8_lossy(&output.stderr).contains("interrupted");
            assert!(output.status.code().is_none() || is_told, "{output:?}");
        }
        assert_eq!(files(path, "b."), [""; 0], "{output:?}");
    }
    good(&run(path, &["export", "sqlite:a.db", "b.ndjson"]));
    assert!(fs::read(path.join("a.ndjson")).unwrap() == fs::read(path.join("b.ndjson")).unwrap());
}

#[test]
fn a_copy_follows_its_source_until_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("a.ndjson"), lines(100)).unwrap();
    good(&run(path, &["import", "sqlite:a.db", "a.ndjson"]));
    let child = dcb(path, &["copy", "sqlite:a.db", "sqlite:b.db", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..20 {
        good(&run(path, &["append", "sqlite:a.db", "-t", "Later"]));
    }
    signal("-INT", child.id());
    let copied = good(&child.wait_with_output().unwrap());
    assert!(copied.starts_with("120 events, digest "), "{copied}");
    assert_eq!(digest(path, "sqlite:a.db"), digest(path, "sqlite:b.db"));
}
