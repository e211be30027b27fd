//! A history of more events than a store keeps in memory, with the store reopened in between.

use dcb::domain::{
    AppendCondition, AppendRequest, Event, EventType, Query, QueryItem, ReadRequest, Tag,
};
use dcb::store::BatchLimits;
use dcb::{CallOptions, Direction};

use super::model::{Asked, Model, at};
use super::numbers::Numbers;
use super::{Subject, event, find, read};

const APPENDS: u64 = 60;
const EVENTS_PER_APPEND: u64 = 500;
const QUESTIONS: u64 = 200;

fn append(subject: &Subject, model: &mut Model, events: &[Event], conditions: &[AppendCondition]) {
    let request = AppendRequest::new(events.to_vec(), conditions.to_vec()).expect("a request");
    let outcome = subject.store(model.head() as u64).append(request, &CallOptions::default());
    let outcome = outcome.map_err(|error| (error.status, error.position.get(), error.detail));
    let expected = model.append(events, conditions);
    assert_eq!(outcome, expected, "{}: {conditions:?}", subject.uri);
}

fn fill(subject: &mut Subject, model: &mut Model, numbers: &mut Numbers) {
    for turn in 0..APPENDS {
        let events: Vec<_> = (0..EVENTS_PER_APPEND)
            .map(|of_turn| {
                // A tag that every second event has, one that some forty have, and a rare one.
                let tags = [("common", 2), ("some", 800), ("rare", 10_000)]
                    .map(|(key, kinds)| format!("{key}:{}", numbers.below(kinds)));
                let tags = [&*tags[0], &*tags[1], &*tags[2]];
                let id = format!("{turn}-{of_turn}");
                event(&format!("T{}", numbers.below(4)), &tags, "null", Some(&id))
            })
            .collect();
        append(subject, model, &events, &[]);
        if turn == APPENDS / 2 {
            subject.reopen();
        }
    }
}

/// Returns a random query, which matches anything between no event and most of the store.
fn query(numbers: &mut Numbers) -> Query {
    let mut item = QueryItem::new();
    if numbers.below(2) == 0 {
        let name = format!("T{}", numbers.below(5));
        item.or_type(EventType::new(&name).expect("a type")).expect("memory");
    }
    for (key, kinds) in [("common", 2), ("some", 801), ("rare", 10_000)] {
        if numbers.below(3) == 0 {
            let tag = format!("{key}:{}", numbers.below(kinds));
            item.and_tag(Tag::new(&tag).expect("a tag")).expect("memory");
        }
    }
    Query::of(vec![item]).expect("a query")
}

fn ask(subject: &Subject, model: &Model, numbers: &mut Numbers) -> (Query, i64) {
    let beyond = model.head() as u64 + 100;
    let mut sometimes = |below| (numbers.below(2) == 0).then(|| numbers.below(below) as i64);
    let (before, backwards) = (sometimes(beyond), sometimes(1).is_some());
    let limit = sometimes(30).map(i64::unsigned_abs);
    let after = sometimes(beyond).unwrap_or(0);
    let asked = Asked { query: query(numbers), after, before, limit, backwards };
    let Asked { query, .. } = asked.clone();
    let request = ReadRequest::new(
        query.clone(),
        at(after),
        before.map(at),
        limit,
        Direction::from_backwards(backwards),
    );
    let batch = BatchLimits { max_events: 100, max_bytes: 1 << 20 };
    let got = read(subject.store(model.head() as u64), request, batch);
    assert_eq!(got, Ok(model.read(&asked)), "{} {asked:?}", subject.uri);
    (query, after)
}

#[test]
fn a_long_history_behaves_as_the_model() {
    for mut subject in Subject::all() {
        let (mut model, mut numbers) = (Model::default(), Numbers(0));
        fill(&mut subject, &mut model, &mut numbers);
        for question in 0..QUESTIONS {
            if question % 100 == 50 {
                subject.reopen();
            }
            let (query, after) = ask(&subject, &model, &mut numbers);
            // Most ids are stored; those of the turn after the last one are not.
            let (turn, of_turn) = (numbers.below(APPENDS + 1), numbers.below(EVENTS_PER_APPEND));
            let id = format!("{turn}-{of_turn}");
            let found = find(subject.store(question), &id);
            assert_eq!(found, Ok(model.find(&id)), "{} {id}", subject.uri);
            let guard = AppendCondition::new(query, at(after));
            append(&subject, &mut model, &[event("Guarded", &[], "null", None)], &[guard]);
            // The events before the guarded ones have ids, so they can be appended again.
            let stored = numbers.below(APPENDS * EVENTS_PER_APPEND - 3) as i64;
            let again = model.between(&Query::all(), stored, stored + 3);
            let again: Vec<_> = again.into_iter().map(|stored| stored.event).collect();
            append(&subject, &mut model, &again, &[]);
        }
    }
}
