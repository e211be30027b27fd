//! Failover: of two servers under Patroni the leader is killed, and the other one takes over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dcb::{CallOptions, Position, Status, Store, Timeout};

use crate::cluster::{Cluster, versions};
use crate::ends::Ends;
use crate::kills::{check_known, race};
use crate::times;
use crate::work::{claim, events, open, patient, read};

/// Waits and reads until nothing more can come. Returns the positions that were delivered, and the
/// error that ended it, if any.
pub fn subscribe(store: &dyn Store, is_over: &AtomicBool) -> (Vec<i64>, Option<dcb::Error>) {
    let call = CallOptions { timeout: Timeout::After(Duration::from_millis(500)), cancel: None };
    let mut seen = Vec::new();
    loop {
        let ends = is_over.load(Ordering::SeqCst);
        let after = seen.last().copied().unwrap_or(0);
        match store.wait(Position::new(after).unwrap(), &call) {
            Ok(_) => {}
            Err(error) if error.status == Status::Timeout && ends => return (seen, None),
            Err(error) if error.status == Status::Timeout => continue,
            Err(error) => return (seen, Some(error)),
        }
        match read(store, &format!(r#"{{"after": {after}}}"#), &patient()) {
            Ok(document) => {
                let events = document["events"].as_array().unwrap();
                seen.extend(events.iter().map(|event| event["position"].as_i64().unwrap()));
            }
            Err(error) => return (seen, Some(error)),
        }
    }
}

/// Runs `check` with a pair of servers, and in the long tests with one of every version, unless
/// DCB_POSTGRES_BIN names the one.
fn with_pairs(mode: &str, check: impl Fn(Cluster)) {
    let mut folders =
        std::env::var("DCB_POSTGRES_BIN").map_or_else(|_| versions(), |one| vec![one]);
    if folders.is_empty() {
        // The script says that there is none.
        folders.push(String::new());
    }
    for folder in folders.iter().take(times(1, u64::MAX) as usize) {
        if let Some(pair) = Cluster::pair_of(folder, mode) {
            check(pair);
            println!("failover ({mode}) by {folder}");
        }
    }
}

#[test]
fn a_failover_to_a_synchronous_standby_loses_nothing() {
    with_pairs("sync", loses_nothing);
}

fn loses_nothing(mut pair: Cluster) {
    let uri = pair.uri();
    let subscriber = open(&uri).unwrap();
    let is_over = AtomicBool::new(false);
    let (attempts, (seen, error)) = std::thread::scope(|scope| {
        let following = scope.spawn(|| subscribe(&*subscriber, &is_over));
        let ends = Ends(&is_over);
        let attempts = race(&uri, |wait_for| {
            for _ in 0..times(1, 20) {
                wait_for(50);
                pair.kill_leader();
                wait_for(50);
                pair.rejoin();
            }
            wait_for(50);
        });
        drop(ends);
        (attempts, following.join().unwrap())
    });
    let store = open(&uri).unwrap();
    check_known(&*store, &attempts);
    assert_eq!(error, None);
    assert_eq!(seen, (1..=events(&*store).len() as i64).collect::<Vec<_>>());
}

#[test]
fn a_failover_that_loses_events_is_noticed() {
    with_pairs("async", is_noticed);
}

fn is_noticed(mut pair: Cluster) {
    let uri = pair.uri();
    for round in 0..times(1, 5) {
        let (store, subscriber) = (open(&uri).unwrap(), open(&uri).unwrap());
        let append = |store: &dyn Store, whose: &str, count: u64| {
            for slot in 0..count {
                let slot = (round * 3 + u64::from(whose == "lost")) * 100 + slot;
                claim(store, slot, &format!("{whose} {slot}"), &patient()).answer.unwrap();
            }
        };
        append(&*store, "kept", 5);
        let kept = events(&*store).len();
        pair.settle();
        pair.hold_replication();
        append(&*store, "lost", 5);
        assert_eq!(events(&*subscriber).len(), kept + 5);
        pair.kill_leader();

        let other = open(&uri).unwrap();
        assert_eq!(events(&*other).len(), kept, "nothing was lost");
        // A shorter history in one round, and one that is longer than what was seen in the next.
        for slot in 0..(round % 2) * 9 {
            let slot = (round * 3 + 2) * 100 + slot;
            claim(&*other, slot, &format!("other {slot}"), &patient()).answer.unwrap();
        }
        let errors = [
            claim(&*store, 1_000_000, "refused", &patient()).answer.unwrap_err(),
            store.head(&patient()).unwrap_err(),
            subscribe(&*subscriber, &AtomicBool::new(true)).1.expect("an error"),
        ];
        for error in errors {
            assert_eq!(error.status, Status::Corrupt, "{error}");
            assert!(error.message.contains("the history of the store was rewound"), "{error}");
        }
        pair.rejoin();
    }
}
