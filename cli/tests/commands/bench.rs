//! `dcb bench`: what it prints, and that it leaves nothing behind and no store other than it was.

use std::fs;
use std::path::Path;

use crate::{failed, good, run};

/// So little that a test has the time for it.
const SHORT: [&str; 4] = ["--events", "1000", "--time", "10"];

fn bench<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["bench"], arguments, &SHORT].concat()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_measurement_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shown = good(&run(path, &bench(&[])));
    for part in ["append, guarded", "read, decide, append", "scan", "A sync of this disk takes"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    good(&run(path, &bench(&["sqlite:new.db"])));
    assert_eq!(files(path), [""; 0]);
    let shown = good(&run(path, &bench(&["memory:"])));
    assert!(shown.contains("no sync is measured"), "{shown}");
}

#[test]
fn a_measurement_as_json_has_a_row_for_each_workload() {
    let folder = tempfile::tempdir().unwrap();
    let shown = good(&run(folder.path(), &bench(&["--json"])));
    let report: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let rows: Vec<(&str, u64)> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["what"].as_str().unwrap(), row["threads"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            ("load, 4,096 an append", 1),
            ("append, guarded", 1),
            ("append, guarded", 16),
            ("append, guarded", 64),
            ("read an entity", 1),
            ("read an entity", 4),
            ("read, decide, append", 1),
            ("read, decide, append", 16),
            ("scan", 1),
        ]
    );
    assert!(report["sync_us"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(report["events"], 1_000);
}

#[test]
fn a_store_that_has_events_is_measured_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run(path, &["append", "sqlite:a.db", "-t", "Own"]));
    let said = failed(&run(path, &bench(&["sqlite:a.db"])), 2);
    assert!(said.contains("--existing"), "{said}");
    assert_eq!(good(&run(path, &["head", "sqlite:a.db"])), "1\n");
    // The variable that names the store of other commands does not name one to append to.
    let with_default =
        crate::dcb(path, &bench(&[])).env("DCB_URI", "sqlite:a.db").output().unwrap();
    good(&with_default);
    assert_eq!(good(&run(path, &["head", "sqlite:a.db"])), "1\n");
    for _ in 0..2 {
        good(&run(path, &bench(&["sqlite:a.db", "--existing"])));
    }
    assert_eq!(good(&run(path, &["count", "sqlite:a.db", "-t", "Loaded"])), "2000\n");
    assert_eq!(good(&run(path, &["count", "sqlite:a.db", "-t", "Own"])), "1\n");
}
