use std::thread;

use super::*;
use crate::domain::{
    AppendCondition, Direction, Event, EventBuilder, EventId, EventType, EventView, Query,
    QueryItem, ReadRequest, Tag,
};
use crate::position::at;
use crate::{CancelToken, Status, Timeout};

const ALL: BatchLimits = BatchLimits { max_events: usize::MAX, max_bytes: usize::MAX };

fn event(event_type: &str, tags: &[&str], data: &str, id: Option<&str>) -> Event {
    let mut event = EventBuilder::new(EventType::new(event_type).unwrap());
    for tag in tags {
        event.tag(Tag::new(tag).unwrap()).unwrap();
    }
    event.data(data).unwrap();
    if let Some(id) = id {
        event.id(EventId::new(id).unwrap());
    }
    event.build()
}

fn query(types: &[&str], tags: &[&str]) -> Query {
    let mut item = QueryItem::new();
    types.iter().for_each(|name| item.or_type(EventType::new(name).unwrap()).unwrap());
    tags.iter().for_each(|name| item.and_tag(Tag::new(name).unwrap()).unwrap());
    Query::of(vec![item]).unwrap()
}

fn append(store: &MemoryStore, events: Vec<Event>, conditions: &[(Query, i64)]) -> Result<i64> {
    let conditions = conditions
        .iter()
        .map(|(query, after)| AppendCondition::new(query.clone(), at(*after)))
        .collect();
    let request = AppendRequest::new(events, conditions)?;
    store.append(request, &CallOptions::default()).map(|appended| appended.last.get())
}

fn reading(query: Query) -> ReadState {
    ReadState::new(ReadRequest::new(query, at(0), None, None, Direction::Forward))
}

/// Reads one batch; returns the positions of its events.
fn batch(store: &MemoryStore, reading: &mut ReadState, batch: BatchLimits) -> Result<Vec<i64>> {
    let mut positions = Vec::new();
    let mut sink = |event: &EventView<'_>| {
        positions.push(event.position.get());
        Ok(())
    };
    store.read(reading, batch, &CallOptions::default(), &mut sink)?;
    Ok(positions)
}

fn filled(events: usize) -> MemoryStore {
    let store = MemoryStore::new();
    for _ in 0..events {
        append(&store, vec![event("A", &["x"], "1", None)], &[]).unwrap();
    }
    store
}

#[test]
fn an_append_returns_the_last_position() {
    let store = MemoryStore::new();
    assert_eq!(store.head(&CallOptions::default()), Ok(at(0)));
    let two = vec![event("A", &["x"], "1", None), event("B", &[], "2", None)];
    assert_eq!(append(&store, two, &[]), Ok(2));
    assert_eq!(append(&store, vec![event("A", &[], "3", None)], &[]), Ok(3));
    assert_eq!(store.head(&CallOptions::default()), Ok(at(3)));
    assert_eq!(store.count(&CallOptions::default()), Ok(3));
}

#[test]
fn a_failed_condition_reports_the_lowest_position() {
    let store = MemoryStore::new();
    for (event_type, tag) in [("A", "x"), ("B", "y"), ("A", "y"), ("B", "x")] {
        append(&store, vec![event(event_type, &[tag], "1", None)], &[]).unwrap();
    }
    let try_with = |conditions: &[(Query, i64)]| {
        let outcome = append(&store, vec![event("C", &["x"], "1", None)], conditions);
        outcome.map_err(|error| (error.status, error.position.get()))
    };
    let failed = |position| Err((Status::ConditionFailed, position));
    assert_eq!(try_with(&[(query(&["A"], &["x"]), 0)]), failed(1));
    assert_eq!(try_with(&[(query(&[], &["x"]), 1)]), failed(4));
    assert_eq!(try_with(&[(Query::all(), 3)]), failed(4));
    assert_eq!(try_with(&[(query(&["B"], &["x"]), 0), (query(&["B"], &["y"]), 0)]), failed(2));
    assert_eq!(store.head(&CallOptions::default()), Ok(at(4)));
    // Each condition is checked by itself. No event matches type A and tag y after 3, or type B and
    // tag x after 4, although the types and tags of both together match the event at 4.
    let both = [(query(&["A"], &["y"]), 3), (query(&["B"], &["x"]), 4)];
    assert_eq!(try_with(&both), Ok(5));
    assert_eq!(try_with(&[(Query::all(), 99), (Query::all(), i64::MAX)]), Ok(6));
}

#[test]
fn a_condition_does_not_see_its_own_append() {
    let store = MemoryStore::new();
    let once = [(query(&["A"], &[]), 0)];
    let two = || vec![event("A", &[], "1", None), event("A", &[], "2", None)];
    assert_eq!(append(&store, two(), &once), Ok(2));
    assert_eq!(append(&store, two(), &once), Err(Error::condition_failed(at(1))));
}

#[test]
fn a_repeated_append_is_stored_once() {
    let store = MemoryStore::new();
    let once = [(query(&["A"], &[]), 0)];
    let pair = || vec![event("A", &["x"], "1", Some("a")), event("A", &[], "2", Some("b"))];
    assert_eq!(append(&store, pair(), &once), Ok(2));
    append(&store, vec![event("B", &[], "3", None)], &[]).unwrap();
    // The ids are checked before the condition, which would fail now.
    assert_eq!(append(&store, pair(), &once), Ok(2));
    assert_eq!(append(&store, pair().split_off(1), &once), Ok(2));
    let changed = vec![event("A", &["x"], " 1", Some("a"))];
    let error = append(&store, changed, &once).unwrap_err();
    assert_eq!((error.status, error.position), (Status::DuplicateId, at(1)));
    assert_eq!(store.head(&CallOptions::default()), Ok(at(3)));
}

#[test]
fn a_read_is_a_snapshot() {
    let store = filled(3);
    let mut all = reading(Query::all());
    assert_eq!(batch(&store, &mut all, BatchLimits { max_events: 2, ..ALL }), Ok(vec![1, 2]));
    append(&store, vec![event("A", &["x"], "1", None)], &[]).unwrap();
    assert_eq!(batch(&store, &mut all, ALL), Ok(vec![3]));
    assert_eq!(batch(&store, &mut all, ALL), Ok(vec![]));
    assert_eq!((all.span(), all.position()), (None, at(3)));
}

#[test]
fn a_batch_is_limited_in_events_and_bytes() {
    let store = filled(600);
    let mut tagged = reading(query(&[], &["x"]));
    // Each event has three bytes: one each for its type, its tag and its data.
    assert_eq!(batch(&store, &mut tagged, BatchLimits { max_bytes: 4, ..ALL }), Ok(vec![1, 2]));
    assert_eq!(batch(&store, &mut tagged, BatchLimits { max_bytes: 0, ..ALL }), Ok(vec![3]));
    assert_eq!(batch(&store, &mut tagged, BatchLimits { max_events: 1, ..ALL }), Ok(vec![4]));
    assert_eq!(batch(&store, &mut tagged, ALL), Ok((5..=600).collect()));
}

#[test]
fn a_read_resumes_at_the_event_its_sink_rejected() {
    let store = filled(5);
    let mut all = reading(Query::all());
    let mut taken = 0;
    let mut sink = |_: &EventView<'_>| {
        taken += 1;
        if taken == 3 { Err(Error::invalid("enough")) } else { Ok(()) }
    };
    assert!(store.read(&mut all, ALL, &CallOptions::default(), &mut sink).is_err());
    assert_eq!(batch(&store, &mut all, ALL), Ok(vec![3, 4, 5]));
}

#[test]
fn events_have_the_timestamp_of_their_append() {
    let store = MemoryStore::new();
    let before = now_us();
    append(&store, vec![event("A", &[], "1", None)], &[]).unwrap();
    let after = now_us();
    let mut timestamps = Vec::new();
    let mut sink = |event: &EventView<'_>| {
        timestamps.push(event.timestamp_us);
        Ok(())
    };
    store.read(&mut reading(Query::all()), ALL, &CallOptions::default(), &mut sink).unwrap();
    assert!(timestamps.len() == 1 && (before..=after).contains(&timestamps[0]), "{timestamps:?}");
}

#[test]
fn a_wait_is_woken_by_an_append() {
    let store = filled(1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| store.wait(at(1), &CallOptions::default()));
        append(&store, vec![event("A", &[], "1", None)], &[]).unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(at(2)));
    });
    let at_once = CallOptions { timeout: Timeout::After(std::time::Duration::ZERO), cancel: None };
    assert_eq!(store.wait(at(1), &at_once), Ok(at(2)));
    assert_eq!(store.wait(at(2), &at_once).unwrap_err().status, Status::Timeout);
}

#[test]
fn a_triggered_token_cancels_every_call_that_has_it() {
    let store = filled(1);
    let cancel = CancelToken::new();
    let call = CallOptions { cancel: Some(cancel.clone()), ..CallOptions::default() };
    thread::scope(|scope| {
        let waiter = scope.spawn(|| store.wait(at(1), &call));
        cancel.trigger();
        assert_eq!(waiter.join().unwrap().unwrap_err().status, Status::Cancelled);
    });
    let request = || AppendRequest::new(vec![event("A", &[], "1", None)], vec![]).unwrap();
    assert_eq!(store.append(request(), &call).unwrap_err().status, Status::Cancelled);
    assert_eq!(store.head(&call).unwrap_err().status, Status::Cancelled);
    let read = store.read(&mut reading(Query::all()), ALL, &call, &mut |_: &EventView<'_>| Ok(()));
    assert_eq!(read.unwrap_err().status, Status::Cancelled);
    assert_eq!(store.append(request(), &CallOptions::default()), Ok(Appended::new(at(2))));
}

#[test]
fn every_call_on_a_closed_store_reports_closed() {
    let store = filled(1);
    let mut begun = reading(Query::all());
    batch(&store, &mut begun, BatchLimits { max_events: 1, ..ALL }).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| store.wait(at(1), &CallOptions::default()));
        store.close();
        assert_eq!(waiter.join().unwrap().unwrap_err().status, Status::Closed);
    });
    store.close();
    assert_eq!(store.head(&CallOptions::default()).unwrap_err().status, Status::Closed);
    assert_eq!(batch(&store, &mut begun, ALL).unwrap_err().status, Status::Closed);
    let append = append(&store, vec![event("A", &[], "1", None)], &[]);
    assert_eq!(append.unwrap_err().status, Status::Closed);
}

#[test]
fn calls_after_a_panic_under_the_lock_report_internal() {
    let store = filled(1);
    thread::scope(|scope| {
        let panicking = scope.spawn(|| {
            let _index = store.index.write().unwrap();
            panic!("on purpose");
        });
        assert!(panicking.join().is_err());
    });
    assert_eq!(store.head(&CallOptions::default()).unwrap_err().status, Status::Internal);
    let append = append(&store, vec![event("A", &[], "1", None)], &[]);
    assert_eq!(append.unwrap_err().status, Status::Internal);
    store.close();
    assert_eq!(store.head(&CallOptions::default()).unwrap_err().status, Status::Closed);
}
