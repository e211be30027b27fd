//! SQLite's lock and the log, in the hands of somebody else.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::*;
use crate::sqlite::maintenance::segments::write_segment;
use crate::sqlite::read::pool::PooledReader;
use crate::sqlite::state::{MAX_WAL_PAGES, SEGMENT_EVENTS};
use crate::{CancelToken, Status, Timeout};

/// Another connection to the file, as another process has one.
fn stranger(fixture: &Fixture) -> Connection {
    let connection = Connection::open(fixture.path()).unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    connection
}

#[test]
fn neither_an_append_nor_a_read_waits_for_maintenance_longer_than_it_may() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let request = || ReadRequest::new(Query::all(), 0, None, None, Direction::Forward).unwrap();
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
    // As at the end of a checkpoint, which may wait for the disk.
    let core = fixture.store.connections.writer().unwrap().lock();
    let gate = fixture.store.shared.checkpoints.close_gate();
    for (call, status) in &calls {
        let events = AppendRequest::new(vec![event("A", &[])], Vec::new()).unwrap();
        assert_eq!(fixture.store.append(events, call).unwrap_err().status, *status);
        // The log has changed since the last read, so that it takes a transaction.
        let batch = BatchLimits { max_events: 9, max_bytes: 999 };
        let mut reading = ReadState::new(request());
        let read = fixture.store.read(&mut reading, batch, call, &mut |_: &EventView<'_>| Ok(()));
        assert_eq!(read.unwrap_err().status, *status);
    }
    drop((gate, core));
    assert_eq!(fixture.store.connections.writer().unwrap().queued(), 0);
    assert_eq!(append(&fixture.store, vec![event("A", &[])], None), Ok(2));

    // In memory, the one connection is the writer's.
    let store = SqliteStore::open(Location::Memory, &Options::default()).unwrap();
    let core = store.connections.writer().unwrap().lock();
    for (call, status) in &calls {
        assert_eq!(store.head(call).unwrap_err().status, *status);
    }
    drop(core);
    assert_eq!(store.head(&calls[0].0), Ok(0));
}

fn append_within(store: &SqliteStore, events: Vec<Event>, limit: Duration) -> Result<i64> {
    let request = AppendRequest::new(events, Vec::new())?;
    let call = CallOptions { timeout: Timeout::After(limit), cancel: None };
    store.append(request, &call).map(|appended| appended.last)
}

#[test]
fn an_append_whose_time_is_over_does_not_wait_for_maintenance() {
    let mut fixture = Fixture::new();
    fixture.store.close();
    let options = Options { busy_timeout_ms: -1, ..Options::default() };
    let store = Arc::new(SqliteStore::open(Location::File(fixture.path()), &options).unwrap());
    fixture.store = Arc::clone(&store);
    append(&store, vec![event("A", &[])], None).unwrap();
    let stranger = stranger(&fixture);
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let own = Arc::clone(&store);
    let chore = thread::spawn(move || {
        let writer = own.connections.writer().unwrap();
        write_segment(&own.shared, writer, 1)
    });
    thread::sleep(Duration::from_millis(50));
    let own = Arc::clone(&store);
    let hurried = thread::spawn(move || {
        append_within(&own, vec![event("A", &[])], Duration::from_millis(10))
    });
    assert!(eventually(|| hurried.is_finished()), "it waits behind the chore");
    assert_eq!(hurried.join().unwrap().unwrap_err().status, Status::Busy);
    // The chore does not wait for ever either: closing the store waits for it.
    assert!(eventually(|| chore.is_finished()));
    assert_eq!(chore.join().unwrap().unwrap_err().status, Status::Busy);
    stranger.execute_batch("ROLLBACK").unwrap();
    assert_eq!(append(&store, vec![event("A", &[])], None), Ok(2));
}

/// An event that takes 64 pages of the WAL.
fn large() -> Vec<Event> {
    let data = format!("\"{}\"", "x".repeat(256 * 1024));
    let mut builder = EventBuilder::new(EventType::new("Large").unwrap());
    builder.data(&data).unwrap();
    vec![builder.build()]
}

/// Each of them is short, all pages of the WAL get checkpointed, and it is never reset.
#[test]
fn the_log_keeps_its_limit_whatever_readers_overlap() {
    let fixture = Fixture::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    let log = fixture.folder.path().join("events.db-wal");
    let log_bytes = || std::fs::metadata(&log).map_or(0, |log| log.len());
    let longest = thread::scope(|scope| {
        for phase in [0, 1] {
            let (fixture, done) = (&fixture, &done);
            scope.spawn(move || {
                let stranger = stranger(fixture);
                let slice = Duration::from_millis(40);
                thread::sleep(slice * phase / 2);
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    stranger.execute_batch("BEGIN; SELECT count(*) FROM dcb_meta").unwrap();
                    thread::sleep(slice);
                    stranger.execute_batch("COMMIT").unwrap();
                }
            });
        }
        let mut longest = 0;
        for _ in 0..100 {
            let appended = append_within(&fixture.store, large(), Duration::from_secs(30));
            longest = longest.max(log_bytes());
            if let Err(error) = appended {
                done.store(true, std::sync::atomic::Ordering::SeqCst);
                panic!("{error}");
            }
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        longest
    });
    let limit = MAX_WAL_PAGES as u64 * 4_120;
    assert!(longest > limit / 2, "the readers did not overlap: {longest}");
    // What was written since the checkpoint that came before the limit, and during it.
    assert!(longest < limit * 3 / 2, "{longest} bytes, {limit} being the limit");
}

#[test]
fn appends_go_on_once_the_reader_that_held_the_log_is_gone() {
    let fixture = Fixture::new();
    let stranger = stranger(&fixture);
    stranger.execute_batch("BEGIN; SELECT count(*) FROM dcb_events").unwrap();
    let mut last = 0;
    let refused = loop {
        match append_within(&fixture.store, large(), Duration::from_millis(20)) {
            Ok(position) => last = position,
            // Maintenance was trying to free the log.
            Err(error) if !error.message.contains("old snapshot") => {
                assert_eq!(error.status, Status::Busy, "{error}");
            }
            Err(error) => break error,
        }
        assert!(last < 200, "the log has no bound");
    };
    assert_eq!(refused.status, Status::Busy);
    // An append that waits while the reader ends.
    let own = Arc::clone(&fixture.store);
    let waits = thread::spawn(move || append(&own, large(), None));
    thread::sleep(Duration::from_millis(50));
    assert!(!waits.is_finished());
    stranger.execute_batch("COMMIT").unwrap();
    assert_eq!(waits.join().unwrap(), Ok(last + 1));
}

/// All the connections that may read at a time.
fn all_readers(store: &SqliteStore) -> Vec<PooledReader<'_>> {
    let at_once = CallOptions { timeout: Timeout::After(Duration::ZERO), cancel: None }.start(None);
    let readers = store.connections.readers().unwrap();
    std::iter::from_fn(|| readers.get(&at_once).ok()).collect()
}

#[test]
fn a_wait_ends_in_time_while_all_connections_are_in_use() {
    let fixture = Fixture::new();
    let lent = all_readers(&fixture.store);
    let call = CallOptions { timeout: Timeout::After(Duration::from_millis(20)), cancel: None };
    assert_eq!(fixture.store.wait(0, &call).unwrap_err().status, Status::Timeout);
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    assert_eq!(fixture.store.wait(0, &call), Ok(1));
    drop(lent);
}

#[test]
fn a_read_that_gives_up_leaves_the_connection_to_the_next() {
    let fixture = Fixture::new();
    let readers = fixture.store.connections.readers().unwrap();
    let mut lent = all_readers(&fixture.store);
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
        lent.pop();
        assert!(eventually(|| second.is_finished()), "the connection was lost");
        assert_eq!(second.join().unwrap(), Ok(()));
    });
    // The connection came back: one can be had, and no more than before.
    assert_eq!(all_readers(&fixture.store).len(), 1);
}

#[test]
fn closing_the_store_ends_the_reads_that_wait_for_a_connection() {
    let fixture = Fixture::new();
    let readers = fixture.store.connections.readers().unwrap();
    let lent = all_readers(&fixture.store);
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
    drop(lent);
    assert_eq!(readers.get(&never).map(drop).unwrap_err().status, Status::Closed);
}

#[test]
fn more_long_reads_than_connections_take_turns() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[]); 8_000], None).unwrap();
    let count = all_readers(&fixture.store).len() + 4;
    // Each read takes longer than it may wait for a connection.
    let call = CallOptions { timeout: Timeout::After(Duration::from_secs(1)), cancel: None };
    thread::scope(|scope| {
        let reads: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    let all =
                        ReadRequest::new(Query::all(), 0, None, None, Direction::Forward).unwrap();
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
fn a_leader_that_does_not_get_the_lock_in_time_fails_alone_and_hands_on() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let writer = store.connections.writer().unwrap();
    let stranger = stranger(&fixture);
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
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
        // The second leads by now, and gives up in its turn.
        cancel.trigger();
        assert_eq!(second.join().unwrap().unwrap_err().status, Status::Cancelled);
        stranger.execute_batch("ROLLBACK").unwrap();
        assert_eq!(third.join().unwrap(), Ok(1));
    });
    assert_eq!(all(store, Query::all()), [1]);
}

/// Its answer is known: that the index lags behind is no reason to hold it back.
#[test]
fn an_append_that_helps_with_the_index_waits_no_longer_than_it_may() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let writer = store.connections.writer().unwrap();
    // As maintenance has it while it waits for the lock of SQLite.
    let never = CallOptions { timeout: Timeout::Never, cancel: None }.start(None);
    let segmenting = store.shared.index.begin_segment(&never).unwrap();
    thread::scope(|scope| {
        let many = vec![event("A", &[]); 3 * SEGMENT_EVENTS as usize];
        let helps = scope.spawn(|| append_within(store, many, Duration::from_millis(100)));
        let is_answered = eventually(|| helps.is_finished());
        drop(segmenting);
        assert!(is_answered, "it waits for maintenance");
        assert_eq!(helps.join().unwrap(), Ok(3 * SEGMENT_EVENTS));
    });
    let stranger = stranger(&fixture);
    append(store, vec![event("A", &[]); 3], None).unwrap();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let deadline = CallOptions { timeout: Timeout::After(Duration::from_millis(20)), cancel: None };
    let begun = Instant::now();
    let helped = writer.begin_maintenance_within(&deadline.start(None)).map(drop);
    assert_eq!(helped.unwrap_err().status, Status::Busy);
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    stranger.execute_batch("ROLLBACK").unwrap();
}

/// Its requests run one by one then, and nobody can leave.
#[test]
fn a_group_that_failed_ends_though_somebody_takes_the_lock_for_good() {
    let mut fixture = Fixture::new();
    fixture.store.close();
    let options = Options { busy_timeout_ms: -1, ..Options::default() };
    fixture.store = Arc::new(SqliteStore::open(Location::File(fixture.path()), &options).unwrap());
    let store = &fixture.store;
    {
        let mut core = store.connections.writer().unwrap().lock();
        let (connection, _) = core.open().unwrap().parts();
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", pages).unwrap();
    }
    let core = store.connections.writer().unwrap().lock();
    thread::scope(|scope| {
        let appends: Vec<_> =
            (0..64).map(|_| scope.spawn(|| append(store, large(), None))).collect();
        assert!(eventually(|| store.connections.writer().unwrap().queued() == 64));
        let stranger = stranger(&fixture);
        drop(core);
        // Once they run: before that, each waits for the lock as long as it was told.
        while store.connections.writer().unwrap().queued() > 0 {
            thread::yield_now();
        }
        while stranger.execute_batch("BEGIN IMMEDIATE").is_err()
            && !appends.iter().all(|append| append.is_finished())
        {}
        let have_ended = eventually(|| appends.iter().all(|append| append.is_finished()));
        drop(stranger);
        assert!(have_ended, "they wait for as long as the lock is held");
        for append in appends {
            let status = append.join().unwrap().unwrap_err().status;
            assert!(matches!(status, Status::Full | Status::Busy), "{status:?}");
        }
    });
}
