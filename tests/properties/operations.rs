//! Random sequences of operations on each store and on the model.

use dcb::domain::{AppendCondition, AppendRequest, Event, Query, ReadRequest};
use dcb::store::BatchLimits;
use dcb::{CallOptions, Direction};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::model::{Asked, Model, at};
use super::{Subject, event, find, item, read};

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
    Find(&'static str),
    Reopen,
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

fn operation() -> impl Strategy<Value = Operation> {
    let condition =
        (query(), position()).prop_map(|(query, after)| AppendCondition::new(query, at(after)));
    let append = (events(), prop::collection::vec(condition, 0..3))
        .prop_map(|(events, conditions)| Operation::Append { events, conditions });
    let bounds = (position(), prop::option::of(0..40i64), prop::option::of(0..6u64));
    let batch = (select(vec![1, 2, 7, 1_000]), select(vec![1, 40, 1 << 20]))
        .prop_map(|(max_events, max_bytes)| BatchLimits { max_events, max_bytes });
    let read = (query(), bounds, any::<bool>(), batch).prop_map(
        |(query, (after, before, limit), backwards, batch)| Operation::Read {
            asked: Asked { query, after, before, limit, backwards },
            batch,
        },
    );
    prop_oneof![
        10 => append,
        2 => any::<Index>().prop_map(Operation::Repeat),
        8 => read,
        3 => select(&IDS).prop_map(Operation::Find),
        1 => Just(Operation::Reopen),
    ]
}

/// Runs the operations on a store and on a model, and compares the results.
fn play(subject: &mut Subject, operations: &[Operation]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut requests: Vec<(&[Event], &[AppendCondition])> = Vec::new();
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
                let Asked { query, after, before, limit, backwards } = asked.clone();
                let request = ReadRequest::new(
                    query,
                    at(after),
                    before.map(at),
                    limit,
                    Direction::from_backwards(backwards),
                );
                let outcome = read(subject.store(turn), request, *batch);
                prop_assert_eq!(outcome, Ok(model.read(asked)), "{} {:?}", subject.uri, asked);
            }
            Operation::Find(id) => {
                let outcome = find(subject.store(turn), id);
                prop_assert_eq!(outcome, Ok(model.find(id)), "{} {}", subject.uri, id);
            }
            Operation::Reopen => subject.reopen(),
        }
        let call = CallOptions::default();
        prop_assert_eq!(subject.store(turn).head(&call), Ok(at(model.head())), "{}", subject.uri);
        prop_assert_eq!(subject.store(turn).count(&call), Ok(model.head()), "{}", subject.uri);
    }
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
