//! Random sequences of operations on each store and on the model.

use std::time::Duration;

use dcb::domain::{
    AppendCondition, AppendRequest, Event, EventId, EventView, Query, ReadRequest, ReadState,
};
use dcb::store::BatchLimits;
use dcb::{CallOptions, CancelToken, Direction, Status, Timeout};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::model::{Asked, Model, at};
use super::{Stored, Subject, event, find, item, keep, read};

const TYPES: [&str; 3] = ["A", "B", "C"];
const TAGS: [&str; 5] = ["x", "y:1", "y:2", "z:é", "A"];
const DATA: [&str; 3] = ["1", " {\"a\" : 1e400, \"a\":2 }", "null"];
const IDS: [&str; 6] = ["i0", "i1", "i2", "i3", "i4", "i5"];

#[derive(Debug, Clone)]
enum Operation {
    Append {
        events: Vec<Event>,
        conditions: Vec<AppendCondition>,
    },
    /// Repeats one of the appends before.
    Repeat(Index),
    Read {
        asked: Asked,
        batch: BatchLimits,
    },
    /// Begins a read, which goes on later.
    Begin {
        asked: Asked,
        batch: BatchLimits,
    },
    /// Reads the next batch of one of those reads.
    Continue(Index),
    Find(&'static str),
    /// Waits, without any time, for an event above a position.
    Wait(i64),
    /// Makes each call with a cancel that was triggered.
    Cancelled,
    Reopen,
}

/// A read that goes on while events are appended.
struct Begun {
    reading: ReadState,
    batch: BatchLimits,
    /// What it has to return, of the snapshot with which it began.
    expected: (Vec<Stored>, i64),
    found: Vec<Stored>,
}

fn query() -> impl Strategy<Value = Query> {
    let item = (prop::collection::vec(select(&TYPES), 0..3), subsequence(&TAGS, 0..3))
        .prop_map(|(types, tags)| item(&types, &tags));
    prop_oneof![
        1 => Just(Query::all()),
        5 => prop::collection::vec(item, 1..4).prop_map(|items| Query::of(items).expect("items")),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let ids = prop_oneof![
        3 => Just(Vec::new()),
        1 => subsequence(&IDS, 1..4).prop_shuffle(),
    ];
    let parts = (select(&TYPES), prop::collection::vec(select(&TAGS), 0..4), select(&DATA));
    (ids, prop::collection::vec(parts, 1..5)).prop_map(|(ids, parts)| {
        let count = if ids.is_empty() { parts.len() } else { ids.len() };
        let ids = ids.into_iter().map(Some).chain(std::iter::repeat(None));
        let with_ids = parts.iter().cycle().zip(ids).take(count);
        with_ids.map(|((name, tags, data), id)| event(name, tags, data, id)).collect()
    })
}

fn position() -> impl Strategy<Value = i64> {
    prop_oneof![2 => Just(0), 8 => 0..40i64, 1 => Just(i64::MAX)]
}

fn read_request() -> impl Strategy<Value = (Asked, BatchLimits)> {
    let bounds = (position(), prop::option::of(0..40i64), prop::option::of(0..6u64));
    let batch = (select(vec![1, 2, 7, 1_000]), select(vec![1, 40, 1 << 20]))
        .prop_map(|(max_events, max_bytes)| BatchLimits { max_events, max_bytes });
    (query(), bounds, any::<bool>(), batch).prop_map(
        |(query, (after, before, limit), backwards, batch)| {
            (Asked { query, after, before, limit, backwards }, batch)
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let condition =
        (query(), position()).prop_map(|(query, after)| AppendCondition::new(query, at(after)));
    let append = (events(), prop::collection::vec(condition, 0..3))
        .prop_map(|(events, conditions)| Operation::Append { events, conditions });
    prop_oneof![
        10 => append,
        2 => any::<Index>().prop_map(Operation::Repeat),
        8 => read_request().prop_map(|(asked, batch)| Operation::Read { asked, batch }),
        4 => read_request().prop_map(|(asked, batch)| Operation::Begin { asked, batch }),
        8 => any::<Index>().prop_map(Operation::Continue),
        1 => position().prop_map(Operation::Wait),
        1 => Just(Operation::Cancelled),
        3 => select(&IDS).prop_map(Operation::Find),
        1 => Just(Operation::Reopen),
    ]
}

/// Runs the operations on a store and on a model, and compares the results.
fn play(subject: &mut Subject, operations: &[Operation]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut requests: Vec<(&[Event], &[AppendCondition])> = Vec::new();
    let mut begun: Vec<Begun> = Vec::new();
    for (turn, operation) in (0..).zip(operations) {
        match operation {
            Operation::Append { events, conditions } => {
                requests.push((events, conditions));
                append(subject, turn, &mut model, (events, conditions))?;
            }
            Operation::Repeat(index) if !requests.is_empty() => {
                append(subject, turn, &mut model, *index.get(&requests))?;
            }
            Operation::Repeat(_) => {}
            Operation::Read { asked, batch } => {
                let outcome = read(subject.store(turn), request_of(asked), *batch);
                prop_assert_eq!(outcome, Ok(model.read(asked)), "{} {:?}", subject.uri, asked);
            }
            Operation::Find(id) => {
                let outcome = find(subject.store(turn), id);
                prop_assert_eq!(outcome, Ok(model.find(id)), "{} {}", subject.uri, id);
            }
            Operation::Begin { asked, batch } => {
                let reading = ReadState::new(request_of(asked));
                let expected = model.read(asked);
                let mut own = Begun { reading, batch: *batch, expected, found: Vec::new() };
                go_on(subject, turn, &mut own)?;
                begun.push(own);
            }
            Operation::Continue(index) if !begun.is_empty() => {
                go_on(subject, turn, index.get_mut(&mut begun))?;
            }
            Operation::Continue(_) => {}
            Operation::Wait(after) => {
                let call = CallOptions { timeout: Timeout::After(Duration::ZERO), cancel: None };
                let waited = subject.store(turn).wait(at(*after), &call);
                let expected = match model.head() {
                    head if head > *after => Ok(at(head)),
                    _ => Err(Status::Timeout),
                };
                let waited = waited.map_err(|error| error.status);
                prop_assert_eq!(waited, expected, "{} {}", subject.uri, after);
            }
            Operation::Cancelled => expect_cancelled(subject, turn)?,
            Operation::Reopen => subject.reopen(),
        }
        let call = CallOptions::default();
        prop_assert_eq!(subject.store(turn).head(&call), Ok(at(model.head())), "{}", subject.uri);
        prop_assert_eq!(subject.store(turn).count(&call), Ok(model.head()), "{}", subject.uri);
    }
    Ok(())
}

fn request_of(asked: &Asked) -> ReadRequest {
    let Asked { query, after, before, limit, backwards } = asked.clone();
    let direction = Direction::from_backwards(backwards);
    ReadRequest::new(query, at(after), before.map(at), limit, direction)
}

/// Reads the next batch of a read, and compares it with the snapshot that the read began with.
fn go_on(subject: &Subject, turn: u64, own: &mut Begun) -> Result<(), TestCaseError> {
    let before = own.found.len();
    let found = &mut own.found;
    let mut sink = |view: &EventView<'_>| {
        found.push(keep(view));
        Ok(())
    };
    let call = CallOptions::default();
    let outcome = subject.store(turn).read(&mut own.reading, own.batch, &call, &mut sink);
    prop_assert_eq!(outcome, Ok(()));
    let (expected, position) = &own.expected;
    prop_assert!(own.found.len() - before <= own.batch.max_events);
    prop_assert_eq!(Some(&own.found[..]), expected.get(..own.found.len()), "{}", subject.uri);
    if own.found.len() == before {
        prop_assert_eq!(own.found.len(), expected.len(), "{}", subject.uri);
        prop_assert_eq!(own.reading.position().get(), *position, "{}", subject.uri);
    }
    Ok(())
}

/// Every call that was cancelled before says so, and does nothing.
fn expect_cancelled(subject: &Subject, turn: u64) -> Result<(), TestCaseError> {
    let cancel = CancelToken::new();
    cancel.trigger();
    let (store, call) =
        (subject.store(turn), CallOptions { timeout: Timeout::Never, cancel: Some(cancel) });
    let request = AppendRequest::new(vec![event("A", &[], "1", None)], Vec::new());
    let mut reading = ReadState::new(ReadRequest::default());
    let batch = BatchLimits { max_events: 1, max_bytes: 1 };
    let read = store.read(&mut reading, batch, &call, &mut |_: &EventView<'_>| Ok(()));
    let outcomes = [
        store.append(request.expect("a request"), &call).err(),
        read.err(),
        store.find(EventId::new("i0").expect("an id"), &call).err(),
        store.head(&call).err(),
        store.count(&call).err(),
        store.wait(at(0), &call).err(),
    ];
    let statuses = outcomes.map(|error| error.map(|error| error.status));
    prop_assert_eq!(statuses, [Some(Status::Cancelled); 6], "{}", subject.uri);
    Ok(())
}

fn append(
    subject: &Subject,
    turn: u64,
    model: &mut Model,
    (events, conditions): (&[Event], &[AppendCondition]),
) -> Result<(), TestCaseError> {
    let request = AppendRequest::new(events.to_vec(), conditions.to_vec()).expect("a request");
    let outcome = subject.store(turn).append(request, &CallOptions::default());
    let outcome = outcome.map_err(|error| (error.status, error.position.get(), error.detail));
    let expected = model.append(events, conditions);
    prop_assert_eq!(outcome, expected, "{} {:?} {:?}", subject.uri, events, conditions);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_store_does_what_the_model_does(
        operations in prop::collection::vec(operation(), 1..60),
    ) {
        for mut subject in Subject::all() {
            play(&mut subject, &operations)?;
        }
    }
}
