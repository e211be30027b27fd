//! Group commit: when events become visible, when appends return, and which appends fail together.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use super::*;
use crate::domain::EventId;
use crate::index::PreparedEvents;
use crate::position::at;
use crate::sqlite::append::writer::wait_for_wal;
use crate::sqlite::connection::transaction::commit;
use crate::sqlite::connection::{OpenMode, connect};
use crate::{CancelToken, Status};

/// Runs the appends in one group, in this order: they queue up while the test holds the lock of
/// the writer. Each has an event and a query that no event may match.
fn in_one_group(store: &Arc<SqliteStore>, appends: Vec<(Event, Query)>) -> Vec<Result<i64>> {
    let writer = store.connections.writer().unwrap();
    let guard = writer.lock();
    let count = appends.len();
    let threads: Vec<_> = appends
        .into_iter()
        .enumerate()
        .map(|(index, (event, condition))| {
            let own = Arc::clone(store);
            let thread = thread::spawn(move || append(&own, vec![event], Some(condition)));
            // The next one starts once this one is queued, so that their order is known.
            while writer.queued() <= index {
                thread::yield_now();
            }
            thread
        })
        .collect();
    assert_eq!(writer.queued(), count);
    drop(guard);
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn one_of_several_conflicting_appends_in_a_group_succeeds() {
    let fixture = Fixture::new();
    let claim = || (event("Claimed", &["name:x".into()]), query(&["Claimed"], &["name:x"]));
    let answers = in_one_group(&fixture.store, vec![claim(), claim(), claim()]);
    assert_eq!(answers[0], Ok(1));
    assert_eq!(answers[1], Err(Error::condition_failed(at(1))));
    assert_eq!(answers[2], Err(Error::condition_failed(at(1))));
    assert_eq!(all(&fixture.store, Query::all()), [1]);
}

#[test]
fn appends_of_a_group_with_unrelated_conditions_all_succeed() {
    let fixture = Fixture::new();
    let claim = |kind: &str| (event(kind, &["name:x".into()]), query(&[kind], &["name:x"]));
    let answers = in_one_group(&fixture.store, vec![claim("A"), claim("B"), claim("A")]);
    assert_eq!(answers[..2], [Ok(1), Ok(2)]);
    assert_eq!(answers[2], Err(Error::condition_failed(at(1))));
}

#[test]
fn a_group_needs_one_sync() {
    let fixture = Fixture::new();
    let syncs = || fixture.store.shared.commits.durability.tampering.count.load(SeqCst);
    let before = syncs();
    let appends = (0..10).map(|n| (event("A", &[format!("n:{n}")]), query(&["B"], &[]))).collect();
    let answers = in_one_group(&fixture.store, appends);
    assert_eq!(answers, (1..=10).map(Ok).collect::<Vec<_>>());
    assert_eq!(syncs() - before, 1);
}

#[test]
fn an_event_is_visible_only_once_it_is_durable() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let shared = &fixture.store.shared;
    let stalled = shared.commits.durability.tampering.stall.lock().unwrap();
    thread::scope(|scope| {
        let mut named = EventBuilder::new(EventType::new("B").unwrap());
        named.id(EventId::new("i").unwrap());
        let named = vec![named.build()];
        let first = scope.spawn(|| append(&fixture.store, named, None));
        while shared.index.tail.read(|tail| tail.head()) < at(2) {
            thread::yield_now();
        }
        // The event is committed and in the tail, but not durable.
        assert!(!first.is_finished());
        assert_eq!(all(&fixture.store, Query::all()), [1]);
        let find = || fixture.store.find(EventId::new("i").unwrap(), &CallOptions::default());
        assert_eq!(find(), Ok(None));
        assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(1)));
        let call = CallOptions { timeout: Timeout::After(Duration::from_millis(30)), cancel: None };
        assert_eq!(fixture.store.wait(at(1), &call).unwrap_err().status, Status::Timeout);
        drop(stalled);
        assert_eq!(first.join().unwrap(), Ok(2));
        assert_eq!(all(&fixture.store, Query::all()), [1, 2]);
        assert_eq!(find().map(|found| found.map(|event| event.position)), Ok(Some(at(2))));
    });
}

#[test]
fn a_failed_condition_is_reported_once_its_event_is_durable() {
    let fixture = Fixture::new();
    let claim = || (event("Claimed", &[]), query(&["Claimed"], &[]));
    let stalled = fixture.store.shared.commits.durability.tampering.stall.lock().unwrap();
    let (wins, fails) = thread::scope(|scope| {
        let answers = scope.spawn(|| in_one_group(&fixture.store, vec![claim(), claim()]));
        thread::sleep(Duration::from_millis(50));
        assert!(!answers.is_finished());
        drop(stalled);
        let mut answers = answers.join().unwrap();
        (answers.remove(0), answers.remove(0))
    });
    assert_eq!((wins, fails), (Ok(1), Err(Error::condition_failed(at(1)))));
}

#[test]
fn after_a_failed_sync_the_store_accepts_nothing_until_reopened() {
    let mut fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let tampering = &fixture.store.shared.commits.durability.tampering;
    tampering.fail.store(true, SeqCst);
    let error = append(&fixture.store, vec![event("B", &[])], None).unwrap_err();
    assert_eq!((error.status, error.detail), (Status::Io, libc::EIO));
    // The next sync would succeed: after a failed fsync, Linux reports success again although
    // pages are missing on the disk.
    tampering.fail.store(false, SeqCst);
    let error = append(&fixture.store, vec![event("C", &[])], None).unwrap_err();
    assert_eq!(error.status, Status::Io);
    assert!(error.message.contains("open it again"), "{error}");
    assert_eq!(all(&fixture.store, Query::all()), [1]);
    assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(1)));
    // B may be stored or not. The outcome of D is known, and D follows all that is stored.
    fixture.reopen();
    let known = all(&fixture.store, Query::all());
    let last = append(&fixture.store, vec![event("D", &[])], None).unwrap();
    assert_eq!(last, known.len() as i64 + 1);
}

#[test]
fn a_request_leaves_the_queue_on_timeout_or_cancellation() {
    let fixture = Fixture::new();
    let writer = fixture.store.connections.writer().unwrap();
    let guard = writer.lock();
    let start = |timeout, cancel| {
        let store = Arc::clone(&fixture.store);
        let request = AppendRequest::new(vec![event("A", &[])], Vec::new()).unwrap();
        thread::spawn(move || store.append(request, &CallOptions { timeout, cancel }))
    };
    // The leader waits for the writer, which the test holds.
    let leader = start(Timeout::Never, None);
    while writer.queued() < 1 {
        thread::yield_now();
    }
    let cancel = CancelToken::new();
    let cancelled = start(Timeout::Never, Some(cancel.clone()));
    while writer.queued() < 2 {
        thread::yield_now();
    }
    // This one leaves the queue after 10 ms, so the test cannot wait until it is queued.
    let hurried = start(Timeout::After(Duration::from_millis(10)), None);
    assert_eq!(hurried.join().unwrap().unwrap_err().status, Status::Busy);
    assert_eq!(writer.queued(), 2);
    cancel.trigger();
    assert_eq!(cancelled.join().unwrap().unwrap_err().status, Status::Cancelled);
    assert_eq!(writer.queued(), 1);
    drop(guard);
    assert_eq!(leader.join().unwrap(), Ok(Appended::new(at(1))));
    assert_eq!(append(&fixture.store, vec![event("A", &[])], None), Ok(2));
}

#[test]
fn an_append_rejected_by_sqlite_fails_alone() {
    let fixture = Fixture::new();
    let writer = fixture.store.connections.writer().unwrap();
    let large = {
        let data = format!("\"{}\"", "x".repeat(4 * 1024 * 1024));
        let mut builder = EventBuilder::new(EventType::new("Large").unwrap());
        builder.data(&data).unwrap();
        builder.build()
    };
    {
        let mut guard = writer.lock();
        let (connection, _) = guard.open().unwrap().parts();
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", pages + 200).unwrap();
    }
    let nothing = || query(&["Nothing"], &[]);
    let small = || (event("Small", &[]), nothing());
    let answers = in_one_group(&fixture.store, vec![small(), (large, nothing()), small()]);
    assert_eq!(answers[0], Ok(1));
    assert_eq!(answers[1].as_ref().unwrap_err().status, Status::Full);
    assert_eq!(answers[2], Ok(2));
    assert_eq!(all(&fixture.store, Query::all()), [1, 2]);
}

#[test]
fn a_panic_fails_its_group_and_closes_the_store() {
    let mut fixture = Fixture::new();
    fixture.store.shared.commits.durability.tampering.panic.store(true, SeqCst);
    let store = &fixture.store;
    let writer = store.connections.writer().unwrap();
    let start = |count: usize| {
        let (own, before) = (Arc::clone(store), writer.queued());
        let events = vec![event("A", &[]); count];
        let thread = thread::spawn(move || append(&own, events, None));
        while writer.queued() == before {
            thread::yield_now();
        }
        thread
    };
    let guard = writer.lock();
    // The first two fill a group (16,384 events), so the third is in the next group.
    let answers = [start(16_383), start(1), start(1)];
    drop(guard);
    let statuses = answers.map(|answer| answer.join().unwrap().unwrap_err().status);
    assert_eq!(statuses, [Status::Internal, Status::Internal, Status::Closed]);
    assert_eq!(append(store, vec![event("A", &[])], None).unwrap_err().status, Status::Closed);
    fixture.reopen();
    assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(16_384)));
}

#[test]
fn after_a_failed_sync_the_wal_is_not_checkpointed() {
    let fixture = Fixture::new();
    let tampering = &fixture.store.shared.commits.durability.tampering;
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    tampering.fail.store(true, SeqCst);
    let stored = vec![event("B", &[]); 20];
    assert_eq!(append(&fixture.store, stored, None).unwrap_err().status, Status::Io);
    let before = std::fs::read(fixture.path()).unwrap();
    // Longer than the maintenance thread sleeps when it is idle.
    thread::sleep(Duration::from_millis(700));
    fixture.store.close();
    assert!(std::fs::read(fixture.path()).unwrap() == before, "the database has changed");
    assert_eq!(open(fixture.path()).head(&CallOptions::default()), Ok(at(21)));
}

#[test]
fn after_a_failed_sync_queued_appends_fail() {
    let fixture = Fixture::new();
    let tampering = &fixture.store.shared.commits.durability.tampering;
    tampering.fail.store(true, SeqCst);
    let writer = fixture.store.connections.writer().unwrap();
    let guard = writer.lock();
    let start = |count: usize| {
        let (own, before) = (Arc::clone(&fixture.store), writer.queued());
        let thread = thread::spawn(move || append(&own, vec![event("A", &[]); count], None));
        while writer.queued() == before {
            thread::yield_now();
        }
        thread
    };
    // The first fills a group, so the second is in the next group.
    let answers = [start(16_384), start(1)];
    drop(guard);
    for answer in answers {
        assert_eq!(answer.join().unwrap().unwrap_err().status, Status::Io);
    }
    assert_eq!(
        fixture.store.shared.index.tail.read(crate::sqlite::index::tail::Generations::head),
        at(16_384)
    );
}

#[test]
fn nothing_waits_for_the_wal_of_a_failed_or_closed_store() {
    let fixture = Fixture::new();
    let shared = &fixture.store.shared;
    let wait = || {
        let within = CallOptions { timeout: Timeout::After(Duration::from_secs(10)), cancel: None };
        wait_for_wal(shared, &within.start(None)).map_err(|error| error.status)
    };
    assert_eq!(wait(), Ok(()));
    shared.commits.durability.fail(&Error::new(Status::Io, "as the test asked"));
    shared.checkpoints.end(crate::sqlite::state::MAX_WAL_PAGES, false);
    assert_eq!(wait(), Err(Status::Io));
    shared.commits.watch.close();
    assert_eq!(wait(), Err(Status::Closed));
}

#[test]
fn no_condition_is_checked_against_events_not_in_the_database() {
    let mut fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let mut lost = PreparedEvents::new([event("B", &[])].into_iter().collect()).unwrap();
    lost.place(at(1), 0);
    fixture.store.shared.index.tail.extend([&lost]);
    let error = append(&fixture.store, vec![event("C", &[])], None).unwrap_err();
    assert_eq!(error.status, Status::Corrupt);
    // Closing the store does not index the missing event either: that index would hide the event
    // that gets its position.
    fixture.reopen();
    assert_eq!(append(&fixture.store, vec![event("C", &[])], None), Ok(2));
}

/// A commit that has written the WAL and then lacks memory for the WAL-index may still be in the
/// WAL. So the error says that the outcome is unknown, not that nothing was stored.
#[test]
fn a_commit_out_of_memory_has_an_unknown_outcome() {
    let connection = connect(&Location::Memory, OpenMode::Create).unwrap();
    for (status, reported) in
        [(Status::NoMemory, Status::Io), (Status::Full, Status::Full), (Status::Busy, Status::Busy)]
    {
        let error = Error::new(status, "as the test asked").with_detail(7);
        let failing = Failing { inner: &connection, sql: "COMMIT", error };
        let error = commit(&failing).unwrap_err();
        assert_eq!((error.status, error.detail), (reported, 7));
    }
}

#[test]
fn a_duplicate_depends_on_every_stored_event_it_matches() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let with_id = |id: &str, event_type: &str| {
        let mut builder = EventBuilder::new(EventType::new(event_type).unwrap());
        builder.id(EventId::new(id).unwrap());
        builder.build()
    };
    append(store, vec![with_id("a", "A")], None).unwrap();
    store.shared.commits.durability.tampering.fail.store(true, SeqCst);
    let writer = store.connections.writer().unwrap();
    let guard = writer.lock();
    let start = |events: Vec<Event>| {
        let (own, before) = (Arc::clone(store), writer.queued());
        let thread = thread::spawn(move || append(&own, events, None));
        while writer.queued() == before {
            thread::yield_now();
        }
        thread
    };
    let answers = [
        start(vec![with_id("b", "B")]),
        // The first event is stored and durable. The second conflicts with an event that is not
        // durable, so this error depends on that event too.
        start(vec![with_id("a", "A"), with_id("b", "other")]),
    ];
    drop(guard);
    let statuses = answers.map(|answer| answer.join().unwrap().unwrap_err().status);
    assert_eq!(statuses, [Status::Io; 2]);
}

#[test]
fn a_failed_sync_keeps_answers_that_depend_on_durable_events() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("Claimed", &[])], None).unwrap();
    fixture.store.shared.commits.durability.tampering.fail.store(true, SeqCst);
    let answers = in_one_group(
        &fixture.store,
        vec![
            (event("New", &[]), query(&["Nothing"], &[])),
            (event("Claimed", &[]), query(&["Claimed"], &[])),
            (event("Other", &[]), query(&["New"], &[])),
        ],
    );
    assert_eq!(answers[0].as_ref().unwrap_err().status, Status::Io);
    assert_eq!(answers[1], Err(Error::condition_failed(at(1))));
    assert_eq!(answers[2].as_ref().unwrap_err().status, Status::Io);
}
