//! The inputs that are checked in for the fuzz targets, each played once: what the fuzzer found
//! stays found, and the targets stay true to the library. `make fuzz` looks for more.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Plays every input of a target.
fn play(name: &str, target: impl Fn(&[u8])) {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", name].iter().collect();
    let mut paths: Vec<_> =
        folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "{name}: only {} inputs", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let input = std::fs::read(&path).expect("an input");
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn append_requests() {
    play("append", targets::append);
}

#[test]
fn read_requests() {
    play("read", targets::read);
}

#[test]
fn conditions_and_queries() {
    play("condition", targets::condition);
}

#[test]
fn options_of_opening() {
    play("options", targets::options);
}

#[test]
fn uris() {
    play("uri", targets::uri);
}

#[test]
fn sequences_of_calls() {
    play("calls", targets::calls);
}
