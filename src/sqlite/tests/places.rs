//! Files that are not where they were, and files that may not be written.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::Status;

#[test]
fn a_connection_that_is_opened_later_is_to_the_same_file() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let other = Fixture::new();
    append(&other.store, vec![event("B", &[]), event("B", &[])], None).unwrap();
    other.store.close();
    std::fs::rename(other.path(), fixture.path()).unwrap();
    let request = ReadRequest::new(Query::all(), 0, None, None, false).unwrap();
    let error = positions(&fixture.store, request).unwrap_err();
    assert_eq!(error.status, Status::Io);
    assert!(error.message.contains("replaced"), "{error}");
}

#[test]
fn a_file_that_may_not_be_written_is_read_only() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.close();
    std::fs::set_permissions(fixture.path(), PermissionsExt::from_mode(0o444)).unwrap();
    if std::fs::File::options().write(true).open(fixture.path()).is_ok() {
        eprintln!("skipped: this user may write every file");
        return;
    }
    let error = SqliteStore::open(Place::File(fixture.path()), &Options::default()).unwrap_err();
    assert_eq!(error.status, Status::ReadOnly);
    let read_only = Options { read_only: true, ..Options::default() };
    let store = SqliteStore::open(Place::File(fixture.path()), &read_only).unwrap();
    assert_eq!(all(&store, Query::all()), [1]);
}
