//! Histories of many threads on one store, replayed sequentially on the model.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dcb::domain::{AppendCondition, AppendRequest, Event, Query};
use dcb::{CallOptions, Error, Status, Store, Timeout};

use super::ends::Ends;
use super::model::{Model, at};
use super::numbers::Numbers;
use super::{Stored, Subject, event, find, item, read_after};

const WRITERS: u64 = 4;
const APPENDS: u64 = 60;
const ENTITIES: u64 = 3;

fn entity(numbers: &mut Numbers) -> String {
    format!("entity:{}", numbers.below(ENTITIES))
}

/// An append and its outcome, as recorded by a thread.
struct Appended {
    events: Vec<Event>,
    conditions: Vec<AppendCondition>,
    outcome: Result<i64, Error>,
}

/// A read and its result, as recorded by a thread.
struct Seen {
    query: Query,
    after: i64,
    events: Vec<Stored>,
    position: i64,
}

fn tagged(tag: &str) -> Query {
    Query::of(vec![item(&[], &[tag])]).expect("a query")
}

fn append(
    store: &dyn Store,
    events: &[Event],
    conditions: &[AppendCondition],
) -> Result<i64, Error> {
    let request = AppendRequest::new(events.to_vec(), conditions.to_vec()).expect("a request");
    store.append(request, &CallOptions::default()).map(|appended| appended.last.get())
}

/// Appends one to three events at a time. Most appends have a condition, with the position of a
/// read or an older one. Those with ids are repeated.
fn write(store: &dyn Store, thread: u64) -> Vec<Appended> {
    let mut numbers = Numbers(thread);
    let mut history = Vec::new();
    for turn in 0..APPENDS {
        let with_ids = numbers.below(3) == 0;
        let events: Vec<_> = (0..=numbers.below(3))
            .map(|event_of_turn| {
                let name = format!("{thread}-{turn}-{event_of_turn}");
                let kind = ["A", "B"][numbers.below(2) as usize];
                let tags = [entity(&mut numbers), format!("turn:{name}")];
                let id = with_ids.then_some(name.as_str());
                event(kind, &[&tags[0], &tags[1]], &format!("\"{name}\""), id)
            })
            .collect();
        let mut conditions = Vec::new();
        for _ in 0..numbers.below(3) {
            let query = tagged(&entity(&mut numbers));
            let (_, position) = read_after(store, &query, 0).expect("a read");
            // Usually the position of the read, as a caller would use it; sometimes an older one,
            // for which the condition is likely to fail.
            let back = numbers.below(4).saturating_sub(1) as i64;
            let after = (position - back).max(0);
            conditions.push(AppendCondition::new(query, at(after)));
        }
        for _ in 0..=u64::from(with_ids) {
            let outcome = append(store, &events, &conditions);
            history.push(Appended {
                events: events.clone(),
                conditions: conditions.clone(),
                outcome,
            });
        }
    }
    history
}

/// Reads random entities until `ended` is set.
fn read_repeatedly(store: &dyn Store, ended: &AtomicBool) -> Vec<Seen> {
    let mut numbers = Numbers(1_000);
    let mut seen = Vec::new();
    while !ended.load(Ordering::Acquire) {
        let (query, after) = (tagged(&entity(&mut numbers)), numbers.below(50) as i64);
        let (events, position) = read_after(store, &query, after).expect("a read");
        if let Some((last, id)) = events.last().and_then(|last| Some((last, last.event.id()?))) {
            // What a read has seen is found.
            assert_eq!(find(store, id).as_ref(), Ok(&Some(last.clone())));
        }
        seen.push(Seen { query, after, events, position });
        thread::sleep(Duration::from_millis(1));
    }
    seen
}

/// Follows the store from its start, by waiting and reading in a loop, until a wait times out after
/// `ended` was set. Returns the positions of the events in the order of their delivery.
fn follow(store: &dyn Store, ended: &AtomicBool) -> Vec<i64> {
    let call = CallOptions { timeout: Timeout::After(Duration::from_millis(100)), cancel: None };
    let (mut delivered, mut after) = (Vec::new(), 0);
    loop {
        let ending = ended.load(Ordering::Acquire);
        match store.wait(at(after), &call) {
            Ok(_) => {
                let (events, position) = read_after(store, &Query::all(), after).expect("a read");
                delivered.extend(events.iter().map(|event| event.position));
                after = position;
            }
            Err(error) if error.status == Status::Timeout && ending => return delivered,
            Err(error) => assert_eq!(error.status, Status::Timeout),
        }
    }
}

#[test]
fn a_concurrent_history_is_linearizable() {
    for subject in Subject::all() {
        let (subject, ended) = (&subject, AtomicBool::new(false));
        let (history, seen, followed) = thread::scope(|scope| {
            let ends = Ends(&ended);
            let reader = scope.spawn(|| read_repeatedly(subject.store(1), &ended));
            let follower = scope.spawn(|| follow(subject.store(0), &ended));
            let writer = |thread| scope.spawn(move || write(subject.store(thread), thread));
            let writers: Vec<_> = (0..WRITERS).map(writer).collect();
            let history = writers.into_iter().flat_map(|writer| writer.join().expect("a writer"));
            let history: Vec<_> = history.collect();
            drop(ends);
            (history, reader.join().expect("a reader"), follower.join().expect("a follower"))
        });
        let model = replay(subject, &history);
        for seen in seen {
            let expected = model.between(&seen.query, seen.after, seen.position);
            assert_eq!(seen.events, expected, "{}: a read is a snapshot", subject.uri);
        }
        assert_eq!(followed, (1..=model.head()).collect::<Vec<_>>(), "{}", subject.uri);
    }
}

/// Replays the accepted appends on a model in the order of their positions, and checks that each is
/// accepted there too.
fn replay(subject: &Subject, history: &[Appended]) -> Model {
    let mut accepted: Vec<_> = history
        .iter()
        .filter_map(|append| Some((*append.outcome.as_ref().ok()?, append)))
        .collect();
    accepted.sort_by_key(|(last, _)| *last);
    let mut model = Model::default();
    for (last, recorded) in accepted {
        // The model finds a repeated append stored. A gap or an overlap makes its result differ.
        let replayed =
            model.append(&recorded.events, &recorded.conditions).map(|appended| appended.last);
        assert_eq!(replayed, Ok(at(last)), "{}: {:?}", subject.uri, recorded.conditions);
    }
    assert_eq!(subject.store.head(&CallOptions::default()), Ok(at(model.head())));
    let (stored, _) = read_after(&*subject.store, &Query::all(), 0).expect("a read");
    assert_eq!(stored, model.between(&Query::all(), 0, i64::MAX), "{}", subject.uri);
    let mut rejected = 0;
    for append in history {
        if let Err(error) = &append.outcome {
            rejected += 1;
            assert_eq!(error.status, Status::ConditionFailed, "{}: {error}", subject.uri);
            // Later events have higher positions, so the lowest conflict stays the same.
            let failure = model.first_failure(&append.conditions).map(|(position, _)| position);
            assert_eq!(failure.map(at), Some(error.position), "{}", subject.uri);
        }
    }
    assert!(rejected > 0 && model.head() > 0, "{}: both outcomes must occur", subject.uri);
    model
}

#[test]
fn no_two_decisions_are_accepted_on_the_same_state() {
    for subject in Subject::all() {
        thread::scope(|scope| {
            for thread in 0..WRITERS {
                let store = subject.store(thread);
                scope.spawn(move || {
                    let mut numbers = Numbers(thread);
                    for _ in 0..APPENDS {
                        count_up(store, &entity(&mut numbers));
                    }
                });
            }
        });
        let mut total = 0;
        for entity in 0..ENTITIES {
            let query = tagged(&format!("entity:{entity}"));
            let (events, _) = read_after(&*subject.store, &query, 0).expect("a read");
            let counted: Vec<_> = events.iter().map(|stored| stored.event.data()).collect();
            let expected: Vec<_> = (1..=events.len()).map(|count| count.to_string()).collect();
            assert_eq!(counted, expected, "{}", subject.uri);
            total += events.len() as u64;
        }
        assert_eq!(total, WRITERS * APPENDS);
    }
}

/// Reads the count of an entity and appends the next number, until no other thread came in between.
fn count_up(store: &dyn Store, entity: &str) {
    let query = tagged(entity);
    loop {
        let (events, position) = read_after(store, &query, 0).expect("a read");
        let next = event("Counted", &[entity], &(events.len() + 1).to_string(), None);
        let condition = AppendCondition::new(query.clone(), at(position));
        match append(store, &[next], &[condition]) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.status, Status::ConditionFailed),
        }
    }
}
