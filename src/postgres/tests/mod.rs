//! Tests on a server (`tests/postgres/cluster.sh`). The store in memory is the oracle: what it says
//! to one request after the other, a group has to say to all at once.

mod access;
#[path = "../../../tests/postgres/cluster.rs"]
mod cluster;
mod safety;
mod session;
mod within;

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use cluster::Cluster;

use crate::commit::deadline::CallOptions;
use crate::domain::{
    AppendCondition, AppendRequest, Direction, Event, EventBuilder, EventId, EventType, Query,
    QueryItem, ReadRequest, Tag,
};
use crate::error::Result;
use crate::memory::MemoryStore;
use crate::position::at;
use crate::postgres::PostgresStore;
use crate::postgres::call::{Call, plan_call};
use crate::postgres::group::PreparedAppend;
use crate::postgres::text_form::text_form;
use crate::postgres::values::Values;
use crate::store::options::Options;
use crate::store::{BatchLimits, Store};
use crate::{ReadState, Timeout};

/// Returns how many cases a property runs on: a tenth of those of the long tests.
fn cases(long: u32) -> u32 {
    if std::env::var_os("DCB_TEST_LONG").is_some() { long } else { long / 10 }
}

/// Starts a server, or returns `None` where none can be had.
fn server() -> Option<Cluster> {
    Cluster::start()
}

/// Returns options for a schema that no other test uses.
fn own_schema() -> Options {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let schema = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    Options { schema: Some(schema), ..Options::default() }
}

fn call() -> CallOptions {
    CallOptions { timeout: Timeout::After(Duration::from_secs(60)), cancel: None }
}

/// The types and tags of an item of a query, by their numbers.
type Item = (Vec<u8>, Vec<u8>);

fn items() -> impl Strategy<Value = Vec<Item>> {
    vec((vec(0..3_u8, 0..3), vec(0..4_u8, 0..4)), 0..3)
}

/// Returns the query of these items. Without any it is that of every event.
fn query(items: &[Item]) -> Query {
    let built = items.iter().map(|(types, tags)| {
        let mut item = QueryItem::new();
        for number in types {
            item.or_type(EventType::new(TYPES[usize::from(*number)]).unwrap()).unwrap();
        }
        for number in tags {
            item.and_tag(Tag::new(TAGS[usize::from(*number)]).unwrap()).unwrap();
        }
        item
    });
    if items.is_empty() { Query::all() } else { Query::of(built.collect()).unwrap() }
}

const TYPES: [&str; 3] = ["A", "é\"\\", "NULL"];
const TAGS: [&str; 4] = ["a:1", "b:{\"x\\\",}", "NULL", " c d\n"];

fn event() -> impl Strategy<Value = (u8, Vec<u8>, u8)> {
    (0..3_u8, vec(0..4_u8, 0..4), 0..3_u8)
}

/// Returns an event of a type, with tags, and data of its own.
fn built((kind, tags, data): &(u8, Vec<u8>, u8), id: Option<&str>) -> Event {
    let mut event = EventBuilder::new(EventType::new(TYPES[usize::from(*kind)]).unwrap());
    for number in tags {
        event.tag(Tag::new(TAGS[usize::from(*number)]).unwrap()).unwrap();
    }
    event.data(["null", "{\"a\": 1}", "\"é\\\\\""][usize::from(*data)]).unwrap();
    if *data == 1 {
        event.metadata("{ }").unwrap();
    }
    id.into_iter().for_each(|id| event.id(EventId::new(id).unwrap()));
    event.build()
}

fn request() -> impl Strategy<Value = AppendRequest> {
    let conditions = vec((items(), 0..30_i64), 0..3);
    // Ids that begin anywhere in a short row, so that they are repeated in part or wholly.
    let first_id = prop_oneof![3 => Just(None), 1 => (0..12_u8).prop_map(Some)];
    (vec(event(), 1..4), first_id, conditions).prop_map(|(events, first_id, conditions)| {
        let events = (0..).zip(&events).map(|(place, event)| {
            // An event has the same content wherever its id comes up, mostly.
            let id = first_id.map(|first| first + place);
            match id {
                Some(id) if event.2 > 0 => built(&(id % 3, vec![id % 4], 0), Some(&id.to_string())),
                id => built(event, id.map(|id| id.to_string()).as_deref()),
            }
        });
        let conditions =
            conditions.iter().map(|(items, after)| AppendCondition::new(query(items), at(*after)));
        AppendRequest::new(events.collect(), conditions.collect()).unwrap()
    })
}

/// Runs `check` on random values, a few or, in the long tests, many.
fn for_all<S: Strategy>(long: u32, strategy: &S, check: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let cases = cases(long);
    let config =
        Config { cases, max_shrink_iters: 1_000, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(strategy, |value| {
        check(value);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// What a read returns: the text of each event, and the position.
fn read(
    store: &dyn Store,
    request: &ReadRequest,
    batch: BatchLimits,
) -> Result<(Vec<String>, i64)> {
    let mut reading = ReadState::new(request.clone());
    let mut events = Vec::new();
    loop {
        let before = events.len();
        store.read(&mut reading, batch, &call(), &mut |view: &crate::EventView<'_>| {
            let event = view.to_owned()?.event;
            events.push(format!("{} {}", view.position, event.row_text()));
            Ok(())
        })?;
        if events.len() == before {
            return Ok((events, reading.position().get()));
        }
    }
}

fn all_events(store: &dyn Store) -> (Vec<String>, i64) {
    read(store, &ReadRequest::default(), BatchLimits::ALL).unwrap()
}

#[test]
fn a_group_is_judged_as_its_requests_one_after_the_other_would_be() {
    let Some(server) = server() else { return };
    for_all(300, &vec(vec(request(), 1..8), 1..6), |groups| {
        let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
        let oracle = MemoryStore::new();
        for group in groups {
            let expected: Vec<_> =
                group.iter().map(|own| oracle.append(own.clone(), &call())).collect();
            let deadline = call().start(None);
            let prepared =
                group.into_iter().map(|own| PreparedAppend::new(own, deadline.clone()).unwrap());
            let (outcomes, head) =
                store.writer.lock(&store.target, &deadline).unwrap().append(prepared.collect());
            let answers: Vec<_> = outcomes.into_iter().map(|outcome| outcome.answer).collect();
            assert_eq!(answers, expected);
            assert_eq!(head, oracle.head(&call()).unwrap());
        }
        assert_eq!(all_events(&store), all_events(&oracle));
        for id in 0..8 {
            let id = id.to_string();
            let find = |store: &dyn Store| {
                let found = store.find(EventId::new(&id).unwrap(), &call()).unwrap();
                found.map(|found| (found.position, found.event))
            };
            assert_eq!(find(&store), find(&oracle), "{id}");
        }
        store.close();
    });
}

/// Returns whether a request is one for the function `append_one`, as far as its shape goes.
fn is_single(request: &AppendRequest) -> bool {
    let has_one_item = |condition: &AppendCondition| {
        condition.query().is_all() || condition.query().items().is_none_or(|own| own.len() == 1)
    };
    let conditions = request.conditions();
    request.events().len() == 1 && conditions.len() < 2 && conditions.iter().all(has_one_item)
}

/// The function `append_one` judges them, and where it may not be called, `append` does, which has
/// statements of its own for a single tag.
#[test]
fn single_requests_are_judged_as_in_memory() {
    let Some(server) = server() else { return };
    let stores = [(), ()].map(|()| PostgresStore::open(&server.uri(), &own_schema()).unwrap());
    let oracle = MemoryStore::new();
    stores[1].target.do_without_append_one();
    let of_tag = (0..4_u8).prop_map(|tag| vec![(Vec::new(), vec![tag])]);
    let condition = (prop_oneof![of_tag, items()], -1..6_i64);
    let id = prop_oneof![2 => Just(None), 1 => (0..60_u8).prop_map(Some)];
    let request = (event(), 1..3_usize, id, proptest::option::weighted(0.9, condition));
    for_all(1_000, &request, |(event, count, id, condition)| {
        let head = oracle.head(&call()).unwrap().get();
        let condition = condition
            .map(|(items, behind)| AppendCondition::new(query(&items), at((head - behind).max(0))));
        let events = (0..count).map(|place| {
            let id = id.map(|id| format!("{}", usize::from(id) + place));
            built(&event, id.as_deref())
        });
        let request = AppendRequest::new(events.collect(), Vec::from_iter(condition)).unwrap();
        let expected = oracle.append(request.clone(), &call());
        for (store, may_be_single) in stores.iter().zip([true, false]) {
            let prepared = PreparedAppend::new(request.clone(), call().start(None)).unwrap();
            let (_, planned) = plan_call(&mut [prepared], 1, may_be_single, 1, |_| [0; 16]);
            let is_call_of_one = matches!(planned, Call::Single(_));
            assert_eq!(is_call_of_one, may_be_single && is_single(&request), "{request:?}");
            assert_eq!(store.append(request.clone(), &call()), expected, "{request:?}");
        }
    });
    for (store, has_append_one) in stores.iter().zip([true, false]) {
        assert_eq!(store.target.has_append_one(), has_append_one);
        assert_eq!(all_events(store), all_events(&oracle));
    }
}

/// A schema that an earlier version created lacks the function, and a role may have been granted the
/// others alone.
#[test]
fn where_the_function_for_one_event_may_not_be_called_the_other_appends_it() {
    let Some(mut server) = server() else { return };
    let options = own_schema();
    let owner = PostgresStore::open(&server.uri(), &options).unwrap();
    let schema = owner.target.sql.schema.clone();
    server.sql("create role lesser login");
    for grant in [
        "usage on schema ~",
        "select on all tables in schema ~",
        "execute on function ~.append, ~.resolve",
    ] {
        server.sql(&format!("grant {} to lesser", grant.replace('~', &schema)));
    }
    let uri = server.uri().replace("user=dcb", "user=lesser");
    let lesser = PostgresStore::open(&uri, &Options { create: false, ..options }).unwrap();
    let append = |store: &PostgresStore, last: i64| {
        let request = AppendRequest::new(vec![built(&(0, vec![0], 0), None)], Vec::new()).unwrap();
        assert_eq!(store.append(request, &call()).map(|appended| appended.last), Ok(at(last)));
        store.target.has_append_one()
    };
    assert!(append(&owner, 1));
    assert!(!append(&lesser, 2));
    server.sql(&format!("drop function {schema}.append_one"));
    assert!(!append(&owner, 3));
    assert!(!append(&lesser, 4));
    assert_eq!(all_events(&owner).1, 4);
}

#[test]
fn given_timestamps_are_kept_by_a_store_for_imports_alone() {
    let Some(server) = server() else { return };
    let options = Options { import: true, ..own_schema() };
    let store = PostgresStore::open(&server.uri(), &options).unwrap();
    let timed = |micros: Option<i64>| {
        let mut event = EventBuilder::new(EventType::new("A").unwrap());
        micros.into_iter().for_each(|micros| event.timestamp_us(micros).unwrap());
        event.build()
    };
    // The first and the last microsecond that JSON can name, and one before 2000.
    let given = [-62_135_596_800_000_000, 253_402_300_799_999_999, 951_782_399_000_001];
    let events = [Some(given[0]), None, Some(given[1]), Some(given[2])].map(timed);
    store.append(AppendRequest::new(events.into(), Vec::new()).unwrap(), &call()).unwrap();
    let (events, _) = store.read_all(ReadRequest::default(), &call()).unwrap();
    let times: Vec<i64> = events.iter().map(|event| event.timestamp_us).collect();
    assert_eq!([times[0], times[2], times[3]], given);
    assert!(times[1] > 1_700_000_000_000_000, "the server's own time is {}", times[1]);

    let other = PostgresStore::open(&server.uri(), &Options { import: false, ..options }).unwrap();
    let request = AppendRequest::new(vec![timed(None), timed(Some(7))], Vec::new()).unwrap();
    let refused = other.append(request, &call()).unwrap_err();
    assert_eq!(refused.status, crate::Status::InvalidArgument);
    assert!(refused.message.starts_with("events[1].timestamp: "), "{refused}");
    assert_eq!(other.head(&call()), Ok(at(4)));
}

#[test]
fn a_read_returns_what_the_store_in_memory_returns() {
    let Some(server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let oracle = MemoryStore::new();
    for group in 0..40_u8 {
        let tags = |of: u8| (0..4).filter(|tag| of >> tag & 1 == 1).collect::<Vec<u8>>();
        let events = (0..5).map(|place: u8| {
            built(&((group + place) % 3, tags(group.wrapping_mul(7) ^ place), place % 3), None)
        });
        let request = AppendRequest::new(events.collect(), Vec::new()).unwrap();
        oracle.append(request.clone(), &call()).unwrap();
        store.append(request, &call()).unwrap();
    }
    // Many items, as well as few, which another statement looks up.
    let many = prop_oneof![
        4 => items(),
        1 => vec((vec(0..3_u8, 0..2), vec(0..4_u8, 1..4)), 33..40),
        1 => vec((vec(0..3_u8, 1..3), vec(0..4_u8, 0..2)), 33..40),
    ];
    let bound = || prop_oneof![Just(None), (0..220_i64).prop_map(Some)];
    let limit = prop_oneof![Just(None), (0..12_u64).prop_map(Some)];
    let requests = (many, 0..210_i64, bound(), limit, any::<bool>(), 1..9_usize);
    for_all(2_000, &requests, |(items, after, before, limit, backwards, max_events)| {
        let direction = Direction::from_backwards(backwards);
        let (after, before) = (at(after), before.map(at));
        let request = ReadRequest::new(query(&items), after, before, limit, direction);
        for max_events in [max_events, usize::MAX] {
            let batch = BatchLimits { max_events, max_bytes: usize::MAX };
            assert_eq!(read(&store, &request, batch), read(&oracle, &request, batch));
        }
    });
}

/// The text form of a value is the same value to the server as its binary form.
#[test]
fn the_text_form_of_values_is_what_the_server_reads_as_the_same() {
    let Some(server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let deadline = call().start(None);
    let mut connection = store.target.connect_to_write(&deadline).unwrap();
    let sql = "SELECT $1 = $6::text::integer, $2 = $7::text::bigint[], \
               $3 IS NOT DISTINCT FROM $8::text::text[], $4 = $9::text::uuid[], \
               $5 IS NOT DISTINCT FROM $10::text::timestamptz[]";
    let texts = vec(proptest::option::of("[a\"\\\\{},' \n\u{e9}NUL]{0,6}"), 0..4);
    let times =
        vec(proptest::option::of(-60_000_000_000_000_000..200_000_000_000_000_000_i64), 0..3);
    let values = (any::<i32>(), vec(0..i64::MAX, 0..3), texts, vec(any::<[u8; 16]>(), 0..3), times);
    let mut runner = TestRunner::new(Config::with_cases(cases(4_096)));
    let connection = std::cell::RefCell::new(&mut connection);
    runner
        .run(&values, |(int, positions, texts, uuids, times)| {
            let mut values = Values::new();
            let positions: Vec<_> = positions.into_iter().map(at).collect();
            let texts: Vec<_> = texts.iter().map(Option::as_deref).collect();
            values.int(int).positions(&positions).optional_texts(&texts).uuids(&uuids);
            values.optional_times(&times);
            for text in text_form(&values).unwrap() {
                values.text(&text);
            }
            let rows = connection.borrow_mut().query(sql, &values, &deadline).unwrap();
            for column in 0..5 {
                prop_assert!(rows[0].boolean(column).unwrap(), "column {}", column);
            }
            Ok(())
        })
        .unwrap();
}
