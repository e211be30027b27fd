//! Two stores on one file, as two processes have it: nothing but the file is common to them.

use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::Status;

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

#[test]
fn a_reader_outlives_the_writers_that_made_its_log() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let read_only = Options { read_only: true, ..Options::default() };
    let reader = SqliteStore::open(Place::File(fixture.path()), &read_only).unwrap();
    // The last to close a file deletes its log, and the next writer makes another.
    fixture.store.close();
    let second = open(fixture.path());
    append(&second, vec![event("B", &[])], None).unwrap();
    assert_eq!(all(&reader, Query::all()), [1, 2]);
}

#[test]
fn a_reader_that_cannot_make_durable_what_it_finds_says_so() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let read_only = Options { read_only: true, ..Options::default() };
    let reader = SqliteStore::open(Place::File(fixture.path()), &read_only).unwrap();
    reader.shared.durability.tampering.fail.store(true, SeqCst);
    for _ in 0..2 {
        assert_eq!(reader.head(&Call::default()).unwrap_err().status, Status::Io);
    }
}
