//! `dcb verify` and `dcb salvage` on a file that is damaged.

use std::fs;
use std::path::Path;

use crate::{failed, good, lines, run, run_with};

/// Changes a byte of the data of the event at `position` in the file.
fn damage(path: &Path, position: u64) {
    let mark = format!("MARK-{position}-");
    let mut file = fs::read(path).unwrap();
    let at = file.windows(mark.len()).position(|part| part == mark.as_bytes()).expect("the event");
    file[at] = b'X';
    fs::write(path, file).unwrap();
}

#[test]
fn verify_says_how_far_a_file_is_good_and_salvage_saves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    good(&run_with(path, &["import", "sqlite:a.db"], &lines(3_000)));
    good(&run(path, &["backup", "sqlite:a.db", "b.db"]));
    let whole = good(&run(path, &["verify", "sqlite:b.db"]));
    assert!(whole.contains("3000 of 3000"), "{whole}");
    for position in [700, 701, 2_000] {
        damage(&path.join("b.db"), position);
    }
    let output = run(path, &["verify", "sqlite:b.db"]);
    let said = failed(&output, 1);
    assert!(said.contains("good up to position 699") && said.contains("dcb salvage"), "{said}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("2997 of 3000") && told.contains("position 2000: "), "{told}");
    assert!(told.contains("positions 700 to 701: "), "{told}");

    let output = run(path, &["salvage", "sqlite:b.db", "sqlite:c.db"]);
    let said = failed(&output, 1);
    assert!(said.contains("3 events are lost"), "{said}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.starts_with("2997 of 3000 events saved\n"), "{told}");
    let whole = good(&run(path, &["verify", "sqlite:c.db"]));
    assert!(whole.contains("2997 of 2997"), "{whole}");
    let data = |uri: &str, position: &str| {
        good(&run(path, &["get", uri, position, "--fields", "data,id,timestamp"]))
    };
    assert_eq!(data("sqlite:c.db", "699"), data("sqlite:a.db", "699"));
    assert_eq!(data("sqlite:c.db", "700"), data("sqlite:a.db", "702"));
    assert_eq!(data("sqlite:c.db", "2997"), data("sqlite:a.db", "3000"));
    // It is not for a store that has events.
    failed(&run(path, &["salvage", "sqlite:b.db", "sqlite:c.db"]), 2);
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(
        path.join("a.db"),
        "this is a text and no database, of more than a hundred bytes: ".repeat(40),
    )
    .unwrap();
    let before = fs::read(path.join("a.db")).unwrap();
    for command in ["verify", "head", "diagnose", "export"] {
        let said = failed(&run(path, &[command, "sqlite:a.db"]), 1);
        assert!(said.contains("unsupported_format"), "{command}: {said}");
    }
    assert_eq!(fs::read(path.join("a.db")).unwrap(), before);
}
