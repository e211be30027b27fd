//! Stores whose SQLite lock, WAL or connections are held by another user.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::*;
use crate::position::at;
use crate::sqlite::maintenance::segments::write_segment;
use crate::sqlite::read::pool::PooledReader;
use crate::sqlite::state::{MAX_WAL_PAGES, SEGMENT_EVENTS};
use crate::{CancelToken, Status, Timeout};

/// Opens a connection to the file that is not the store's, as another process would.
fn other_connection(fixture: &Fixture) -> Connection {
    let connection = Connection::open(fixture.path()).unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    connection
}

#[test]
fn appends_and_reads_keep_their_timeout_during_a_checkpoint() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let request = || ReadRequest::new(Query::all(), at(0), None, None, Direction::Forward);
    let cancel = CancelToken::new();
    cancel.trigger();
    let calls = [
        (CallOptions { timeout: Timeout::After(Duration::ZERO), cancel: None }, Status::Busy),
        (
            CallOptions { timeout: Timeout::After(Duration::from_millis(5)), cancel: None },
            Status::Busy,
        ),
        (CallOptions { timeout: Timeout::Never, cancel: Some(cancel) }, Status::Cancelled),
    ];
    // The locks that a checkpoint holds at its end, when it may wait for the disk.
    let guard = fixture.store.connections.writer().unwrap().lock();
    let gate = fixture.store.shared.checkpoints.close_gate();
    for (call, status) in &calls {
        let events = AppendRequest::new(vec![event("A", &[])], Vec::new()).unwrap();
        assert_eq!(fixture.store.append(events, call).unwrap_err().status, *status);
        // The WAL has changed since the last read, so this read needs a transaction.
        let batch = BatchLimits { max_events: 9, max_bytes: 999 };
        let mut reading = ReadState::new(request());
        let read = fixture.store.read(&mut reading, batch, call, &mut |_: &EventView<'_>| Ok(()));
        assert_eq!(read.unwrap_err().status, *status);
    }
    drop((gate, guard));
    assert_eq!(fixture.store.connections.writer().unwrap().queued(), 0);
    assert_eq!(append(&fixture.store, vec![event("A", &[])], None), Ok(2));

    // An in-memory store has a single connection, which belongs to the writer.
    let store = SqliteStore::open(Location::Memory, &Options::default()).unwrap();
    let guard = store.connections.writer().unwrap().lock();
    for (call, status) in &calls {
        assert_eq!(store.head(call).unwrap_err().status, *status);
    }
    drop(guard);
    assert_eq!(store.head(&calls[0].0), Ok(at(0)));
}

/// Appends `events` without a condition and with this timeout.
fn append_within(store: &SqliteStore, events: Vec<Event>, limit: Duration) -> Result<i64> {
    let request = AppendRequest::new(events, Vec::new())?;
    let call = CallOptions { timeout: Timeout::After(limit), cancel: None };
    store.append(request, &call).map(|appended| appended.last.get())
}

#[test]
fn an_append_keeps_its_timeout_behind_blocked_maintenance() {
    let mut fixture = Fixture::new();
    fixture.store.close();
    let options = Options { busy_timeout_ms: -1, ..Options::default() };
    let store = Arc::new(SqliteStore::open(Location::File(fixture.path()), &options).unwrap());
    fixture.store = Arc::clone(&store);
    append(&store, vec![event("A", &[])], None).unwrap();
    let other_connection = other_connection(&fixture);
    other_connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let own = Arc::clone(&store);
    let maintenance = thread::spawn(move || {
        let writer = own.connections.writer().unwrap();
        write_segment(&own.shared, writer, 1)
    });
    thread::sleep(Duration::from_millis(50));
    let own = Arc::clone(&store);
    let hurried = thread::spawn(move || {
        append_within(&own, vec![event("A", &[])], Duration::from_millis(10))
    });
    assert!(eventually(|| hurried.is_finished()), "the append waits behind maintenance");
    assert_eq!(hurried.join().unwrap().unwrap_err().status, Status::Busy);
    // Maintenance does not wait forever either: closing the store waits for it.
    assert!(eventually(|| maintenance.is_finished()));
    assert_eq!(maintenance.join().unwrap().unwrap_err().status, Status::Busy);
    other_connection.execute_batch("ROLLBACK").unwrap();
    assert_eq!(append(&store, vec![event("A", &[])], None), Ok(2));
}

/// An event that takes 64 pages of the WAL.
fn large() -> Vec<Event> {
    let data = format!("\"{}\"", "x".repeat(256 * 1024));
    let mut builder = EventBuilder::new(EventType::new("Large").unwrap());
    builder.data(&data).unwrap();
    vec![builder.build()]
}

/// Each reader is short, but there is always one. So all pages of the WAL get checkpointed, and
/// SQLite never resets it.
#[test]
fn the_wal_keeps_its_limit_under_overlapping_readers() {
    let fixture = Fixture::new();
    let done = AtomicBool::new(false);
    let wal = fixture.folder.path().join("events.db-wal");
    let wal_bytes = || std::fs::metadata(&wal).map_or(0, |wal| wal.len());
    let longest = thread::scope(|scope| {
        let _ends = Ends(&done);
        for phase in [0, 1] {
            let (fixture, done) = (&fixture, &done);
            scope.spawn(move || {
                let other_connection = other_connection(fixture);
                let slice = Duration::from_millis(40);
                thread::sleep(slice * phase / 2);
                while !done.load(SeqCst) {
                    other_connection.execute_batch("BEGIN; SELECT count(*) FROM dcb_meta").unwrap();
                    thread::sleep(slice);
                    other_connection.execute_batch("COMMIT").unwrap();
                }
            });
        }
        let mut longest = 0;
        for _ in 0..100 {
            append_within(&fixture.store, large(), Duration::from_secs(30)).unwrap();
            longest = longest.max(wal_bytes());
        }
        longest
    });
    let limit = MAX_WAL_PAGES as u64 * 4_120;
    assert!(longest > limit / 2, "the readers did not overlap: {longest}");
    // The WAL exceeds the limit by what was written since the last checkpoint and during it.
    assert!(longest < limit * 3 / 2, "{longest} bytes; the limit is {limit}");
}

/// A maintenance thread that gets no processor time measures nothing. The count of pages, which may
/// be too high, then stops the appends until it does.
#[test]
fn appends_wait_for_a_checkpoint_once_the_wal_is_long_by_count() {
    let fixture = Fixture::new();
    let checkpoints = &fixture.store.shared.checkpoints;
    // Maintenance needs the writer for a checkpoint.
    let writer = fixture.store.connections.writer().unwrap().lock();
    checkpoints.add_pages(MAX_WAL_PAGES.unsigned_abs() - 1);
    assert!(!checkpoints.is_log_held());
    checkpoints.add_pages(1);
    assert!(checkpoints.is_log_held());
    drop(writer);
    assert_eq!(append(&fixture.store, vec![event("A", &[])], None), Ok(1));
    assert!(!checkpoints.is_log_held());
}

#[test]
fn appends_resume_once_the_reader_that_held_the_wal_ends() {
    let fixture = Fixture::new();
    let other_connection = other_connection(&fixture);
    other_connection.execute_batch("BEGIN; SELECT count(*) FROM dcb_events").unwrap();
    let mut last = 0;
    let refused = loop {
        match append_within(&fixture.store, large(), Duration::from_millis(20)) {
            Ok(position) => last = position,
            // Maintenance held the lock while it tried to reset the WAL.
            Err(error) if !error.message.contains("old snapshot") => {
                assert_eq!(error.status, Status::Busy, "{error}");
            }
            Err(error) => break error,
        }
        assert!(last < 200, "the WAL has no limit");
    };
    assert_eq!(refused.status, Status::Busy);
    // This append waits until the reader ends.
    let own = Arc::clone(&fixture.store);
    let waiting = thread::spawn(move || append(&own, large(), None));
    thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished());
    other_connection.execute_batch("COMMIT").unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(last + 1));
}

/// Takes all connections out of the pool of readers.
pub(super) fn all_readers(store: &SqliteStore) -> Vec<PooledReader<'_>> {
    let at_once = CallOptions { timeout: Timeout::After(Duration::ZERO), cancel: None }.start(None);
    let readers = store.connections.readers().unwrap();
    std::iter::from_fn(|| readers.get(&at_once).ok()).collect()
}

#[test]
fn a_wait_keeps_its_timeout_while_all_connections_are_in_use() {
    let fixture = Fixture::new();
    let readers = all_readers(&fixture.store);
    let call = CallOptions { timeout: Timeout::After(Duration::from_millis(20)), cancel: None };
    assert_eq!(fixture.store.wait(at(0), &call).unwrap_err().status, Status::Timeout);
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    assert_eq!(fixture.store.wait(at(0), &call), Ok(at(1)));
    drop(readers);
}

#[test]
fn a_cancelled_read_passes_its_connection_to_the_next() {
    let fixture = Fixture::new();
    let readers = fixture.store.connections.readers().unwrap();
    let mut taken = all_readers(&fixture.store);
    let cancel = CancelToken::new();
    let never = CallOptions { timeout: Timeout::Never, cancel: None }.start(None);
    let cancelled = CallOptions { timeout: Timeout::Never, cancel: Some(cancel.clone()) };
    thread::scope(|scope| {
        let first = scope.spawn(|| readers.get(&cancelled.start(None)).map(drop));
        assert!(eventually(|| readers.waiting() == 1));
        let second = scope.spawn(|| readers.get(&never).map(drop));
        assert!(eventually(|| readers.waiting() == 2));
        cancel.trigger();
        assert_eq!(first.join().unwrap().unwrap_err().status, Status::Cancelled);
        taken.pop();
        assert!(eventually(|| second.is_finished()), "the connection was lost");
        assert_eq!(second.join().unwrap(), Ok(()));
    });
    // The connection is in the pool again, and there are no more than before.
    assert_eq!(all_readers(&fixture.store).len(), 1);
}

#[test]
fn closing_the_store_ends_reads_that_wait_for_a_connection() {
    let fixture = Fixture::new();
    let readers = fixture.store.connections.readers().unwrap();
    let taken = all_readers(&fixture.store);
    let never = CallOptions { timeout: Timeout::Never, cancel: None }.start(None);
    thread::scope(|scope| {
        let waits = [(); 3].map(|()| scope.spawn(|| readers.get(&never).map(drop)));
        assert!(eventually(|| readers.waiting() == 3));
        readers.close();
        for wait in waits {
            assert!(eventually(|| wait.is_finished()));
            assert_eq!(wait.join().unwrap().unwrap_err().status, Status::Closed);
        }
    });
    drop(taken);
    assert_eq!(readers.get(&never).map(drop).unwrap_err().status, Status::Closed);
}

#[test]
fn more_long_reads_than_connections_all_succeed() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[]); 8_000], None).unwrap();
    let count = all_readers(&fixture.store).len() + 4;
    // Each read takes longer than it may wait for a connection.
    let call = CallOptions { timeout: Timeout::After(Duration::from_secs(1)), cancel: None };
    thread::scope(|scope| {
        let reads: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    let all = ReadRequest::new(Query::all(), at(0), None, None, Direction::Forward);
                    let mut reading = ReadState::new(all);
                    let batch = BatchLimits { max_events: usize::MAX, max_bytes: usize::MAX };
                    let mut given = 0;
                    fixture.store.read(&mut reading, batch, &call, &mut |_: &EventView<'_>| {
                        given += 1;
                        thread::sleep(Duration::from_micros(200));
                        Ok(())
                    })?;
                    Ok(given)
                })
            })
            .collect();
        for read in reads {
            assert_eq!(read.join().unwrap(), Ok::<_, Error>(8_000));
        }
    });
}

#[test]
fn a_leader_that_times_out_on_the_lock_fails_alone() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let writer = store.connections.writer().unwrap();
    let other_connection = other_connection(&fixture);
    other_connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let cancel = CancelToken::new();
    let until_cancelled = CallOptions { timeout: Timeout::Never, cancel: Some(cancel.clone()) };
    thread::scope(|scope| {
        let first =
            scope.spawn(|| append_within(store, vec![event("A", &[])], Duration::from_millis(100)));
        assert!(eventually(|| writer.queued() == 1));
        let second = scope.spawn(|| {
            let request = AppendRequest::new(vec![event("B", &[])], Vec::new()).unwrap();
            store.append(request, &until_cancelled)
        });
        assert!(eventually(|| writer.queued() == 2 || first.is_finished()));
        let third = scope.spawn(|| append(store, vec![event("C", &[])], None));
        assert_eq!(first.join().unwrap().unwrap_err().status, Status::Busy);
        // The second append is the leader now. It fails too, and the third becomes the leader.
        cancel.trigger();
        assert_eq!(second.join().unwrap().unwrap_err().status, Status::Cancelled);
        other_connection.execute_batch("ROLLBACK").unwrap();
        assert_eq!(third.join().unwrap(), Ok(1));
    });
    assert_eq!(all(store, Query::all()), [1]);
}

/// The outcome of the append is known when it helps to index, so that work must not delay its
/// return beyond its timeout.
#[test]
fn an_append_that_helps_to_index_keeps_its_timeout() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let writer = store.connections.writer().unwrap();
    // The lock that maintenance holds while it waits for SQLite's lock.
    let never = CallOptions { timeout: Timeout::Never, cancel: None }.start(None);
    let segmenting = store.shared.index.begin_segment(&never).unwrap();
    thread::scope(|scope| {
        let many = vec![event("A", &[]); 3 * SEGMENT_EVENTS as usize];
        let helps = scope.spawn(|| append_within(store, many, Duration::from_millis(100)));
        let has_returned = eventually(|| helps.is_finished());
        drop(segmenting);
        assert!(has_returned, "the append waits for maintenance");
        assert_eq!(helps.join().unwrap(), Ok(3 * SEGMENT_EVENTS));
    });
    let other_connection = other_connection(&fixture);
    append(store, vec![event("A", &[]); 3], None).unwrap();
    other_connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let deadline = CallOptions { timeout: Timeout::After(Duration::from_millis(20)), cancel: None };
    let begun = Instant::now();
    let helped = writer.begin_maintenance_within(&deadline.start(None)).map(drop);
    assert_eq!(helped.unwrap_err().status, Status::Busy);
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    other_connection.execute_batch("ROLLBACK").unwrap();
}

/// After a group fails, its requests run one by one, and none can leave the queue any more.
#[test]
fn a_failed_group_ends_although_the_lock_is_held_forever() {
    let mut fixture = Fixture::new();
    fixture.store.close();
    let options = Options { busy_timeout_ms: -1, ..Options::default() };
    fixture.store = Arc::new(SqliteStore::open(Location::File(fixture.path()), &options).unwrap());
    let store = &fixture.store;
    {
        let mut guard = store.connections.writer().unwrap().lock();
        let (connection, _) = guard.open().unwrap().parts();
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", pages).unwrap();
    }
    let guard = store.connections.writer().unwrap().lock();
    thread::scope(|scope| {
        let appends: Vec<_> =
            (0..64).map(|_| scope.spawn(|| append(store, large(), None))).collect();
        assert!(eventually(|| store.connections.writer().unwrap().queued() == 64));
        let other_connection = other_connection(&fixture);
        drop(guard);
        // Takes the lock only once the requests run: before that, each waits for it until its own
        // timeout, and these have none.
        while store.connections.writer().unwrap().queued() > 0 {
            thread::yield_now();
        }
        while other_connection.execute_batch("BEGIN IMMEDIATE").is_err()
            && !appends.iter().all(|append| append.is_finished())
        {}
        let have_ended = eventually(|| appends.iter().all(|append| append.is_finished()));
        drop(other_connection);
        assert!(have_ended, "the appends wait for as long as the lock is held");
        for append in appends {
            let status = append.join().unwrap().unwrap_err().status;
            assert!(matches!(status, Status::Full | Status::Busy), "{status:?}");
        }
    });
}
