//! Random histories on every store, held against a model that is a list and nothing more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dcb::domain::{
    AppendRequest, Condition, Event, EventBuilder, EventId, EventType, EventView, Item, Query,
    ReadRequest, Reading, Tag,
};
use dcb::open::Options;
use dcb::store::Batch;
use dcb::{Call, Error, Result, Status, Store, Timeout};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::Config;

/// What a store has to do, in the fewest words.
#[derive(Default)]
struct Model {
    events: Vec<Event>,
    ids: HashMap<String, i64>,
    /// The appends with ids, to be repeated.
    with_ids: Vec<Vec<Event>>,
}

/// What the model says of an append; the position is not asked for where it has a choice.
type Judgement = std::result::Result<i64, (Status, Option<i64>)>;

impl Model {
    fn head(&self) -> i64 {
        self.events.len() as i64
    }

    fn view(&self, position: i64) -> EventView<'_> {
        self.events[position as usize - 1].view(position, 0)
    }

    /// The positions of the events that `query` matches, above `low` up to `high`.
    fn matching(&self, query: &Query, low: i64, high: i64) -> Vec<i64> {
        (low + 1..=high).filter(|&position| query.matches(&self.view(position))).collect()
    }

    fn judge(&self, request: &AppendRequest) -> Judgement {
        let events = request.events();
        let stored: Vec<i64> =
            events.iter().filter_map(|event| self.ids.get(event.id()?).copied()).collect();
        if !stored.is_empty() {
            let first = stored[0];
            let repeated = stored.len() == events.len()
                && events.iter().zip(first..).zip(&stored).all(|((event, position), own)| {
                    position == *own && self.view(position).is_same_as(event)
                });
            return if repeated {
                Ok(stored[stored.len() - 1])
            } else {
                Err((Status::DuplicateId, (stored.len() == 1).then_some(first)))
            };
        }
        let lowest = request
            .conditions()
            .iter()
            .filter_map(|condition| {
                let after = condition.after().min(self.head());
                self.matching(condition.query(), after, self.head()).first().copied()
            })
            .min();
        match lowest {
            Some(position) => Err((Status::ConditionFailed, Some(position))),
            None => Ok(self.head() + events.len() as i64),
        }
    }

    fn store(&mut self, events: &[Event]) {
        for event in events {
            self.events.push(event.clone());
            if let Some(id) = event.id() {
                self.ids.insert(id.to_owned(), self.head());
            }
        }
        if events[0].id().is_some() {
            self.with_ids.push(events.to_vec());
        }
    }
}

/// A position, told by where it lies.
#[derive(Debug, Clone)]
enum Place {
    FromStart(i64),
    BelowHead(i64),
}

impl Place {
    fn at(&self, head: i64) -> i64 {
        match *self {
            Place::FromStart(position) => position,
            Place::BelowHead(distance) => (head - distance).max(0),
        }
    }
}

type Plain = (u8, Vec<u8>, u8);
type Items = Option<Vec<(Vec<u8>, Vec<u8>)>>;

#[derive(Debug, Clone)]
enum Op {
    Append {
        events: Vec<Plain>,
        with_ids: bool,
        conditions: Vec<(Items, Place)>,
    },
    /// A part of an earlier append with ids, perhaps changed, perhaps turned round.
    Repeat {
        which: usize,
        from: usize,
        count: usize,
        change: bool,
        turn: bool,
    },
    Read {
        query: Items,
        after: Place,
        before: Option<Place>,
        limit: Option<i64>,
        backwards: bool,
        batch: usize,
    },
    Head,
    Reopen,
}

fn items() -> impl Strategy<Value = Items> {
    option::weighted(0.9, vec((vec(0..4_u8, 0..3), vec(0..7_u8, 0..3)), 1..4))
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        (-1..6_i64).prop_map(Place::FromStart),
        (-3..9_i64).prop_map(Place::BelowHead),
        Just(Place::FromStart(i64::MAX)),
    ]
}

fn append() -> impl Strategy<Value = Op> {
    let event = (0..4_u8, vec(0..7_u8, 0..4), 0..3_u8);
    (vec(event, 1..6), any::<bool>(), vec((items(), place()), 0..3))
        .prop_map(|(events, with_ids, conditions)| Op::Append { events, with_ids, conditions })
}

fn read() -> impl Strategy<Value = Op> {
    let bounds = (place(), option::of(place()), option::of(0..5_i64));
    (items(), bounds, any::<bool>(), prop_oneof![1..4_usize, Just(1000)]).prop_map(
        |(query, (after, before, limit), backwards, batch)| Op::Read {
            query,
            after,
            // -1 is no bound: only `after` may be.
            before: before.filter(|place| place.at(0) >= 0),
            limit,
            backwards,
            batch,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let parts = (0..8_usize, 0..3_usize, 1..4_usize, any::<bool>(), any::<bool>());
    prop_oneof![
        5 => append(),
        2 => parts.prop_map(|(which, from, count, change, turn)| {
            Op::Repeat { which, from, count, change, turn }
        }),
        5 => read(),
        1 => Just(Op::Head),
        1 => Just(Op::Reopen),
    ]
}

fn event(event_type: &str, tags: &[String], data: &str, id: Option<&str>) -> Event {
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

fn query(items: &Items) -> Query {
    let Some(items) = items else { return Query::all() };
    let items = items.iter().map(|(types, tags)| {
        let mut item = Item::new();
        types.iter().for_each(|n| item.or_type(EventType::new(&format!("T{n}")).unwrap()));
        tags.iter().for_each(|n| item.and_tag(Tag::new(&format!("g:{n}")).unwrap()));
        item
    });
    Query::of(items.collect()).unwrap()
}

/// A store, the model beside it, and where the store lives.
struct Pair {
    uri: String,
    store: Arc<dyn Store>,
    model: Model,
    next_id: usize,
    _folder: tempfile::TempDir,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.store.close();
    }
}

impl Pair {
    fn new(uri: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let uri = uri.replace("{folder}", folder.path().to_str().unwrap());
        let store = dcb::open(&uri, &Options::default()).unwrap();
        Pair { uri, store, model: Model::default(), next_id: 0, _folder: folder }
    }

    fn play(&mut self, op: &Op) {
        let head = self.model.head();
        match op {
            Op::Append { events, with_ids, conditions } => {
                let events = events.iter().map(|event| self.event(event, *with_ids)).collect();
                let conditions = conditions
                    .iter()
                    .map(|(items, after)| Condition::new(query(items), after.at(head)).unwrap());
                self.append(events, conditions.collect());
            }
            Op::Repeat { which, from, count, change, turn } => {
                let Some(earlier) = self.model.with_ids.get(*which) else { return };
                let mut events: Vec<Event> =
                    earlier.iter().skip(*from).take(*count).cloned().collect();
                if events.is_empty() {
                    return;
                }
                if *change {
                    events[0] = event("T0", &[], "\"changed\"", events[0].id());
                }
                if *turn {
                    events.reverse();
                }
                self.append(events, Vec::new());
            }
            Op::Read { query: items, after, before, limit, backwards, batch } => {
                let after = after.at(head);
                let before = before.as_ref().map(|place| place.at(head));
                self.read(query(items), after, before, *limit, *backwards, *batch);
            }
            Op::Head => {
                assert_eq!(self.store.head(&Call::default()).unwrap(), head);
                assert_eq!(self.store.count(&Call::default()).unwrap(), head);
                let at_once = Call { timeout: Timeout::After(Duration::ZERO), cancel: None };
                let waited = self.store.wait(head, &at_once);
                assert_eq!(waited.map_err(|error| error.status), Err(Status::Timeout));
            }
            Op::Reopen => {
                if self.uri.ends_with(".db") {
                    self.store.close();
                    self.store = dcb::open(&self.uri, &Options::default()).unwrap();
                }
            }
        }
    }

    fn event(&mut self, (event_type, tags, data): &Plain, with_id: bool) -> Event {
        let tags: Vec<String> = tags.iter().map(|tag| format!("g:{tag}")).collect();
        self.next_id += 1;
        let id = with_id.then(|| format!("id-{}", self.next_id));
        event(&format!("T{event_type}"), &tags, &format!("[{data}, 1.0]"), id.as_deref())
    }

    fn append(&mut self, events: Vec<Event>, conditions: Vec<Condition>) {
        let request = AppendRequest::new(events, conditions).unwrap();
        let expected = self.model.judge(&request);
        let got = self.store.append(request.clone(), &Call::default());
        match (expected, &got) {
            (Ok(last), Ok(position)) => assert_eq!(last, *position),
            (Err((status, position)), Err(error)) => {
                assert_eq!(status, error.status, "{error}");
                assert_eq!(position.unwrap_or(error.position), error.position, "{error}");
            }
            _ => panic!("expected {expected:?}, got {got:?}"),
        }
        if expected.is_ok_and(|last| last > self.model.head()) {
            self.model.store(request.events());
        }
    }

    fn read(
        &self,
        query: Query,
        after: i64,
        before: Option<i64>,
        limit: Option<i64>,
        backwards: bool,
        batch: usize,
    ) {
        let low = after.max(0);
        let top = before.map_or(i64::MAX, |before| (before - 1).max(0)).min(self.model.head());
        let mut expected = if low < top { self.model.matching(&query, low, top) } else { vec![] };
        if backwards {
            expected.reverse();
        }
        let stopped = limit.is_some_and(|limit| limit <= expected.len() as i64);
        expected.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
        let position = match (limit, expected.last()) {
            (Some(0), _) => low,
            (_, Some(&last)) if stopped && !backwards => last,
            _ => top.max(low),
        };

        let request = ReadRequest::new(query, after, before, limit, backwards).unwrap();
        let got = self.events(Reading::new(request), batch).unwrap();
        assert_eq!(got, (expected, position));
    }

    /// The positions that a read gives in batches, and its own; the events have to be the model's.
    fn events(&self, mut reading: Reading, max_events: usize) -> Result<(Vec<i64>, i64)> {
        let batch = Batch { max_events, max_bytes: usize::MAX };
        let mut positions = Vec::new();
        loop {
            let before = positions.len();
            let mut take = |event: &EventView<'_>| {
                let stored = &self.model.events[event.position as usize - 1];
                assert!(event.is_same_as(stored), "{event:?} is not {stored:?}");
                positions.push(event.position);
                Ok::<(), Error>(())
            };
            self.store.read(&mut reading, batch, &Call::default(), &mut take)?;
            assert!(positions.len() - before <= max_events);
            if positions.len() == before {
                return Ok((positions, reading.position()));
            }
        }
    }
}

/// Plays `cases` histories on fresh stores at `uri`.
fn agree(uri: &str, cases: u32) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    proptest!(config, |(ops in vec(op(), 1..40))| {
        let mut pair = Pair::new(uri);
        ops.iter().for_each(|op| pair.play(op));
    });
}

/// Plays one history of more events than a store keeps in memory, then reads it again and again.
fn agree_at_length(uri: &str, appends: usize) {
    let mut pair = Pair::new(uri);
    let mut state = 1_u64;
    // SplitMix64: the same history in every run.
    let mut random = |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    };
    for round in 0..appends {
        let events = (0..500)
            .map(|_| {
                // One tag on every second event, one on about fifty, one on about four.
                let tags = [
                    format!("g:{}", random(2)),
                    format!("u:{}", random(800)),
                    format!("v:{}", random(10_000)),
                ];
                pair.next_id += 1;
                let id = format!("id-{}", pair.next_id);
                event(&format!("T{}", random(4)), &tags, "null", Some(&id))
            })
            .collect();
        pair.append(events, Vec::new());
        if round == appends / 2 {
            pair.play(&Op::Reopen);
        }
    }
    for round in 0..300 {
        if round % 100 == 50 {
            pair.play(&Op::Reopen);
        }
        let mut item = Item::new();
        if random(2) == 0 {
            item.or_type(EventType::new(&format!("T{}", random(5))).unwrap());
        }
        if random(2) == 0 {
            item.and_tag(Tag::new(&format!("g:{}", random(2))).unwrap());
        }
        match random(3) {
            0 => item.and_tag(Tag::new(&format!("u:{}", random(801))).unwrap()),
            1 => item.and_tag(Tag::new(&format!("v:{}", random(10_000))).unwrap()),
            _ => {}
        }
        let query = Query::of(vec![item]).unwrap();
        let head = pair.model.head();
        let after = random(head as u64) as i64;
        let before = (random(2) == 0).then(|| random(head as u64 + 100) as i64);
        let limit = (random(2) == 0).then(|| random(30) as i64);
        pair.read(query.clone(), after, before, limit, random(2) == 0, 100);
        let guarded = vec![event("T9", &[], "null", None)];
        pair.append(guarded, vec![Condition::new(query, after).unwrap()]);
        let first = random(head as u64 - 3) as usize;
        let repeated = pair.model.events[first..first + 3].to_vec();
        if repeated.iter().all(|event| event.id().is_some()) {
            pair.append(repeated, Vec::new());
        }
    }
}

#[test]
fn memory() {
    agree("memory:", 200);
}

#[test]
fn memory_at_length() {
    agree_at_length("memory:", 40);
}

#[test]
#[ignore = "the SQLite store cannot be opened yet"]
fn sqlite() {
    agree("sqlite:{folder}/x.db", 60);
}

#[test]
#[ignore = "the SQLite store cannot be opened yet"]
fn sqlite_at_length() {
    agree_at_length("sqlite:{folder}/x.db", 100);
}

#[test]
#[ignore = "the SQLite store cannot be opened yet"]
fn sqlite_in_memory() {
    agree("sqlite::memory:", 60);
}

#[test]
#[ignore = "the SQLite store cannot be opened yet"]
fn sqlite_in_memory_at_length() {
    agree_at_length("sqlite::memory:", 100);
}
