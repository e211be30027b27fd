//! A history that was rewound: the server is restored from a backup, and others go on from there.

use std::sync::Arc;

use dcb::{Error, EventId, Position, Status, Store};

use crate::cluster::Cluster;
use crate::times;
use crate::work::{claim, events, open, patient, read};

/// Claims a slot of its own for each of the numbers.
fn append(store: &dyn Store, numbers: std::ops::Range<u64>, whose: &str) {
    for number in numbers {
        claim(store, number, &format!("{whose} {number}"), &patient()).answer.unwrap();
    }
}

/// Makes three stores know five events, each in its own way: by an append, by a read, by a head.
/// Then restores a backup in which there are three, and appends `more`.
fn rewind(more: u64) -> Option<(Cluster, [Arc<dyn Store>; 3])> {
    let mut cluster = Cluster::start()?;
    let uri = cluster.uri();
    let stores = [open(&uri).unwrap(), open(&uri).unwrap(), open(&uri).unwrap()];
    append(&*stores[0], 0..3, "before");
    cluster.back_up();
    append(&*stores[0], 3..5, "lost");
    assert_eq!(events(&*stores[1]).len(), 5);
    assert_eq!(stores[2].head(&patient()).unwrap().get(), 5);

    cluster.restore();
    let other = open(&uri).unwrap();
    append(&*other, 3..3 + more, "other");
    assert_eq!(events(&*other).len() as u64, 3 + more);
    Some((cluster, stores))
}

fn expect_rewound<T: std::fmt::Debug>(answer: Result<T, Error>, why: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.status, Status::Corrupt, "{error}");
    assert!(error.message.contains("the history of the store was rewound"), "{error}");
    assert!(error.message.contains(why), "{error}");
}

/// Checks that each of the stores refuses to go on, in whichever way it is asked.
fn check_all(stores: &[Arc<dyn Store>], why: &str) {
    let five = Position::new(5).unwrap();
    for store in stores {
        expect_rewound(store.wait(five, &patient()), why);
        expect_rewound(read(&**store, r#"{"after": 5}"#, &patient()), why);
        match claim(&**store, 100, "refused", &patient()).answer {
            // It was sent over the connection to the server that is gone, before that was noticed.
            Err(error) if error.status == Status::Unavailable => {
                assert!(error.message.contains(why), "{error}");
            }
            answer => expect_rewound(answer, why),
        }
        expect_rewound(claim(&**store, 100, "refused", &patient()).answer, why);
        expect_rewound(store.head(&patient()), why);
    }
}

#[test]
fn an_open_store_does_not_go_on_in_a_shorter_history() {
    let Some((cluster, stores)) = rewind(1) else { return };
    check_all(&stores, "there is no event at position 5 any more");
    assert_eq!(events(&*open(&cluster.uri()).unwrap()).len(), 4);
}

#[test]
fn an_open_store_does_not_go_on_in_another_history() {
    for more in [2, 4] {
        let Some((cluster, stores)) = rewind(more) else { return };
        check_all(&stores, "there is another event at position 5");
        assert_eq!(events(&*open(&cluster.uri()).unwrap()).len() as u64, 3 + more);
    }
}

/// A pooler keeps the connection of its client while the server is replaced. So a condition would be
/// judged in a history that the store does not know, and a reader would pass over the events that took
/// the positions of those that it has read, unless each append and each page looked itself.
#[test]
fn a_pooler_hides_no_rewound_history() {
    for more in [4, 1].into_iter().take(times(1, 2) as usize) {
        let Some(mut cluster) = Cluster::behind_pooler() else { return };
        let stores: Vec<_> = (0..4).map(|_| open(&cluster.uri()).unwrap()).collect();
        append(&*stores[0], 0..3, "before");
        cluster.back_up();
        append(&*stores[0], 3..5, "lost");
        stores[1..].iter().for_each(|store| assert_eq!(events(&**store).len(), 5));
        cluster.restore();
        let other = open(&cluster.uri()).unwrap();
        append(&*other, 3..3 + more, "other");

        let refused = claim(&*stores[0], 100, "refused", &patient()).answer;
        expect_rewound(refused, "there is no event at position 5 any more, or another one");
        let why = if more < 2 { "no event at position 5" } else { "another event at position 5" };
        expect_rewound(read(&*stores[1], r#"{"after": 5}"#, &patient()), why);
        expect_rewound(read(&*stores[2], r#"{"backwards": true}"#, &patient()), why);
        expect_rewound(stores[3].find(EventId::new("none").unwrap(), &patient()), why);
        assert_eq!(events(&*other).len() as u64, 3 + more);
        append(&*open(&cluster.uri()).unwrap(), 3 + more..4 + more, "new");
    }
}

/// After a restart that has lost nothing, a store goes on.
#[test]
fn an_open_store_goes_on_where_nothing_is_lost() {
    let Some(mut cluster) = Cluster::start() else { return };
    let store = open(&cluster.uri()).unwrap();
    append(&*store, 0..3, "before");
    cluster.back_up();
    cluster.restore();
    append(&*store, 3..5, "after");
    assert_eq!(events(&*store).len(), 5);
}
