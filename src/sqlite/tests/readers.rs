//! The limit of the connections that a store opens for reading, and the closing of idle ones.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::locks::all_readers;
use super::*;
use crate::error::Status;
use crate::position::at;
use crate::sqlite::read::pool::DEFAULT_MAX_READERS;

/// Twice the time for which an idle connection is kept.
const LONG: Duration = Duration::from_secs(20);

fn open_with(path: PathBuf, max_readers: i64, read_only: bool) -> SqliteStore {
    let options = Options {
        max_readers: Some(max_readers),
        busy_timeout_ms: 60_000,
        read_only,
        ..Options::default()
    };
    SqliteStore::open(Location::File(path), &options).unwrap()
}

/// Returns how many descriptors of this process belong to the files of the store at `path`.
fn descriptors(path: &Path) -> usize {
    ["", "-wal", "-shm"].iter().map(|end| descriptors_of(path, end)).sum()
}

/// How many descriptors belong to the file with this ending beside the one at `path`.
fn descriptors_of(path: &Path, end: &str) -> usize {
    let mut file = path.to_owned().into_os_string();
    file.push(end);
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.as_os_str() == file)
        .count()
}

#[test]
fn idle_readers_are_closed_and_reopened_on_demand() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let count = || descriptors(&fixture.path());
    let readers = fixture.store.connections.readers().unwrap();
    let open = count();
    drop(all_readers(&fixture.store));
    let used = count();
    assert!(
        open < used && used <= open + 2 * DEFAULT_MAX_READERS,
        "each reader opens the database and its WAL"
    );
    readers.close_idle();
    assert_eq!(count(), used, "readers that were just in use are kept");

    // A reader that is in use is not closed.
    let in_use = readers.get(&CallOptions::default().start(None)).unwrap();
    readers.close_idle_for(Duration::ZERO);
    assert_eq!(count(), used - (DEFAULT_MAX_READERS - 1));
    drop(in_use);
    readers.close_idle_for(Duration::ZERO);
    // The lock hooks keep the descriptors of the database itself for the next opening.
    assert_eq!(count(), used - DEFAULT_MAX_READERS);

    for _ in 0..2 {
        assert_eq!(all(&fixture.store, Query::all()), [1]);
        assert_eq!(count(), used - DEFAULT_MAX_READERS + 1);
    }
}

/// Closing a descriptor of a database could drop locks of another SQLite, whatever its name is.
#[test]
fn a_database_that_is_named_like_a_log_is_kept_open() {
    for name in ["events.db", "events-wal", "events.db-wal", "-wal"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        let store = open(path.clone());
        drop(all_readers(&store));
        let counts = || ["", "-wal"].map(|end| descriptors_of(&path, end));
        let [database, log] = counts();
        store.connections.readers().unwrap().close_idle_for(Duration::ZERO);
        assert_eq!(counts(), [database, log - DEFAULT_MAX_READERS], "{name}");
    }
}

#[test]
fn maintenance_closes_idle_readers() {
    let fixture = Fixture::new();
    drop(all_readers(&fixture.store));
    let used = descriptors(&fixture.path());
    fixture.store.connections.readers().unwrap().age_idle(LONG);
    fixture.store.shared.maintenance_signal.wake();
    assert!(eventually(|| descriptors(&fixture.path()) == used - DEFAULT_MAX_READERS));
    assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(0)));
}

#[test]
fn a_read_on_a_read_only_store_closes_idle_readers() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.close();
    let store = open_with(fixture.path(), 8, true);
    drop(all_readers(&store));
    let used = descriptors(&fixture.path());
    store.connections.readers().unwrap().age_idle(LONG);
    assert_eq!(all(&store, Query::all()), [1]);
    assert_eq!(descriptors(&fixture.path()), used - 7, "the reader of this read is kept");
}

#[test]
fn no_more_than_max_readers_read_at_a_time() {
    let fixture = Fixture::new();
    for limit in [1, 3, 20] {
        for read_only in [false, true] {
            let store = open_with(fixture.path(), limit, read_only);
            assert_eq!(all_readers(&store).len(), limit as usize, "{read_only}");
        }
    }
}

#[test]
fn the_limit_holds_while_readers_are_opened_and_closed() {
    let fixture = Fixture::new();
    fixture.store.close();
    let store = open_with(fixture.path(), 3, false);
    append(&store, vec![event("A", &[]); 300], None).unwrap();
    let before = descriptors(&fixture.path());
    let done = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let ends = Ends(&done);
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(SeqCst) {
                most = most.max(descriptors(&fixture.path()));
            }
            most
        });
        scope.spawn(|| {
            while !done.load(SeqCst) {
                store.connections.readers().unwrap().close_idle_for(Duration::ZERO);
                thread::yield_now();
            }
        });
        let reads: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..20 {
                        assert_eq!(all(&store, Query::all()).len(), 300);
                    }
                })
            })
            .collect();
        reads.into_iter().for_each(|read| read.join().unwrap());
        drop(ends);
        watch.join().unwrap()
    });
    assert!(most <= before + 2 * 3, "{most} descriptors, {before} before the reads");
}

#[test]
fn no_read_starves_with_one_reader() {
    const ENOUGH: usize = 10;
    let fixture = Fixture::new();
    fixture.store.close();
    let store = open_with(fixture.path(), 1, false);
    append(&store, vec![event("A", &[]); 100], None).unwrap();
    // Each thread goes on reading until all threads have read enough. A read that starves fails with
    // an error at its timeout.
    let (counts, is_over) = ([const { AtomicUsize::new(0) }; 8], AtomicBool::new(false));
    thread::scope(|scope| {
        for own in &counts {
            scope.spawn(|| {
                let _ends = Ends(&is_over);
                let is_missing = || counts.iter().any(|count| count.load(SeqCst) < ENOUGH);
                while is_missing() && !is_over.load(SeqCst) {
                    assert_eq!(all(&store, Query::all()).len(), 100);
                    own.fetch_add(1, SeqCst);
                }
            });
        }
    });
}

/// The thread that reads ahead takes no connection that a read of the program might wait for.
#[test]
fn a_spare_connection_leaves_another_one() {
    let folder = TempDir::new().unwrap();
    let store = open_with(folder.path().join("a.db"), 2, false);
    let readers = store.connections.readers().unwrap();
    let deadline = CallOptions::default().start(None);
    let spare = || readers.spare(&deadline).map_err(|error| error.status);
    let first = spare().unwrap();
    assert_eq!(spare().err(), Some(Status::Busy));
    let other = readers.get(&deadline).unwrap();
    drop(first);
    assert_eq!(spare().err(), Some(Status::Busy));
    drop(other);
    drop(spare().unwrap());
    store.close();
    assert_eq!(spare().err(), Some(Status::Closed));
}

#[test]
fn a_store_with_one_reader_does_not_read_ahead() {
    let folder = TempDir::new().unwrap();
    for max_readers in [1, 2] {
        let store = open_with(folder.path().join("a.db"), max_readers, false);
        assert_eq!(store.read_ahead.is_some(), max_readers > 1);
    }
}
