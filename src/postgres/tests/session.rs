//! Whose session a connection has, with a pooler in between and without, and what a session keeps.

use crate::domain::{
    AppendRequest, Direction, EventBuilder, EventType, EventView, ReadRequest, ReadState,
};
use crate::memory::MemoryStore;
use crate::position::at;
use crate::postgres::PostgresStore;
use crate::postgres::connection::Connection;
use crate::postgres::failure::Failure;
use crate::postgres::group::{PreparedAppend, plan};
use crate::postgres::prepared::Planning;
use crate::postgres::tests::cluster::Cluster;
use crate::postgres::tests::{Item, all_events, built, call, own_schema, query, read, server};
use crate::postgres::values::Values;
use crate::store::{BatchLimits, Store};

/// Returns whether the connections of a store have sessions of their own.
fn have_own_sessions(server: &Cluster) -> bool {
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let deadline = call().start(None);
    let open = |_| store.target.connect_to_read(&deadline).unwrap();
    let connections: Vec<_> = (0..5).map(open).collect();
    let own = connections.iter().filter(|connection| connection.has_own_session()).count();
    assert!(own == 0 || own == connections.len(), "{own} of {}", connections.len());
    own > 0
}

#[test]
fn a_connection_has_a_session_of_its_own_unless_a_pooler_is_in_between() {
    let Some(server) = server() else { return };
    assert!(have_own_sessions(&server));
    let Some(server) = Cluster::behind_pooler() else { return };
    assert!(!have_own_sessions(&server));
}

/// Runs `run` on the connection that a store reads by.
fn on_reader<T>(
    store: &PostgresStore,
    mut run: impl FnMut(&mut Connection) -> Result<T, Failure>,
) -> T {
    let deadline = call().start(None);
    store.pool.read(&store.target, &deadline, |connection, _| run(connection)).unwrap()
}

fn execute(store: &PostgresStore, sql: &str) {
    on_reader(store, |connection| connection.execute(sql, &call().start(None)));
}

/// Returns what the session that a store reads by has prepared, as `column` of
/// `pg_prepared_statements`, in order of the texts.
fn prepared(store: &PostgresStore, column: &str) -> Vec<String> {
    let sql = format!(
        "SELECT ({column})::text FROM pg_prepared_statements WHERE name <> '' ORDER BY statement"
    );
    let rows = on_reader(store, |own| own.query(&sql, &Values::new(), &call().start(None)));
    rows.iter().map(|row| row.text(0).unwrap().to_owned()).collect()
}

fn append(stores: &[&dyn Store], events: Vec<crate::Event>) {
    for store in stores {
        let request = AppendRequest::new(events.clone(), Vec::new()).unwrap();
        store.append(request, &call()).unwrap();
    }
}

/// Queries of every kind whose plans are kept, and one whose plan is not.
fn queries() -> Vec<Vec<Item>> {
    vec![
        vec![],
        vec![(vec![], vec![0])],
        vec![(vec![1], vec![0]), (vec![2], vec![3])],
        vec![(vec![0, 1], vec![])],
        vec![(vec![2], vec![]), (vec![], vec![1])],
        vec![(vec![], vec![0, 3])],
    ]
}

fn check(store: &dyn Store, oracle: &dyn Store) {
    for items in queries() {
        for (direction, limit) in [
            (Direction::Forward, None),
            (Direction::Backward, Some(7)),
            (Direction::Forward, Some(3)),
        ] {
            let request = ReadRequest::new(query(&items), at(2), None, limit, direction);
            let (own, expected) =
                (read(store, &request, BatchLimits::ALL), read(oracle, &request, BatchLimits::ALL));
            assert_eq!(own, expected, "{items:?} {direction:?}");
        }
    }
}

/// A plan is made once, at a time when the tables are empty, and has to be right for a tag that
/// nearly every event has as well as for a rare one.
#[test]
fn a_plan_that_was_made_on_empty_tables_uses_indexes_when_they_are_full() {
    let Some(mut server) = server() else { return };
    server.sql("alter system set autovacuum = off");
    server.sql("select pg_reload_conf()");
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let oracle = MemoryStore::new();
    check(&store, &oracle);
    // Tag 0 and type 0 are on all events but every hundredth.
    for _ in 0..20 {
        let events = (0..500_u16).map(|number| match number % 100 {
            0 => built(&(1, vec![3], 1), None),
            1 => built(&(2, vec![0, 3], 1), None),
            _ => built(&(0, vec![0], 1), None),
        });
        append(&[&store, &oracle], events.collect());
    }
    check(&store, &oracle);
    // The plan of a query with several tags is made each time, and the session has no name for it.
    let statements = prepared(&store, "statement");
    assert!(statements.iter().any(|statement| statement.contains("event_tags")));
    let several = format!("JOIN \"{}\".event_tags", store.target.sql.schema);
    assert!(!statements.iter().any(|statement| statement.contains(&several)));
    for custom in prepared(&store, "custom_plans") {
        assert_eq!(custom, "0");
    }
    for (name, types) in prepared(&store, "name").iter().zip(prepared(&store, "parameter_types")) {
        let nulls = vec!["NULL"; types.split(',').count()].join(", ");
        let explain = format!("EXPLAIN EXECUTE {name}({nulls})");
        let plan =
            on_reader(&store, |own| own.query(&explain, &Values::new(), &call().start(None)));
        let plan: Vec<_> = plan.iter().map(|row| row.text(0).unwrap().trim()).collect();
        assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{plan:#?}");
        // A list of a tag or a type is a range of its index, and is not filtered out of another.
        for line in plan.iter().filter(|line| line.starts_with("Index Cond: ")) {
            assert!(line.contains("position"), "{line} in {plan:#?}");
        }
        for line in plan.iter().filter(|line| line.starts_with("Filter: ")) {
            assert!(!line.contains("tag =") && !line.contains("type = $"), "{line} in {plan:#?}");
        }
    }
}

#[test]
fn a_statement_is_prepared_again_after_its_columns_were_changed() {
    let Some(mut server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let oracle = MemoryStore::new();
    let event = || built(&(0, vec![0], 1), None);
    append(&[&store, &oracle], vec![event(); 9]);
    check(&store, &oracle);
    let schema = &store.target.sql.schema;
    for change in [
        "alter table ~.events alter column data type varchar",
        "alter table ~.events add column more integer default 7",
        "alter table ~.events alter column data type text",
        "drop index ~.events_type",
        "analyze",
    ] {
        server.sql(&change.replace('~', schema));
        check(&store, &oracle);
        append(&[&store, &oracle], vec![event()]);
        check(&store, &oracle);
        assert!(on_reader(&store, |own| Ok(own.has_own_session())));
    }
    assert_eq!(all_events(&store), all_events(&oracle));
}

#[test]
fn a_session_that_has_lost_its_statements_is_not_taken_for_an_own_one_any_more() {
    let Some(server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let oracle = MemoryStore::new();
    append(&[&store, &oracle], vec![built(&(0, vec![0], 1), None); 9]);
    check(&store, &oracle);
    assert!(!prepared(&store, "name").is_empty());
    execute(&store, "DISCARD ALL");
    check(&store, &oracle);
    assert!(!on_reader(&store, |own| Ok(own.has_own_session())));
    assert!(prepared(&store, "name").is_empty());
}

/// The statement is refused before it does anything, and then runs once.
#[test]
fn an_append_whose_statement_is_gone_is_stored_once() {
    let Some(server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let deadline = call().start(None);
    let mut connection = store.target.connect_to_write(&deadline).unwrap();
    let append = |connection: &mut Connection, number: u8, read_committed| {
        let request = AppendRequest::new(vec![built(&(0, vec![0], 0), None)], Vec::new()).unwrap();
        let prepared = PreparedAppend::new(request, deadline.clone()).unwrap();
        let (_, values) = plan(&mut [prepared], 1, 1_000, |_| [number; 16]);
        let sql = &store.target.sql.append;
        let rows = if read_committed {
            connection.query_read_committed(sql, &values, &deadline)
        } else {
            connection.query_planned(sql, Planning::Kept, &values, &deadline)
        };
        rows.unwrap().iter().map(|row| row.bigint(2).unwrap()).max().unwrap()
    };
    let mut last = 0;
    for read_committed in [false, true] {
        for lost in [false, true] {
            last += 1;
            assert_eq!(append(&mut connection, last, read_committed), i64::from(last));
            assert!(connection.has_own_session());
            if lost {
                connection.execute("DEALLOCATE ALL", &deadline).unwrap();
                last += 1;
                assert_eq!(append(&mut connection, last, read_committed), i64::from(last));
                assert!(!connection.has_own_session());
                connection.believe_in_own_session();
            }
        }
    }
    assert_eq!(store.head(&call()), Ok(at(i64::from(last))));
}

/// A pooler that gives a connection another session although it seemed to be its own, as often as
/// the connection is fooled again.
#[test]
fn sessions_that_change_hands_unnoticed_give_no_wrong_answer() {
    let Some(server) = Cluster::behind_pooler() else { return };
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let oracle = MemoryStore::new();
    for number in 0..40_u8 {
        append(&[&store, &oracle], vec![built(&(number % 3, vec![number % 4], 1), None)]);
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..8 {
                    on_reader(&store, |own| {
                        own.believe_in_own_session();
                        Ok(())
                    });
                    check(&store, &oracle);
                }
            });
        }
    });
}

/// Where events are known to be short, a page is not bounded by their bytes. If they turn out to be
/// long, the page ends all the same, and the read goes on after it.
#[test]
fn a_read_returns_long_events_that_come_after_short_ones() {
    let Some(server) = server() else { return };
    let options = own_schema();
    let [store, other] = [(), ()].map(|()| PostgresStore::open(&server.uri(), &options).unwrap());
    append(&[&other], vec![built(&(0, vec![0], 0), None); 3]);
    let count = || {
        let (mut reading, mut lengths) = (ReadState::new(ReadRequest::default()), Vec::new());
        while !reading.has_begun() || reading.span().is_some() {
            let mut sink = |view: &EventView<'_>| {
                lengths.push(view.data.len());
                Ok(())
            };
            store.read(&mut reading, BatchLimits::ALL, &call(), &mut sink).unwrap();
        }
        lengths
    };
    assert_eq!(count(), [4; 3]);
    let mut long = EventBuilder::new(EventType::new("A").unwrap());
    let data = format!("\"{}\"", "x".repeat(3_000_000));
    long.data(&data).unwrap();
    let long = long.build();
    for _ in 0..15 {
        append(&[&other], vec![long.clone()]);
    }
    let expected: Vec<usize> = [4; 3].into_iter().chain([3_000_002; 15]).collect();
    for _ in 0..2 {
        assert_eq!(count(), expected);
    }
    // The connection of the first page was given up, that of the later ones is there.
    assert!(on_reader(&store, |own| Ok(own.is_usable())));
}
