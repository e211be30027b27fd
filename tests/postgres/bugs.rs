//! Bugs that are seeded in the library, each of which a test of this folder has to notice.

use std::process::Command;

use dcb::failpoints::{SeededBug, seed};

use crate::cluster::Cluster;
use crate::{cuts, notifications};

/// In the environment of a process in which a bug is seeded: its place in the list.
const ROLE: &str = "DCB_POSTGRES_BUG";

/// Each bug with the test that notices it.
const BUGS: [(SeededBug, fn()); 2] = [
    (SeededBug::RetryBlindly, cuts::an_append_whose_connection_is_cut_has_its_true_outcome),
    (SeededBug::NotifyTooEarly, notifications::an_event_is_visible_when_its_notification_comes),
];

#[test]
fn seeded_bugs_are_noticed() {
    // Without a server, no test fails.
    if Cluster::start().is_none() {
        return;
    }
    for (number, (bug, _)) in BUGS.iter().enumerate() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "bugs::seeded", "--ignored", "--nocapture"])
            .env(ROLE, number.to_string())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(text[0].contains("running 1 test"), "{text:?}");
        assert!(!output.status.success(), "{bug:?} was not noticed");
        let wrong = text[1].lines().skip_while(|line| !line.contains("panicked at")).nth(1);
        println!("{bug:?}: {}", wrong.expect("a test that panics"));
    }
}

/// The process in which a bug is seeded.
#[test]
#[ignore = "is run by seeded_bugs_are_noticed"]
fn seeded() {
    let Ok(number) = std::env::var(ROLE) else { return };
    let (bug, test) = BUGS[number.parse::<usize>().unwrap()];
    seed(bug);
    test();
}
