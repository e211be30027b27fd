//! Two or more stores on one file, in one process or several. They share nothing but the file.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use rusqlite::Connection;

use super::*;
use crate::Status;
use crate::position::at;
use crate::sqlite::index::tail::{Generations, TAIL_EVENTS};
use crate::sqlite::snapshot::Snapshot;

#[test]
fn an_idle_store_follows_the_merges_of_another() {
    let fixture = Fixture::new();
    let idle = open(fixture.path());
    let version = |store: &SqliteStore| store.shared.index.segments.newest().version;
    for _ in 0..20 {
        append(&fixture.store, (0..40).map(|_| event("A", &[])).collect(), None).unwrap();
    }
    assert!(eventually(|| version(&idle) > 3 && version(&idle) == version(&fixture.store)));
}

#[test]
fn a_reader_survives_the_deletion_of_its_wal() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let read_only = Options { read_only: true, ..Options::default() };
    let reader = SqliteStore::open(Location::File(fixture.path()), &read_only).unwrap();
    // The last writer to close the file deletes its WAL, and the next one creates another.
    fixture.store.close();
    let second = open(fixture.path());
    append(&second, vec![event("B", &[])], None).unwrap();
    assert_eq!(all(&reader, Query::all()), [1, 2]);
}

#[test]
fn a_reader_that_cannot_sync_what_it_reads_fails() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let read_only = Options { read_only: true, ..Options::default() };
    let reader = SqliteStore::open(Location::File(fixture.path()), &read_only).unwrap();
    reader.shared.commits.durability.tampering.fail.store(true, SeqCst);
    for _ in 0..2 {
        assert_eq!(reader.head(&CallOptions::default()).unwrap_err().status, Status::Io);
    }
}

/// The environment variables that tell a child process the file, and what to do with it.
const CHILD: [&str; 2] = ["DCB_TEST_CHILD_FILE", "DCB_TEST_CHILD_PART"];

/// Starts this test program again, to run a part of [`child`].
fn start(path: &Path, part: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sqlite::tests::processes::child", "--nocapture"])
        .env(CHILD[0], path)
        .env(CHILD[1], part)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for the child to end; returns the numbers that it has printed.
fn numbers_from(child: Child) -> Vec<i64> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split_once("numbers:")).unwrap().1;
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Runs in the child processes of the tests below. As a test of its own it does nothing.
#[test]
fn child() {
    let [Some(path), Some(part)] = CHILD.map(std::env::var_os) else { return };
    let store = open(path.into());
    let numbers = match part.to_str().unwrap() {
        "claim" => claim_all(&store),
        "load" => load(&store),
        part => panic!("{part}"),
    };
    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
    println!("numbers:{}", numbers.join(" "));
    store.close();
}

const CLAIMS: usize = 300;

/// Tries to append each claim, on the condition that nobody has; returns the positions of the
/// claims that it won.
fn claim_all(store: &SqliteStore) -> Vec<i64> {
    (0..CLAIMS)
        .filter_map(|n| {
            let tag = format!("name:{n}");
            let condition = query(&["Claimed"], &[&tag]);
            match append(store, vec![event("Claimed", &[tag])], Some(condition.clone())) {
                Ok(position) => Some(position),
                Err(error) => {
                    assert_eq!(error.status, Status::ConditionFailed);
                    // The event that made the condition fail can be read at once.
                    assert_eq!(all(store, condition), [error.position.get()]);
                    None
                }
            }
        })
        .collect()
}

#[test]
fn each_claim_is_won_by_exactly_one_process() {
    let fixture = Fixture::new();
    let children = ["claim"; 2].map(|part| start(&fixture.path(), part));
    let mut won = claim_all(&fixture.store);
    for child in children {
        won.append(&mut numbers_from(child));
    }
    won.sort_unstable();
    assert_eq!(won, (1..=CLAIMS as i64).collect::<Vec<_>>());
    assert_eq!(all(&fixture.store, query(&["Claimed"], &[])), won);
}

/// Waits until two processes are ready, then appends for a second with 32 threads. Returns how many
/// appends were stored, and how many failed.
fn load(store: &SqliteStore) -> Vec<i64> {
    append(store, vec![event("Ready", &[])], None).unwrap();
    store.wait(at(1), &CallOptions::default()).unwrap();
    let end = Instant::now() + Duration::from_millis(1_000);
    let (mut stored, mut refused) = (0, 0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..32)
            .map(|_| {
                scope.spawn(|| {
                    let mut counts = (0, 0);
                    while Instant::now() < end {
                        match append(store, vec![event("A", &[])], None) {
                            Ok(_) => counts.0 += 1,
                            Err(_) => counts.1 += 1,
                        }
                    }
                    counts
                })
            })
            .collect();
        for thread in threads {
            let counts = thread.join().unwrap();
            stored += counts.0;
            refused += counts.1;
        }
    });
    vec![stored, refused]
}

/// Returns how many events each of two processes stored while both wrote to one file all the time.
fn share() -> [i64; 2] {
    let fixture = Fixture::new();
    let wal = fixture.folder.path().join("events.db-wal");
    let children = ["load"; 2].map(|part| start(&fixture.path(), part));
    let [first, second] = children.map(|child| <[i64; 2]>::try_from(numbers_from(child)).unwrap());
    let wal = std::fs::metadata(wal).unwrap().len();
    assert_eq!([first[1], second[1]], [0, 0], "refused");
    assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(first[0] + second[0] + 2)));
    // Both write all the time, and the WAL was still reset: its length is limited.
    assert!(wal < 14 * 1024 * 1024, "the WAL is {wal} bytes long");
    [first[0], second[0]]
}

#[test]
fn two_busy_processes_share_the_file_fairly() {
    // The operating system may give one process less CPU time, but hardly three times in a row.
    let shares: Vec<[i64; 2]> = (0..3).map(|_| share()).collect();
    let is_fair = |share: &[i64; 2]| share[0].min(share[1]) * 3 >= share[0] + share[1];
    assert!(shares.iter().any(is_fair), "{shares:?}");
}

#[test]
fn events_of_another_store_are_synced_before_they_are_returned() {
    let fixture = Fixture::new();
    let other = open(fixture.path());
    let syncs = |store: &SqliteStore| store.shared.commits.durability.tampering.count.load(SeqCst);
    let stalled = fixture.store.shared.commits.durability.tampering.stall.lock().unwrap();
    thread::scope(|scope| {
        let unanswered = scope.spawn(|| append(&fixture.store, vec![event("A", &[])], None));
        assert!(eventually(|| syncs(&fixture.store) > 0));
        let before = syncs(&other);
        assert_eq!(other.head(&CallOptions::default()), Ok(at(1)));
        assert_eq!(all(&other, Query::all()), [1]);
        assert_eq!(syncs(&other), before + 1);
        drop(stalled);
        assert_eq!(unanswered.join().unwrap(), Ok(1));
    });
}

#[test]
fn a_head_waits_for_own_events_below_those_of_another_store() {
    let fixture = Fixture::new();
    let other = open(fixture.path());
    let stalled = fixture.store.shared.commits.durability.tampering.stall.lock().unwrap();
    thread::scope(|scope| {
        let own = scope.spawn(|| append(&fixture.store, vec![event("A", &[])], None));
        assert!(eventually(|| fixture
            .store
            .shared
            .commits
            .durability
            .tampering
            .count
            .load(SeqCst)
            > 0));
        assert_eq!(append(&other, vec![event("B", &[])], None), Ok(2));
        let head = scope.spawn(|| fixture.store.head(&CallOptions::default()));
        thread::sleep(Duration::from_millis(20));
        // The head waits for the sync. It can no longer be 0 or 1, since the other store has stored
        // event 2, and it must not be 2 before event 1 is durable.
        assert!(!head.is_finished());
        drop(stalled);
        assert_eq!(head.join().unwrap(), Ok(at(2)));
        assert_eq!(own.join().unwrap(), Ok(1));
    });
}

#[test]
fn appends_fail_after_the_file_or_its_wal_is_moved() {
    for gone in ["events.db", "events.db-wal"] {
        let fixture = Fixture::new();
        append(&fixture.store, vec![event("A", &[])], None).unwrap();
        assert_eq!(all(&fixture.store, Query::all()), [1]);
        let path = fixture.folder.path().join(gone);
        std::fs::rename(&path, path.with_extension("away")).unwrap();
        let error = append(&fixture.store, vec![event("A", &[])], None).unwrap_err();
        assert_eq!(error.status, Status::Io, "{gone}");
        assert!(error.message.contains("moved, replaced or deleted"), "{error}");
        // A new file with the same name is not the file that the store has open.
        std::fs::write(&path, b"").unwrap();
        assert_eq!(append(&fixture.store, vec![event("A", &[])], None), Err(error));
        assert_eq!(all(&fixture.store, Query::all()), [1]);
    }
}

#[test]
fn the_tail_is_bounded_whatever_another_store_appends() {
    let fixture = Fixture::new();
    let other = open(fixture.path());
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    append(&other, vec![event("B", &[]); 5_000], None).unwrap();
    append(&other, vec![event("C", &[])], None).unwrap();
    assert_eq!(all(&fixture.store, query(&["C"], &[])), [5_002]);
    let held = fixture.store.shared.index.tail.read(Generations::len);
    assert!(held <= TAIL_EVENTS, "{held}");
    // Conditions are still checked against events that the tail does not hold.
    let guarded = append(&fixture.store, vec![event("D", &[])], Some(query(&["B"], &[])));
    assert_eq!(guarded, Err(Error::condition_failed(at(2))));
}

/// A read without a transaction must not use a snapshot that is older than a commit of another
/// process or of its own.
#[test]
fn reads_without_a_transaction_see_what_was_committed_before_them() {
    let fixture = Fixture::new();
    let other = open(fixture.path());
    let everything = || ReadRequest::default();
    let hits = || fixture.store.connections.readers().unwrap().seen.hits.load(SeqCst);
    let mut last = 0;
    for round in 0..200 {
        let store = if round % 3 == 0 { &fixture.store } else { &other };
        let events = vec![event("A", &[format!("own:{round}")]); 1 + round % 2];
        last = append(store, events, None).unwrap();
        for _ in 0..3 {
            assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(last)));
            let found = positions(&fixture.store, everything()).unwrap();
            assert!(found.into_iter().eq(1..=last));
            let tagged = query(&[], &[&format!("own:{round}")]);
            let tagged = ReadRequest::new(tagged, at(0), None, None, Direction::Backward);
            assert_eq!(positions(&fixture.store, tagged).unwrap().first(), Some(&last));
        }
    }
    assert!(hits() > 200, "{} reads without a transaction", hits());
    // The store that commits knows the snapshot, so its next read begins no transaction either.
    let before = hits();
    for round in 0..20 {
        last = append(&fixture.store, vec![event("B", &[])], None).unwrap();
        assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(last)), "{round}");
    }
    assert!(hits() >= before + 15, "{} reads without a transaction", hits() - before);
    // Events that are neither in the tail nor checkpointed into the file need a transaction.
    assert!(last > 2 * TAIL_EVENTS as i64);
    assert!(positions(&fixture.store, everything()).unwrap().into_iter().eq(1..=last));
}

/// Whoever takes a snapshot keeps the schema cookie with it, and a commit hands it on.
#[test]
fn a_snapshot_is_kept_with_the_schema_that_it_sees() {
    let fixture = Fixture::new();
    let program = Connection::open(fixture.path()).unwrap();
    let cookie = || Snapshot::schema_cookie(&program).unwrap();
    let known = || {
        let deadline = CallOptions::default().start(None);
        let mut connection = fixture.store.connections.lend(&deadline).unwrap();
        let (source, _, snapshot) = connection.lock_free()?;
        Some((snapshot.head, source.mark()?.cookie))
    };
    let mut known_after_commit = 0;
    for round in 1..=40 {
        let last = append(&fixture.store, vec![event("A", &[])], None).unwrap();
        if let Some(known) = known() {
            assert_eq!(known, (at(last), cookie()));
            known_after_commit += 1;
        }
        assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(last)));
        if round % 10 == 0 {
            program.execute_batch(&format!("CREATE TABLE own_{round} (a)")).unwrap();
            assert_eq!(known(), None, "of a commit that nobody has looked at");
        }
    }
    assert!(known_after_commit >= 20, "{known_after_commit}");
}
