//! Two stores on one file, as two processes have it: nothing but the file is common to them.

use std::thread;
use std::time::Duration;

use super::*;

/// Looks again until `done` holds, for far longer than it should take.
fn eventually(mut done: impl FnMut() -> bool) -> bool {
    (0..2_000).any(|_| {
        thread::sleep(Duration::from_millis(5));
        done()
    })
}

#[test]
fn who_does_not_read_follows_the_merges_of_another() {
    let fixture = Fixture::new();
    let idle = open(fixture.path());
    let version = |store: &SqliteStore| store.shared.segments.newest().version;
    for _ in 0..20 {
        append(&fixture.store, (0..40).map(|_| event("A", &[])).collect(), None).unwrap();
    }
    assert!(eventually(|| version(&idle) > 3 && version(&idle) == version(&fixture.store)));
}
