//! The diagnosis of a store: head, durable and indexed positions, WAL, locks and failure.

use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::Status;
use crate::position::at;
use crate::sqlite::maintenance::segments::write_segment;
use crate::store::diagnosis::SqliteDiagnosis;

/// Returns the head and the SQLite part of the diagnosis of `store`.
fn diagnosis(store: &SqliteStore) -> (i64, SqliteDiagnosis) {
    let diagnosis = store.diagnose(&CallOptions::default()).unwrap();
    (diagnosis.head.get(), diagnosis.sqlite.unwrap())
}

fn open_with(path: &Path, options: Options) -> SqliteStore {
    SqliteStore::open(Location::File(path.to_owned()), &options).unwrap()
}

#[test]
fn a_store_that_is_written_is_diagnosed() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[]), event("A", &[])], None).unwrap();
    let (head, found) = diagnosis(&fixture.store);
    assert_eq!((head, found.durable, found.indexed, found.segments), (2, Some(at(2)), at(0), 0));
    assert_eq!(found.path, Some(fixture.path().canonicalize().unwrap()));
    assert!(found.log_bytes.unwrap() > 0);
    assert!(!found.read_only && !found.log_held);
    assert_eq!((found.format, found.failure), (crate::sqlite::FORMAT, None));
    assert_eq!(found.sqlite, rusqlite::version());
    assert_eq!(found.bundled_sqlite, cfg!(feature = "bundled-sqlite"));
    if cfg!(all(target_os = "linux", feature = "bundled-sqlite")) {
        assert_eq!((found.locks, found.other_sqlite), (Some("open-file-description"), Some(false)));
    }

    while write_segment(&fixture.store.shared, fixture.store.connections.writer().unwrap(), 1)
        .unwrap()
    {}
    let (_, found) = diagnosis(&fixture.store);
    assert_eq!((found.indexed, found.segments), (at(2), 1));
}

#[test]
fn diagnosis_includes_the_work_of_another_store() {
    let fixture = Fixture::new();
    let other = open(fixture.path());
    append(&other, vec![event("A", &[]); 3], None).unwrap();
    while write_segment(&other.shared, other.connections.writer().unwrap(), 1).unwrap() {}
    let (head, found) = diagnosis(&fixture.store);
    assert_eq!((head, found.durable, found.indexed, found.segments), (3, Some(at(3)), at(3), 1));
}

#[test]
fn read_only_and_immutable_stores_are_diagnosed() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let reader = open_with(&fixture.path(), Options { read_only: true, ..Options::default() });
    let (head, found) = diagnosis(&reader);
    assert_eq!((head, found.durable, found.read_only), (1, Some(at(1)), true));
    assert!(found.log_bytes.is_some() && found.locks.is_some());
    reader.close();
    fixture.store.close();
    let reader = open_with(
        &fixture.path(),
        Options { read_only: true, immutable: true, ..Options::default() },
    );
    let (head, found) = diagnosis(&reader);
    assert_eq!(
        (head, found.durable, found.read_only, found.log_bytes),
        (1, Some(at(1)), true, None)
    );
    if cfg!(all(target_os = "linux", feature = "bundled-sqlite")) {
        assert_eq!((found.locks, found.other_sqlite), (None, None));
    }
}

#[test]
fn an_in_memory_store_has_no_file_to_diagnose() {
    let store = SqliteStore::open(Location::Memory, &Options::default()).unwrap();
    append(&store, vec![event("A", &[])], None).unwrap();
    let (head, found) = diagnosis(&store);
    assert_eq!((head, found.durable, found.log_bytes), (1, None, None));
    assert_eq!((found.path, found.locks, found.other_sqlite), (None, None, None));
}

#[test]
fn diagnosis_names_a_failed_sync() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.shared.commits.durability.tampering.fail.store(true, SeqCst);
    assert_eq!(append(&fixture.store, vec![event("A", &[])], None).unwrap_err().status, Status::Io);
    let (head, found) = diagnosis(&fixture.store);
    assert_eq!((head, found.durable), (1, Some(at(1))));
    assert!(found.failure.unwrap().contains("could not be made durable"));
}

#[test]
fn a_closed_store_rejects_a_diagnosis() {
    let fixture = Fixture::new();
    fixture.store.close();
    let refused = fixture.store.diagnose(&CallOptions::default()).unwrap_err();
    assert_eq!(refused.status, Status::Closed);
}
