//! Notifications: what they announce is visible when they come.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use dcb::{CallOptions, Position, Status};

use crate::cluster::{Cluster, versions};
use crate::work::{claim, events, open, patient};

/// Makes an append take a moment between its beginning and its commit.
const SLOWER: (&str, &str) = ("v_next := v_head;", "PERFORM pg_sleep(0.01); v_next := v_head;");

#[test]
pub fn an_event_is_visible_when_its_notification_comes() {
    const APPENDS: u64 = 40;
    let Some(cluster) = Cluster::start() else { return };
    let store = open(&cluster.uri()).unwrap();
    cluster.change("append", &[SLOWER]);
    let mut psql = cluster
        .psql("postgres")
        .args(["-At", "-c", "listen dcb", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (psql.stdin.take().unwrap(), psql.stdout.take().unwrap());
    let mut lines = BufReader::new(output).lines().map(Result::unwrap);
    let mut announced = 0;
    // It prints the notifications that have come by the end of a query after the answer.
    let mut ask = || {
        writeln!(input, "select coalesce(max(position), 0) from dcb.events;").unwrap();
        loop {
            let line = lines.next().expect("psql answers");
            let Some((_, payload)) = line.split_once("with payload \"") else {
                let head: u64 = line.parse().unwrap();
                assert!(head >= announced, "{announced} was announced, but the head is {head}");
                return (head, announced);
            };
            announced = payload.split_once('"').unwrap().0.parse().unwrap();
        }
    };
    assert_eq!(ask(), (0, 0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for slot in 0..APPENDS {
                claim(&*store, slot, "", &CallOptions::default()).answer.unwrap();
            }
        });
        while ask() != (APPENDS, APPENDS) {}
    });
    drop(input);
    psql.wait().unwrap();
}

/// Has a server's queue of notifications filled by a session that listens and stays in a transaction.
/// The server refuses every commit that notifies.
#[test]
fn a_full_queue_of_notifications_refuses_no_append() {
    let newest = versions().into_iter().find(|folder| {
        let postgres = Command::new(Path::new(folder).join("postgres")).arg("-V").output().unwrap();
        let version = String::from_utf8(postgres.stdout).unwrap();
        let number = version.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
        number.is_some_and(|number| number.parse::<u32>().unwrap() >= 17)
    });
    let Some(folder) = newest else {
        eprintln!("SKIPPED: THE QUEUE OF A SERVER OLDER THAN 17 HAS 8 GB");
        return;
    };
    let small = ["max_notify_queue_pages=64"];
    let Some(cluster) = Cluster::of_with(&folder, &small) else { return };
    let store = open(&cluster.uri()).unwrap();
    let other = open(&cluster.uri()).unwrap();
    let mut listener = cluster
        .psql("postgres")
        .args(["-At", "-c", "listen other", "-c", "begin", "-c", "select 'begun'", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = listener.stdin.take().unwrap();
    let mut line = String::new();
    BufReader::new(listener.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    let fill = "select pg_notify('other', repeat('x', 7900) || n) from generate_series(1, 1) n";
    let notify = || cluster.psql("postgres").args(["-c", fill]).output().unwrap().status.success();
    while notify() {}

    assert_eq!(claim(&*store, 0, "first", &patient()).answer, Ok(1));
    assert_eq!(claim(&*store, 0, "refused", &patient()).answer.unwrap_err().position.get(), 1);
    assert_eq!(claim(&*other, 1, "second", &patient()).answer, Ok(2));
    assert_eq!(other.wait(Position::new(1).unwrap(), &patient()).unwrap().get(), 2);

    // A store whose function is older has nothing to fall back to, and says what to do.
    cluster.change("append", &[("'dcb.notify'", "'dcb.no_such_setting'")]);
    let error = claim(&*store, 2, "refused", &patient()).answer.unwrap_err();
    assert_eq!(error.status, Status::Full, "{error}");
    assert!(error.message.contains("end the session that listens"), "{error}");
    drop(input);
    listener.wait().unwrap();
    while claim(&*store, 2, "third", &patient()).answer.is_err() {}
    assert_eq!(events(&*other).len(), 3);
}

/// The same where the queue cannot be filled: any limit that is reached is taken for it at first.
#[test]
fn an_append_that_cannot_notify_is_stored_all_the_same() {
    let Some(cluster) = Cluster::start() else { return };
    let store = open(&cluster.uri()).unwrap();
    let full = "RAISE 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000'; PERFORM pg_notify(";
    cluster.change("append", &[("PERFORM pg_notify(", full)]);
    assert_eq!(claim(&*store, 0, "first", &patient()).answer, Ok(1));
    assert_eq!(claim(&*store, 0, "refused", &patient()).answer.unwrap_err().position.get(), 1);
    assert_eq!(events(&*store).len(), 1);
}

/// A session that listens is of use only to who has it alone. Behind a pooler, others would get it.
#[test]
fn no_session_listens_behind_a_pooler() {
    for behind_pooler in [false, true] {
        let cluster = if behind_pooler { Cluster::behind_pooler() } else { Cluster::start() };
        let Some(mut cluster) = cluster else { return };
        cluster.sql("alter role dcb set log_statement = 'all'");
        let [store, other] = [(), ()].map(|()| open(&cluster.uri()).unwrap());
        std::thread::scope(|scope| {
            for after in 0..3 {
                let waiting = scope.spawn({
                    let store = &store;
                    move || store.wait(Position::new(after).unwrap(), &patient()).map(Position::get)
                });
                claim(&*other, after as u64, "", &patient()).answer.unwrap();
                assert_eq!(waiting.join().unwrap(), Ok(after + 1));
            }
        });
        let log = std::fs::read_to_string(cluster.folder().join("log")).unwrap();
        assert!(log.contains("append("), "the statements are in the log");
        assert_eq!(log.contains("LISTEN"), !behind_pooler);
    }
}
