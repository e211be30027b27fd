use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;

use crate::domain::{
    Direction, Event, EventBuilder, EventId, EventType, PositionRange, Query, QueryItem,
    SequencedEvent, Tag, Term,
};
use crate::index::{Index, Progress};
use crate::position::at;

const TYPES: [&str; 4] = ["A", "B", "C", "D"];
const TAGS: [&str; 6] = ["x", "y:1", "y:2", "z:1", "z:2", "A"];

impl Index {
    /// Returns an index in which terms that agree in the bits of `mask` collide.
    fn with_mask(base: i64, mask: u64) -> Self {
        Index { mask, ..Index::new(at(base)) }
    }
}

fn event(event_type: &str, tags: &[&str], id: Option<&str>) -> Event {
    let mut event = EventBuilder::new(EventType::new(event_type).unwrap());
    for tag in tags {
        event.tag(Tag::new(tag).unwrap()).unwrap();
    }
    if let Some(id) = id {
        event.id(EventId::new(id).unwrap());
    }
    event.build()
}

fn sequenced(position: i64, event: Event) -> Arc<SequencedEvent> {
    Arc::new(SequencedEvent { position: at(position), timestamp_us: 7, event })
}

fn query(items: &[(&[&str], &[&str])]) -> Query {
    Query::of(items.iter().map(|(types, tags)| item(types, tags)).collect()).unwrap()
}

fn item(types: &[&str], tags: &[&str]) -> QueryItem {
    let mut item = QueryItem::new();
    types.iter().for_each(|name| item.or_type(EventType::new(name).unwrap()).unwrap());
    tags.iter().for_each(|name| item.and_tag(Tag::new(name).unwrap()).unwrap());
    item
}

fn positions(events: &[Arc<SequencedEvent>]) -> Vec<i64> {
    events.iter().map(|event| event.position.get()).collect()
}

fn any_event() -> impl Strategy<Value = Event> {
    (select(&TYPES), prop::collection::vec(select(&TAGS), 0..4))
        .prop_map(|(name, tags)| event(name, &tags, None))
}

fn any_query() -> impl Strategy<Value = Query> {
    let item =
        (prop::collection::vec(select(&TYPES), 0..3), prop::collection::vec(select(&TAGS), 0..3))
            .prop_map(|(types, tags)| item(&types, &tags));
    prop_oneof![
        1 => Just(Query::all()),
        9 => prop::collection::vec(item, 1..5).prop_map(|items| Query::of(items).unwrap()),
    ]
}

fn any_span() -> impl Strategy<Value = PositionRange> {
    let bound = prop_oneof![8 => 0..80i64, 1 => Just(i64::MAX)];
    (bound.clone(), bound)
        .prop_map(|(low, high)| PositionRange { after: at(low), through: at(high) })
}

/// Generates a mask for the hashes of terms: with few bits most terms collide, with all bits none.
fn any_mask() -> impl Strategy<Value = u64> {
    select(vec![0, 1, 7, u64::MAX])
}

/// Returns the positions that the index must find, computed by a filter over all events.
fn naive(events: &[Arc<SequencedEvent>], query: &Query, span: PositionRange) -> Vec<i64> {
    let in_span = |position| span.after < at(position) && at(position) <= span.through;
    let hits = events.iter().filter(|event| query.matches(&event.view()));
    hits.map(|event| event.position.get()).filter(|&position| in_span(position)).collect()
}

proptest! {
    #[test]
    fn a_search_finds_what_a_filter_finds(
        base in 0..5i64,
        events in prop::collection::vec(any_event(), 0..60),
        mask in any_mask(),
        query in any_query(),
        mut span in any_span(),
        backwards: bool,
        max in 0..9usize,
    ) {
        let mut index = Index::with_mask(base, mask);
        let mut held = Vec::new();
        for (position, event) in (base + 1..).zip(events) {
            let event = sequenced(position, event);
            held.push(Arc::clone(&event));
            index.push(event);
        }
        let empty = Index::with_mask(base, mask).footprint();
        prop_assert_eq!(index.len(), held.len());
        prop_assert_eq!(index.footprint() == empty, held.is_empty());

        let mut expected = naive(&held, &query, span);
        prop_assert_eq!(index.first_match(&query, span), expected.first().copied().map(at));

        let direction = Direction::from_backwards(backwards);
        if backwards {
            expected.reverse();
        }
        let mut found = Vec::new();
        if max == 0 {
            let progress = index.find(&query, span, direction, 0, &mut found);
            prop_assert!(found.is_empty());
            prop_assert!(progress != Progress::Exhausted || expected.is_empty());
            return Ok(());
        }
        loop {
            let before = found.len();
            let progress = index.find(&query, span, direction, max, &mut found);
            prop_assert!(found.len() - before <= max);
            match progress {
                Progress::Exhausted => break,
                Progress::Reached(position) if backwards => {
                    prop_assert!(span.after < position && position <= span.through);
                    span.through = position.previous();
                }
                Progress::Reached(position) => {
                    prop_assert!(span.after < position && position <= span.through);
                    span.after = position;
                }
            }
        }
        prop_assert_eq!(positions(&found), expected);
    }

    #[test]
    fn postings_list_every_term_of_every_event(
        events in prop::collection::vec(any_event(), 0..40),
    ) {
        let mut index = Index::new(at(0));
        let mut expected = Vec::new();
        for (position, event) in (1..).zip(events) {
            expected.extend(event.terms().map(|term| (term, at(position))));
            index.push(sequenced(position, event));
        }
        expected.sort();
        prop_assert_eq!(index.postings(), expected);
    }
}

#[test]
fn an_index_holds_a_range_of_positions() {
    let mut index = Index::new(at(3));
    assert_eq!((index.base(), index.head(), index.len()), (at(3), at(3), 0));
    assert!(index.is_empty() && index.get(at(3)).is_none() && index.get(at(4)).is_none());
    index.push(sequenced(4, event("A", &["x"], None)));
    index.push(sequenced(5, event("B", &[], None)));
    assert_eq!((index.base(), index.head(), index.len()), (at(3), at(5), 2));
    assert_eq!(index.get(at(5)).unwrap().event.event_type(), "B");
    for position in [0, 3, 6, i64::MAX] {
        assert!(index.get(at(position)).is_none(), "{position}");
    }
    index.push(sequenced(6, event("A", &[], None)));
    assert_eq!(index.head(), at(6));
}

#[test]
#[should_panic(expected = "positions have no gap")]
fn a_gap_in_the_positions_panics() {
    Index::new(at(0)).push(sequenced(2, event("A", &[], None)));
}

#[test]
fn an_id_is_found_among_colliding_hashes() {
    let mut index = Index::with_mask(0, 0);
    index.push(sequenced(1, event("A", &["one"], Some("one"))));
    index.push(sequenced(2, event("two", &["two"], None)));
    index.push(sequenced(3, event("A", &[], Some("three"))));
    assert_eq!(index.position_of_id("one"), Some(at(1)));
    assert_eq!(index.position_of_id("two"), None);
    assert_eq!(index.position_of_id("three"), Some(at(3)));
}

#[test]
fn an_event_with_colliding_terms_is_indexed_once() {
    let mut index = Index::with_mask(0, 0);
    index.push(sequenced(1, event("A", &["x", "y:1"], None)));
    assert_eq!(index.postings(), [(Term(0), at(1))]);
    let mut found = Vec::new();
    let both = query(&[(&["A"], &[]), (&[], &["x"]), (&["A"], &["y:1"])]);
    index.find(
        &both,
        PositionRange { after: at(0), through: at(1) },
        Direction::Forward,
        9,
        &mut found,
    );
    assert_eq!(positions(&found), [1]);
}

#[test]
fn a_search_examines_a_limited_number_of_candidates() {
    let mut index = Index::new(at(0));
    for position in 1..=10_000 {
        index.push(sequenced(
            position,
            event("A", if position == 10_000 { &["x"] } else { &[] }, None),
        ));
    }
    // All terms collide, so every event is a candidate and one of them matches.
    let mut colliding = Index::with_mask(0, 0);
    (1..=10_000).for_each(|position| colliding.push(Arc::clone(index.get(at(position)).unwrap())));
    let span = PositionRange { after: at(0), through: at(10_000) };
    let mut found = Vec::new();
    let rare = query(&[(&[], &["x"])]);
    assert_eq!(index.find(&rare, span, Direction::Forward, 9, &mut found), Progress::Exhausted);
    assert_eq!(positions(&found), [10_000]);
    found.clear();
    assert_eq!(
        colliding.find(&rare, span, Direction::Forward, 9, &mut found),
        Progress::Reached(at(4096))
    );
    assert!(found.is_empty());
    assert_eq!(
        colliding.find(&rare, span, Direction::Backward, 9, &mut found),
        Progress::Reached(at(5905))
    );
    assert_eq!(positions(&found), [10_000]);
    found.clear();
    assert_eq!(
        index.find(&Query::all(), span, Direction::Forward, 9_999, &mut found),
        Progress::Reached(at(4096))
    );
    assert_eq!(found.len(), 4096);
}

#[test]
fn a_query_of_ten_thousand_items_finds_each_event_once() {
    let mut index = Index::new(at(0));
    for position in 1..=2_000 {
        let tags = [format!("k:{position}"), format!("k:{}", position + 1)];
        index.push(sequenced(position, event("A", &[&tags[0], &tags[1]], None)));
    }
    let items = (1..=10_000).map(|key| item(&["A"], &[&format!("k:{key}")])).collect();
    let query = Query::of(items).unwrap();
    let mut found = Vec::new();
    let mut low = 0;
    while let Progress::Reached(position) = index.find(
        &query,
        PositionRange { after: at(low), through: at(2_000) },
        Direction::Forward,
        300,
        &mut found,
    ) {
        low = position.get();
    }
    assert_eq!(positions(&found), (1..=2_000).collect::<Vec<_>>());
    assert_eq!(
        index.first_match(&query, PositionRange { after: at(7), through: at(2_000) }),
        Some(at(8))
    );
}
