//! Histories of threads and processes on a PostgreSQL server, while its sessions are ended and
//! killed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dcb::failpoints::SeededBug;

use crate::client::Store;
use crate::cluster::Cluster;
use crate::histories::history;
use crate::random::Random;
use crate::times;

/// How many processes there are.
const PROCESSES: u64 = 3;

/// A part of the function that appends, and what takes its place.
type Change<'a> = (&'a str, &'a str);

/// Makes the race between two appends longer.
const SLOWER: Change<'_> = ("v_next := v_head;", "PERFORM pg_sleep(0.002); v_next := v_head;");
const WITHOUT_LOCK: Change<'_> = ("WHERE one = 1 FOR UPDATE;", "WHERE one = 1;");
/// Undoing a savepoint releases what was locked since.
const LOCK_RELEASED: Change<'_> = (
    r#"PERFORM 1 FROM "dcb".meta WHERE one = 1 FOR UPDATE;"#,
    r#"BEGIN
        PERFORM 1 FROM "dcb".meta WHERE one = 1 FOR UPDATE;
        RAISE 'undone' USING ERRCODE = 'DCB09';
    EXCEPTION WHEN SQLSTATE 'DCB09' THEN
    END;"#,
);
const WITHOUT_PRIMARY_KEYS: &str = "\
    ALTER TABLE dcb.events DROP CONSTRAINT events_pkey; \
    ALTER TABLE dcb.event_tags DROP CONSTRAINT event_tags_pkey; \
    CREATE INDEX ON dcb.events (position); CREATE INDEX ON dcb.event_tags (tag, position)";

/// Creates the store, then changes its function and runs a statement.
fn create(cluster: &Cluster, changes: &[Change<'_>], statement: &str) {
    drop(Store::open_uri(&cluster.uri(), "{}").expect("the store is created"));
    cluster.change("append", changes);
    assert!(cluster.psql("postgres").args(["-c", statement]).status().unwrap().success());
}

/// Runs a history that nothing disturbs.
fn calm_history(cluster: &Cluster, calls: u64, flaw: Option<SeededBug>) -> Result<u64, String> {
    let mut rest = || std::thread::sleep(Duration::from_millis(5));
    history(Path::new(&cluster.uri()), PROCESSES, calls, flaw, &mut rest)
}

/// Ends one session of the store, if there is one and the server lets anybody in: by a signal that
/// it obeys where it can, or, if `is_crash`, by one after which the server ends all sessions and
/// recovers. Returns whether it did.
fn end_session(cluster: &Cluster, is_crash: bool) -> bool {
    let session = "from pg_stat_activity where usename = 'dcb' order by random() limit 1";
    let what = if is_crash { "pid" } else { "pg_terminate_backend(pid)" };
    let query = format!("select {what} {session}");
    let output = cluster.psql("postgres").args(["-At", "-c", &query]).output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    match (is_crash, answer.trim()) {
        (_, "" | "f") => false,
        (true, process) => {
            let kill = Command::new("kill").args(["-KILL", process]).stderr(Stdio::null()).status();
            kill.unwrap().success()
        }
        (false, _) => true,
    }
}

#[test]
fn histories_on_a_server_whose_sessions_are_killed_are_possible() {
    let Some(cluster) = Cluster::start() else { return };
    create(&cluster, &[], "");
    let mut random = Random::new(Random::seed_of_this_run());
    let (mut ended, mut killed) = (0, 0);
    let calls =
        history(Path::new(&cluster.uri()), PROCESSES, times(4_000, 100_000), None, &mut || {
            std::thread::sleep(Duration::from_millis(20 + random.below(200)));
            // A recovery takes its time.
            let is_crash = random.one_in(10);
            let counter = if is_crash { &mut killed } else { &mut ended };
            *counter += u64::from(end_session(&cluster, is_crash));
        });
    println!("{calls:?} calls, {ended} sessions ended, {killed} killed");
    assert!(calls.is_ok(), "{calls:?}");
    assert!(ended > 0, "nothing was disturbed");
}

#[test]
fn histories_without_the_lock_are_possible() {
    let Some(cluster) = Cluster::start() else { return };
    create(&cluster, &[WITHOUT_LOCK, SLOWER], "");
    let calls = calm_history(&cluster, times(1_500, 40_000), None);
    println!("{calls:?} calls");
    assert!(calls.is_ok(), "{calls:?}");
}

#[test]
fn histories_on_a_server_reveal_bugs() {
    for (what, changes, statement, flaw) in [
        ("no lock and no primary key", &[WITHOUT_LOCK, SLOWER][..], WITHOUT_PRIMARY_KEYS, None),
        ("a lock that is released", &[LOCK_RELEASED, SLOWER][..], WITHOUT_PRIMARY_KEYS, None),
        ("conditions without the group", &[][..], "", Some(SeededBug::ForgetGroup)),
        ("the head after the rows", &[][..], "", Some(SeededBug::ReadHeadLater)),
    ] {
        let Some(cluster) = Cluster::start() else { return };
        create(&cluster, changes, statement);
        let wrong = calm_history(&cluster, 2_000, flaw).expect_err("the bug was not noticed");
        println!("{what}: {wrong}");
    }
}
