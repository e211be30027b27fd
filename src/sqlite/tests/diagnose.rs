//! What a store tells of itself.

use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::Status;
use crate::sqlite::maintenance::segments::write_segment;
use crate::store::diagnosis::SqliteDiagnosis;

fn diagnosis(store: &SqliteStore) -> (i64, SqliteDiagnosis) {
    let diagnosis = store.diagnose(&CallOptions::default()).unwrap();
    (diagnosis.head, diagnosis.sqlite.unwrap())
}

fn open_with(path: &Path, options: Options) -> SqliteStore {
    SqliteStore::open(Location::File(path.to_owned()), &options).unwrap()
}

#[test]
fn a_file_that_is_written() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[]), event("A", &[])], None).unwrap();
    let (head, found) = diagnosis(&fixture.store);
    assert_eq!((head, found.durable, found.indexed, found.segments), (2, Some(2), 0, 0));
    assert_eq!(found.path, Some(fixture.path().canonicalize().unwrap()));
    assert!(found.log_bytes.unwrap() > 0);
    assert!(!found.read_only && !found.log_held);
    assert_eq!((found.format, found.failure), (1, None));
    assert_eq!(found.sqlite, rusqlite::version());
    assert_eq!(found.bundled_sqlite, cfg!(feature = "bundled-sqlite"));
    if cfg!(all(target_os = "linux", feature = "bundled-sqlite")) {
        assert_eq!((found.locks, found.other_sqlite), (Some("open-file-description"), Some(false)));
    }

    while write_segment(&fixture.store.shared, fixture.store.connections.writer().unwrap(), 1)
        .unwrap()
    {}
    let (_, found) = diagnosis(&fixture.store);
    assert_eq!((found.indexed, found.segments), (2, 1));
}

#[test]
fn what_another_process_did() {
    let fixture = Fixture::new();
    let other = open(fixture.path());
    append(&other, vec![event("A", &[]); 3], None).unwrap();
    while write_segment(&other.shared, other.connections.writer().unwrap(), 1).unwrap() {}
    let (head, found) = diagnosis(&fixture.store);
    assert_eq!((head, found.durable, found.indexed, found.segments), (3, Some(3), 3, 1));
}

#[test]
fn files_that_are_only_read() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let reader = open_with(&fixture.path(), Options { read_only: true, ..Options::default() });
    let (head, found) = diagnosis(&reader);
    assert_eq!((head, found.durable, found.read_only), (1, Some(1), true));
    assert!(found.log_bytes.is_some() && found.locks.is_some());
    reader.close();
    fixture.store.close();
    let reader = open_with(
        &fixture.path(),
        Options { read_only: true, immutable: true, ..Options::default() },
    );
    let (head, found) = diagnosis(&reader);
    assert_eq!((head, found.durable, found.read_only, found.log_bytes), (1, Some(1), true, None));
    if cfg!(all(target_os = "linux", feature = "bundled-sqlite")) {
        assert_eq!((found.locks, found.other_sqlite), (None, None));
    }
}

#[test]
fn a_database_in_memory() {
    let store = SqliteStore::open(Location::Memory, &Options::default()).unwrap();
    append(&store, vec![event("A", &[])], None).unwrap();
    let (head, found) = diagnosis(&store);
    assert_eq!((head, found.durable, found.log_bytes), (1, None, None));
    assert_eq!((found.path, found.locks, found.other_sqlite), (None, None, None));
}

#[test]
fn a_store_whose_log_could_not_be_synced() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.shared.commits.durability.tampering.fail.store(true, SeqCst);
    assert_eq!(append(&fixture.store, vec![event("A", &[])], None).unwrap_err().status, Status::Io);
    let (head, found) = diagnosis(&fixture.store);
    assert_eq!((head, found.durable), (1, Some(1)));
    assert!(found.failure.unwrap().contains("could not be made durable"));
}

#[test]
fn a_closed_store() {
    let fixture = Fixture::new();
    fixture.store.close();
    let refused = fixture.store.diagnose(&CallOptions::default()).unwrap_err();
    assert_eq!(refused.status, Status::Closed);
}
