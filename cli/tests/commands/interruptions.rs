//! `dcb import` and `dcb copy`, killed at any moment and run again.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::{dcb, failed, good, lines, run};

/// How often a command is killed.
fn kills() -> u64 {
    if std::env::var_os("DCB_TEST_LONG").is_some() { 60 } else { 4 }
}

/// Runs a command and kills it after a while. Returns whether it was alive until then.
fn kill(folder: &Path, arguments: &[&str], after: Duration) -> bool {
    let mut child =
        dcb(folder, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(after);
    let is_alive = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    is_alive
}

#[test]
fn an_import_that_is_killed_goes_on() {
    const EVENTS: u64 = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("a.ndjson"), lines(EVENTS)).unwrap();
    for round in 0..kills() {
        kill(
            path,
            &["import", "sqlite:a.db", "a.ndjson"],
            Duration::from_millis(20 + 97 * round % 800),
        );
    }
    let said = failed(&run(path, &["import", "sqlite:a.db", "a.ndjson"]), 0);
    assert!(said.contains("imported"), "{said}");
    good(&run(path, &["export", "sqlite:a.db", "b.ndjson"]));
    let same = fs::read(path.join("a.ndjson")).unwrap() == fs::read(path.join("b.ndjson")).unwrap();
    assert!(same, "the store has other events than the file");
}

#[test]
fn a_copy_that_is_killed_goes_on() {
    const EVENTS: u64 = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("a.ndjson"), lines(EVENTS)).unwrap();
    good(&run(path, &["import", "sqlite:a.db", "a.ndjson"]));
    for round in 0..kills() {
        kill(
            path,
            &["copy", "sqlite:a.db", "sqlite:b.db"],
            Duration::from_millis(20 + 97 * round % 800),
        );
    }
    let copied = good(&run(path, &["copy", "sqlite:a.db", "sqlite:b.db"]));
    assert!(copied.starts_with("60000 events, digest "), "{copied}");
    let digest = |uri: &str| good(&run(path, &["verify", uri, "--quick"]));
    assert_eq!(digest("sqlite:a.db"), digest("sqlite:b.db"));
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
    let pid = child.id().to_string();
    let killed = std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    let copied = good(&child.wait_with_output().unwrap());
    assert!(copied.starts_with("120 events, digest "), "{copied}");
    let digest = |uri: &str| good(&run(path, &["verify", uri]));
    assert_eq!(digest("sqlite:a.db"), digest("sqlite:b.db"));
}
