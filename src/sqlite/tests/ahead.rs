//! Conditions that are checked before their group runs.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Status;
use crate::domain::SequencedEvent;
use crate::position::at;
use crate::sqlite::append::group::PreparedAppend;
use crate::sqlite::connection::transaction::begin_immediate;
use crate::sqlite::connection::{OpenMode, connect};
use crate::sqlite::read::check_ahead::check_ahead;
use crate::sqlite::state::SEGMENT_EVENTS;

/// Stores the events, and reopens the store once segments cover all but a few.
fn stored(events: Vec<Event>) -> Fixture {
    let mut fixture = Fixture::new();
    let count = events.len() as i64;
    append(&fixture.store, events, None).unwrap();
    let shared = Arc::clone(&fixture.store.shared);
    assert!(eventually(|| at(count) - shared.index.segments.newest().indexed() < SEGMENT_EVENTS));
    fixture.reopen();
    fixture
}

/// Stores and indexes `count` events: in turn one of type A with tag y, and one of type B with
/// tag x.
fn two_kinds(count: usize) -> Fixture {
    let one = |number: usize| match number % 2 {
        0 => event("A", &["y".into()]),
        _ => event("B", &["x".into()]),
    };
    stored((0..count).map(one).collect())
}

fn prepared(conditions: Vec<AppendCondition>) -> PreparedAppend {
    PreparedAppend::new(AppendRequest::new(vec![event("N", &[])], conditions).unwrap()).unwrap()
}

/// Checks a condition ahead of its group. Returns the position after which it still has to be
/// checked.
fn checked(fixture: &Fixture, query: Query, after: i64) -> i64 {
    let mut append = prepared(vec![AppendCondition::new(query, at(after))]);
    let deadline = CallOptions::default().start(None);
    let readers = fixture.store.connections.readers().unwrap();
    check_ahead(&fixture.store.shared, readers, &mut append, &deadline).unwrap();
    append.conditions_mut().next().unwrap().after().get()
}

#[test]
fn an_expensive_condition_is_checked_up_to_the_head() {
    let fixture = two_kinds(400);
    assert_eq!(checked(&fixture, query(&["A"], &["x"]), 0), 400);
    assert_eq!(checked(&fixture, query(&["A"], &["x"]), 7), 400);
    // If an event matches, the condition is left to start right before the first one.
    assert_eq!(checked(&fixture, query(&["A"], &["y"]), 0), 0);
    assert_eq!(checked(&fixture, query(&["A"], &["y"]), 7), 8);
    let many = (0..20).map(|number| item(&[], &[&format!("none:{number}")])).collect();
    assert_eq!(checked(&fixture, Query::of(many).unwrap(), 0), 400);
}

#[test]
fn a_cheap_condition_is_left_to_its_group() {
    let fixture = two_kinds(400);
    for cheap in [query(&["A"], &[]), query(&[], &["z"]), Query::all()] {
        assert_eq!(checked(&fixture, cheap, 0), 0);
    }
    // There are no events above these positions.
    for after in [400, 1_000] {
        assert_eq!(checked(&fixture, query(&["A"], &["x"]), after), after);
    }
}

/// Another process holds SQLite's write lock, and another thread the writer's connection.
#[test]
fn conditions_are_checked_ahead_without_the_write_lock() {
    let fixture = two_kinds(400);
    let other = connect(&Location::File(fixture.path()), OpenMode::Write).unwrap();
    let deadline = CallOptions::default().start(None);
    begin_immediate(&other, &deadline).unwrap();
    let writer = fixture.store.connections.writer().unwrap().lock();
    assert_eq!(checked(&fixture, query(&["A"], &["x"]), 0), 400);
    drop(writer);
}

#[test]
fn a_check_ahead_can_be_cancelled() {
    let fixture = two_kinds(400);
    let cancel = crate::CancelToken::new();
    cancel.trigger();
    let call = CallOptions { timeout: Timeout::Never, cancel: Some(cancel) };
    let condition = AppendCondition::new(query(&["A"], &["x"]), at(0));
    let readers = fixture.store.connections.readers().unwrap();
    let checked = check_ahead(
        &fixture.store.shared,
        readers,
        &mut prepared(vec![condition]),
        &call.start(None),
    );
    assert_eq!(checked.unwrap_err().status, Status::Cancelled);
}

/// If the head is below the position of the check, the file was replaced by an older one.
#[test]
fn events_that_were_checked_ahead_must_still_be_there() {
    let fixture = two_kinds(40);
    let mut append = prepared(Vec::new());
    append.note_checked(at(41));
    let writer = fixture.store.connections.writer().unwrap();
    let deadline = CallOptions::default().start(None);
    let refused = writer.append(&fixture.store.shared, append, &deadline).unwrap_err();
    assert_eq!(refused.status, Status::Corrupt);
    let mut append = prepared(Vec::new());
    append.note_checked(at(40));
    let stored = writer.append(&fixture.store.shared, append, &deadline).unwrap();
    assert_eq!(stored.last, at(41));
}

/// The numbers of the types and of the tags of a query item.
type ItemNames = (Vec<u8>, Vec<u8>);

/// Generates the items and the `after` of a condition. The names are few, so that conditions fail at
/// any position or never.
fn any_condition() -> impl Strategy<Value = (Vec<ItemNames>, i64)> {
    let item = (vec(0_u8..3, 0..3), vec(0_u8..6, 0..3))
        .prop_filter("an item has a criterion", |(types, tags)| types.len() + tags.len() > 0);
    (vec(item, 1..12), prop_oneof![0_i64..20, 0_i64..400])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// The oracle checks the conditions against every event.
    #[test]
    fn a_check_ahead_changes_no_answer(
        conditions in vec(any_condition(), 1..4),
        names in vec((0_u8..3, 0_u8..6, 0_u8..60), 380),
    ) {
        // The tags of the conditions are rare, so that most conditions hold.
        let one = |(event_type, tag, rare): &(u8, u8, u8)| {
            let tag = if *rare == 0 { *tag } else { 6 };
            event(&format!("T{event_type}"), &[format!("t:{tag}")])
        };
        let events: Vec<Event> = names.iter().map(one).collect();
        let fixture = stored(events.clone());
        let conditions: Vec<AppendCondition> = conditions
            .iter()
            .map(|(items, after)| {
                let items = items.iter().map(|(types, tags)| {
                    let mut item = QueryItem::new();
                    // A repeated name is ignored or rejected, which makes no difference here.
                    for name in types {
                        let _ = item.or_type(EventType::new(&format!("T{name}")).unwrap());
                    }
                    for name in tags {
                        let _ = item.and_tag(Tag::new(&format!("t:{name}")).unwrap());
                    }
                    item
                });
                AppendCondition::new(Query::of(items.collect()).unwrap(), at(*after))
            })
            .collect();
        let sequenced: Vec<SequencedEvent> = (1..)
            .zip(events)
            .map(|(position, event)| SequencedEvent { position: at(position), timestamp_us: 0, event })
            .collect();
        let first = |condition: &AppendCondition| {
            sequenced.iter().find(|event| condition.fails_on(&event.view())).map(|event| event.position)
        };
        let lowest = conditions.iter().filter_map(first).min();
        let request = AppendRequest::new(vec![event("N", &[])], conditions).unwrap();
        let call = CallOptions { timeout: Timeout::Never, cancel: None };
        match (fixture.store.append(request, &call), lowest) {
            (Ok(appended), None) => prop_assert_eq!(appended.last, at(381)),
            (Err(error), Some(lowest)) => {
                prop_assert_eq!((error.status, error.position), (Status::ConditionFailed, lowest));
            }
            (answer, lowest) => prop_assert!(false, "{answer:?}, {lowest:?}"),
        }
    }
}
