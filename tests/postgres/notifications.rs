//! Notifications: what they announce is visible when they come.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use dcb::CallOptions;

use crate::cluster::Cluster;
use crate::work::{claim, open};

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
