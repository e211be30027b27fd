//! Processes that die while clients append: sessions of the server, the server, and the clients.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dcb::Status;

use crate::cluster::Cluster;
use crate::ends::Ends;
use crate::times;
use crate::work::{Attempt, check, claim, is_unknown, open, patient};

/// In the environment of a process that is to be killed: the URI of the server, and its number.
const ROLE: &str = "DCB_POSTGRES_CLIENT";

/// Runs three clients that race for slots, and `fault` beside them, until it returns. Returns what
/// the clients tried.
pub fn race(uri: &str, fault: impl FnOnce(&dyn Fn(u64))) -> Vec<Attempt> {
    let is_over = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let attempts = Mutex::new(Vec::new());
    // Two clients share a store, and so its groups; the third has a store of its own.
    let stores = [open(uri).unwrap(), open(uri).unwrap()];
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (store, is_over, done, attempts) =
                (&*stores[client / 2], &is_over, &done, &attempts);
            scope.spawn(move || {
                let mut own = Vec::new();
                for slot in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    own.push(claim(store, slot, &format!("{client} {slot}"), &patient()));
                    done.fetch_add(1, Ordering::SeqCst);
                }
                attempts.lock().unwrap().append(&mut own);
            });
        }
        let ends = Ends(&is_over);
        let wait_for = |more: u64| {
            let goal = done.load(Ordering::SeqCst) + more;
            let start = Instant::now();
            while done.load(Ordering::SeqCst) < goal {
                assert!(start.elapsed() < Duration::from_secs(120), "the clients hang");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        fault(&wait_for);
        drop(ends);
    });
    attempts.into_inner().unwrap()
}

/// Checks that clients with the time to wait have learnt the outcome of everything they tried.
pub fn check_known(store: &dyn dcb::Store, attempts: &[Attempt]) {
    for attempt in attempts {
        if let Err(error) = &attempt.answer {
            assert_eq!(error.status, Status::ConditionFailed, "{attempt:?}");
        }
    }
    let stored = check(store, attempts);
    println!("{} attempts, {stored} stored", attempts.len());
}

fn kill(process: &str) {
    let status = Command::new("kill").args(["-KILL", process]).stderr(Stdio::null()).status();
    // It may be gone already.
    let _ = status.unwrap();
}

#[test]
fn sessions_that_are_ended_lose_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let attempts = race(&cluster.uri(), |wait_for| {
        for _ in 0..times(10, 1_000) {
            wait_for(5);
            cluster.query(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'dcb'",
            );
        }
        wait_for(5);
    });
    check_known(&*open(&cluster.uri()).unwrap(), &attempts);
}

#[test]
fn killed_sessions_of_the_server_lose_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let attempts = race(&cluster.uri(), |wait_for| {
        for _ in 0..times(2, 100) {
            wait_for(20);
            // The server ends all sessions then, and recovers.
            let process = cluster
                .query("select coalesce(max(pid), 0) from pg_stat_activity where usename = 'dcb'");
            if process != "0" {
                kill(&process);
            }
            wait_for(5);
        }
    });
    check_known(&*open(&cluster.uri()).unwrap(), &attempts);
}

#[test]
fn a_killed_server_loses_nothing() {
    let Some(mut cluster) = Cluster::start() else { return };
    let uri = cluster.uri();
    let attempts = race(&uri, |wait_for| {
        for round in 0..times(2, 100) {
            wait_for(20);
            if round % 2 == 0 {
                cluster.kill()
            } else {
                cluster.stop()
            }
            std::thread::sleep(Duration::from_millis(100 * (round % 3)));
            cluster.start_again();
            wait_for(5);
        }
    });
    check_known(&*open(&uri).unwrap(), &attempts);
}

#[test]
fn a_killed_client_loses_nothing_that_it_was_told() {
    let Some(cluster) = Cluster::start() else { return };
    let mut attempts = Vec::new();
    for round in 0..times(2, 300) {
        let mut client = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::client", "--ignored", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{round} {}", cluster.uri()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(client.stdout.take().unwrap()).lines();
        let mut count = 0;
        while let Some(Ok(line)) = told.next() {
            // Some lines are the test harness's.
            if let Some((slot, position)) =
                line.strip_prefix("told ").and_then(|line| line.split_once(' '))
            {
                let slot = slot.parse().unwrap();
                let answer = Ok(position.parse().unwrap());
                attempts.push(Attempt { slot, token: format!("{round} {slot}"), answer });
                count += 1;
            }
            if count == 10 + round % 7 {
                client.kill().unwrap();
            }
        }
        client.wait().unwrap();
        assert!(count >= 10, "the client was told of {count} appends");
    }
    let told = attempts.len();
    assert_eq!(check(&*open(&cluster.uri()).unwrap(), &attempts), told);
}

/// The process that is killed, which reports each append that was acknowledged.
#[test]
#[ignore = "is run by a_killed_client_loses_nothing_that_it_was_told"]
fn client() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (round, uri) = role.split_once(' ').unwrap();
    let store = open(uri).unwrap();
    let first = round.parse::<u64>().unwrap() * 1_000_000;
    for slot in first..first + 1_000_000 {
        let attempt = claim(&*store, slot, &format!("{round} {slot}"), &patient());
        match attempt.answer {
            Ok(position) => println!("told {slot} {position}"),
            Err(error) => assert!(is_unknown(&error), "{error}"),
        }
    }
}
