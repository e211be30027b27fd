//! Conditions that are checked before their group runs.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::domain::{EventBuilder, EventId, SequencedEvent, Term};
use crate::position::at;
use crate::sqlite::append::group::PreparedAppend;
use crate::sqlite::append::known_ids::KnownIds;
use crate::sqlite::connection::transaction::begin_immediate;
use crate::sqlite::connection::{OpenMode, connect};
use crate::sqlite::read::check_ahead::{Extent, check_ahead};
use crate::sqlite::state::SEGMENT_EVENTS;
use crate::{Position, Status};

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
    let call = CallOptions::default();
    let readers = fixture.store.connections.readers().unwrap();
    check_ahead(&fixture.store.shared, readers, &mut append, Extent::Conditions, &call).unwrap();
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

/// Checking a hundred items takes long even on events in memory.
#[test]
fn a_condition_of_many_items_is_checked_on_events_in_memory_too() {
    let fixture = two_kinds(400);
    append(&fixture.store, vec![event("N", &[])], None).unwrap();
    let on_disk = fixture.store.shared.index.tail.read(|tail| tail.base()).get();
    let many = (0..100).map(|number| item(&["A"], &[&format!("none:{number}")])).collect();
    assert_eq!(checked(&fixture, Query::of(many).unwrap(), on_disk), 401);
    assert_eq!(checked(&fixture, query(&["A"], &["x"]), on_disk), on_disk);
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

#[test]
fn nothing_is_read_under_the_lock_for_what_was_checked_ahead() {
    let fixture = two_kinds(400);
    let many = || Query::of((0..100).map(|_| item(&["A"], &["x"])).collect()).unwrap();
    for query in [query(&["A"], &["x"]), many()] {
        let (appended, read) = append_counted(&fixture, vec![event("N", &[])], query);
        assert!(appended.is_ok());
        assert_eq!(read, 0);
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
        Extent::Conditions,
        &call,
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

/// Returns one of 8,100 names that have the same term, whatever kind of name they are.
///
/// XXH3 multiplies the halves of each word of a long text, each combined with a word of its secret
/// by XOR, and adds the products and the words themselves. Two words of one lane have the upper half
/// of the secret's word here, so their products are 0, and their sum is the same in all names.
fn name_with_one_term(number: u8, other: u8) -> String {
    let mut name = [b'n'; 255];
    name[16..25].copy_from_slice(b"n!!\xf1\x83\x90\x97\xdb\x80");
    name[80..88].copy_from_slice(b"n~~\xe1\xb7\xb3\x67\x1f");
    for (place, number) in [(1, number), (2, other)] {
        assert!(number < 90);
        name[16 + place] += number;
        name[80 + place] -= number;
    }
    String::from_utf8(name.into()).unwrap()
}

/// Appends on a condition. Returns the answer, and how many events were read under the lock.
fn append_counted(fixture: &Fixture, events: Vec<Event>, query: Query) -> (Result<Position>, u64) {
    let read = || {
        let mut writer = fixture.store.connections.writer().unwrap().lock();
        writer.open().unwrap().parts().1.count()
    };
    let before = read();
    let condition = AppendCondition::new(query, at(0));
    let request = AppendRequest::new(events, vec![condition]).unwrap();
    let appended = fixture.store.append(request, &CallOptions::default());
    (appended.map(|appended| appended.last), read() - before)
}

/// The most events that a group reads for a request before it gives it back: as many as a scan reads
/// between two looks at its limit.
const FEW: u64 = 80;

#[test]
fn events_of_another_name_with_the_same_term_are_not_read_under_the_lock() {
    let (stored_name, other) = (name_with_one_term(0, 0), name_with_one_term(89, 7));
    assert_eq!(Term::of_tag(&stored_name), Term::of_tag(&other));
    assert_eq!(Term::of_type(&stored_name), Term::of_type(&other));
    // The search scans the events of the first store, and fetches those of the second one by one.
    for share in [1, 8] {
        let tags = |number: u64| match number % share {
            0 => vec![stored_name.clone()],
            _ => Vec::new(),
        };
        let fixture = stored((0..1_000).map(|number| event("A", &tags(number))).collect());
        let append =
            |tags: &[String], query| append_counted(&fixture, vec![event("N", tags)], query);
        let (appended, read) = append(&[], query(&[], &[&other]));
        assert_eq!(appended, Ok(at(1_001)));
        assert!(read <= FEW, "{read}");
        // The first candidate decides, so nothing is given back.
        let (refused, read) = append(&[], query(&[], &[&stored_name]));
        assert_eq!((refused.unwrap_err().position, read), (at(1), 1));
        let (appended, _) = append(std::slice::from_ref(&other), query(&["M"], &[]));
        assert_eq!(appended, Ok(at(1_002)));
        let (refused, read) = append(&[], query(&[], &[&other]));
        assert_eq!(refused.unwrap_err().position, at(1_002));
        assert!(read <= FEW, "{read}");
    }
}

#[test]
fn events_with_other_ids_of_the_same_term_are_not_read_under_the_lock() {
    let with_id = |number: u64| {
        let id = name_with_one_term((number / 90) as u8, (number % 90) as u8);
        let mut event = EventBuilder::new(EventType::new("A").unwrap());
        event.id(EventId::new(&id).unwrap());
        event.build()
    };
    let fixture = stored((0..1_000).map(with_id).collect());
    let none = || query(&["M"], &[]);
    for (number, position) in [(1_000, 1_001), (700, 701), (1_000, 1_001), (1_001, 1_002)] {
        let (appended, read) = append_counted(&fixture, vec![with_id(number)], none());
        assert_eq!(appended, Ok(at(position)), "{number}");
        assert!(read <= FEW, "{read}");
    }
    let (refused, _) = append_counted(&fixture, vec![with_id(2_000), with_id(500)], none());
    let refused = refused.unwrap_err();
    assert_eq!((refused.status, refused.position), (Status::DuplicateId, at(501)));
}

/// Returns an event whose id is its number.
fn numbered(number: u64, data: &str) -> Event {
    let mut event = EventBuilder::new(EventType::new("A").unwrap());
    let id = number.to_string();
    event.id(EventId::new(&id).unwrap());
    event.data(data).unwrap();
    event.build()
}

/// A program that has lost the answer to a large append sends it again.
#[test]
fn a_repetition_of_many_events_is_not_compared_under_the_lock() {
    let fixture = stored((1..=1_000).map(|number| numbered(number, "1")).collect());
    let none = || query(&["M"], &[]);
    let again = |numbers: std::ops::RangeInclusive<u64>, last: &str| -> Vec<Event> {
        let end = *numbers.end();
        numbers.map(|number| numbered(number, if number == end { last } else { "1" })).collect()
    };
    let (appended, read) = append_counted(&fixture, again(1..=1_000, "1"), Query::all());
    assert_eq!(appended, Ok(at(1_000)));
    assert!(read <= FEW, "{read}");
    for (events, message) in [
        (again(1..=1_000, "2"), "events[999].id: already stored at position 1000 with different"),
        (again(1..=1_001, "1"), "events[1000].id: not stored yet, but earlier events"),
    ] {
        let (refused, read) = append_counted(&fixture, events, none());
        let refused = refused.unwrap_err();
        assert_eq!((refused.status, refused.position), (Status::DuplicateId, at(1)));
        assert!(refused.message.starts_with(message), "{refused}");
        assert!(read <= FEW, "{read}");
    }
    assert_eq!(append_counted(&fixture, again(1_001..=1_400, "1"), none()).0, Ok(at(1_400)));
}

/// Events in memory are compared fast, and yet thousands of them take long.
#[test]
fn a_repetition_of_many_events_in_memory_is_given_back() {
    let fixture = Fixture::new();
    let events = |count| (1..=count).map(|number| numbered(number, "1")).collect::<Vec<_>>();
    append(&fixture.store, events(100), None).unwrap();
    let writer = fixture.store.connections.writer().unwrap();
    for (count, is_given_back) in [(10, false), (100, true)] {
        let request = AppendRequest::new(events(count), Vec::new()).unwrap();
        let mut prepared = PreparedAppend::new(request).unwrap();
        let place = prepared.returnable().unwrap();
        let deadline = CallOptions::default().start(None);
        let answer = writer.append(&fixture.store.shared, prepared, &deadline);
        assert_eq!(
            (answer.is_err(), place.lock().unwrap().is_some()),
            (is_given_back, is_given_back)
        );
    }
    let request = AppendRequest::new(events(100), Vec::new()).unwrap();
    let appended = fixture.store.append(request, &CallOptions::default()).unwrap();
    assert_eq!((appended.last, appended.is_repeated), (at(100), true));
}

/// The ids of a large append are looked up in several snapshots.
#[test]
fn an_id_that_was_stored_between_two_snapshots_is_found() {
    let fixture = Fixture::new();
    let events = || vec![numbered(1, "1"), numbered(2, "1")];
    append(&fixture.store, events(), None).unwrap();
    let request = AppendRequest::new(events(), Vec::new()).unwrap();
    let mut prepared = PreparedAppend::new(request).unwrap();
    let mut ids = KnownIds::default();
    ids.add(at(0), vec![None]);
    ids.add(at(2), vec![Some((at(2), true))]);
    prepared.note_ids(ids);
    let writer = fixture.store.connections.writer().unwrap();
    let deadline = CallOptions::default().start(None);
    let appended = writer.append(&fixture.store.shared, prepared, &deadline).unwrap();
    assert_eq!((appended.last, appended.is_repeated), (at(2), true));
}

/// Another thread has the only connection most of the time. So the check of all conditions takes
/// longer than each of its waits may.
#[test]
fn a_check_ahead_may_take_longer_than_a_wait() {
    const HELD: Duration = Duration::from_millis(3);
    let fixture = two_kinds(40);
    let events = Options { max_readers: Some(1), ..Options::default() };
    fixture.store.close();
    let store = SqliteStore::open(Location::File(fixture.path()), &events).unwrap();
    let readers = store.connections.readers().unwrap();
    let call = CallOptions { timeout: Timeout::After(20 * HELD), cancel: None };
    let is_all_checked = || {
        let condition = || AppendCondition::new(query(&["A"], &["x"]), at(0));
        let mut append = prepared((0..60).map(|_| condition()).collect());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _ends = Ends(&is_over);
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    let held = readers.get(&CallOptions::default().start(None)).unwrap();
                    thread::sleep(HELD);
                    drop(held);
                }
            });
            check_ahead(&store.shared, readers, &mut append, Extent::Conditions, &call).unwrap();
        });
        append.conditions_mut().all(|condition| condition.after() == at(40))
    };
    // On a busy machine, one wait may take too long.
    assert!((0..20).any(|_| is_all_checked()));
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
