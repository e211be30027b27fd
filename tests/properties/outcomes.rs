//! The outcomes of appends whose calls end before their turn has come.

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use dcb::domain::{AppendCondition, AppendRequest, Query};
use dcb::{CallOptions, CancelToken, Error, Status, Store, Timeout};

use super::model::at;
use super::numbers::Numbers;
use super::{Subject, event, item, read_after};

const WRITERS: u64 = 8;
const APPENDS: u64 = 40;

/// An append of events whose ids begin with the name.
struct Tried {
    name: String,
    count: i64,
    outcome: Result<i64, Error>,
}

/// Appends with timeouts of a few milliseconds and none, and with cancels that `canceller` triggers
/// at the time that it is given.
fn write(
    store: &dyn Store,
    thread: u64,
    canceller: &mpsc::Sender<(Instant, CancelToken)>,
) -> Vec<Tried> {
    let mut numbers = Numbers(thread);
    let mut tried = Vec::new();
    for turn in 0..APPENDS {
        let name = format!("{thread}-{turn}");
        let count = [1, 1, 1, 2, 40][numbers.below(5) as usize];
        let tag = |numbers: &mut Numbers| format!("entity:{}", numbers.below(4));
        let own = tag(&mut numbers);
        let events = (0..count)
            .map(|number| event("A", &[&own], "1", Some(&format!("{name}-{number}"))))
            .collect();
        let mut conditions = Vec::new();
        if numbers.below(2) == 0 {
            let head = store.head(&CallOptions::default()).expect("the head");
            let query = Query::of(vec![item(&[], &[&tag(&mut numbers)])]).expect("a query");
            conditions.push(AppendCondition::new(query, head));
        }
        let timeout = match numbers.below(4) {
            0 => Timeout::Never,
            limit => Timeout::After(Duration::from_millis(limit * limit - 1)),
        };
        let cancel = (numbers.below(3) == 0).then(CancelToken::new);
        if let Some(cancel) = &cancel {
            let at = Instant::now() + Duration::from_micros(numbers.below(4_000));
            canceller.send((at, cancel.clone())).expect("the canceller");
        }
        let request = AppendRequest::new(events, conditions).expect("a request");
        let appended = store.append(request, &CallOptions { timeout, cancel });
        let outcome = appended.map(|appended| appended.last.get());
        tried.push(Tried { name, count, outcome });
    }
    tried
}

/// An append that succeeds is stored once. One that fails, because its time was over or it was
/// cancelled or its condition failed, is not.
#[test]
fn the_outcome_of_an_append_is_true_however_its_call_ends() {
    for subject in Subject::all() {
        let (sender, cancels) = mpsc::channel::<(Instant, CancelToken)>();
        let subject = &subject;
        let tried: Vec<Tried> = thread::scope(|scope| {
            scope.spawn(move || {
                for (at, cancel) in cancels {
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    cancel.trigger();
                }
            });
            let writer = |thread| {
                let sender = sender.clone();
                scope.spawn(move || write(subject.store(thread), thread, &sender))
            };
            let writers: Vec<_> = (0..WRITERS).map(writer).collect();
            drop(sender);
            writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect()
        });
        let (events, _) = read_after(&*subject.store, &Query::all(), 0).expect("a read");
        let mut stored: HashMap<&str, Vec<i64>> = HashMap::new();
        for (position, found) in (1..).zip(&events) {
            assert_eq!(found.position, position, "{}", subject.uri);
            let (name, _) = found.event.id().and_then(|id| id.rsplit_once('-')).expect("an id");
            stored.entry(name).or_default().push(position);
        }
        for Tried { name, count, outcome } in &tried {
            let expected = match outcome {
                Ok(last) => Some((last - count + 1..=*last).collect()),
                Err(error) => {
                    use Status::{Busy, Cancelled, ConditionFailed};
                    let is_expected = [Busy, Cancelled, ConditionFailed].contains(&error.status);
                    assert!(is_expected, "{}: {error}", subject.uri);
                    None
                }
            };
            assert_eq!(stored.remove(&**name), expected, "{} {name}: {outcome:?}", subject.uri);
        }
        assert!(stored.is_empty(), "{}", subject.uri);
        assert!(tried.iter().any(|own| own.outcome.is_ok()), "{}: none succeeds", subject.uri);
        // What was stored is found where a later append may look.
        let after = events.len() as i64;
        assert_eq!(subject.store.head(&CallOptions::default()), Ok(at(after)));
    }
}
