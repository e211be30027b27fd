//! What keeps a store correct: the order of commits, the primary key, and what a session may not change.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::commit::deadline::{CallOptions, Timeout};
use crate::domain::{
    AppendCondition, AppendRequest, Direction, EventBuilder, EventType, EventView, Query,
    QueryItem, ReadRequest, ReadState, Tag,
};
use crate::ends::Ends;
use crate::error::Status;
use crate::position::at;
use crate::postgres::PostgresStore;
use crate::postgres::append::group_id;
use crate::postgres::group::{PreparedAppend, plan};
use crate::postgres::tests::cluster::Cluster;
use crate::postgres::tests::{built, call, cases, own_schema, query, read, server};
use crate::store::options::Options;
use crate::store::{Appended, BatchLimits, Store};

#[test]
fn a_reader_that_goes_on_from_the_last_position_misses_nothing() {
    let Some(server) = server() else { return };
    let options = own_schema();
    let [writer, reader] = [(), ()].map(|()| PostgresStore::open(&server.uri(), &options).unwrap());
    let rounds = if cases(10) == 1 { 150 } else { 3_000 };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ends = Ends(&done);
            for _ in 0..rounds {
                let event = built(&(0, vec![0], 0), None);
                let request = AppendRequest::new(vec![event], Vec::new()).unwrap();
                writer.append(request, &call()).unwrap();
            }
        });
        let (mut seen, mut position) = (0, 0);
        loop {
            // In this order, so that the last read sees everything.
            let is_last = done.load(Ordering::SeqCst);
            let only = query(&[(vec![], vec![0])]);
            let request = ReadRequest::new(only, at(position), None, None, Direction::Forward);
            let (events, reached) = read(&reader, &request, BatchLimits::ALL).unwrap();
            seen += events.len();
            position = reached;
            assert_eq!(seen as i64, position);
            if is_last {
                break;
            }
        }
        assert_eq!(seen, rounds);
    });
    let rounds = rounds as i64;
    assert_eq!(reader.wait(at(rounds - 1), &call()), Ok(at(rounds)));
}

/// Claims slots from several threads of two stores, each slot on condition that it is free. Changes
/// the functions that append before, and makes them slower in the middle. Returns how many claims were
/// accepted for the slots, and how many there are.
fn claim_with(server: &Cluster, changes: &[(&str, &str)], and_then: &str) -> (usize, usize) {
    const SLOTS: usize = 12;
    let options = own_schema();
    let stores = [(), ()].map(|()| PostgresStore::open(&server.uri(), &options).unwrap());
    let schema = &stores[0].target.sql.schema;
    let deadline = call().start(None);
    let mut connection = stores[0].target.connect_to_write(&deadline).unwrap();
    for name in ["append", "append_one"] {
        let mut function =
            server.query(&format!("select pg_get_functiondef('{schema}.{name}'::regproc)"));
        let pause = (BEFORE_INSERT, "PERFORM pg_sleep(0.005); v_next := v_head");
        for (from, to) in changes.iter().chain([&pause]) {
            assert!(function.contains(from), "{from}");
            function = function.replace(from, to);
        }
        connection.execute(&function, &deadline).unwrap();
    }
    connection.execute(&and_then.replace('~', schema), &deadline).unwrap();
    let accepted = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for store in stores.iter().chain(&stores) {
            let accepted = &accepted;
            scope.spawn(move || {
                for slot in 0..SLOTS {
                    let tag = format!("slot:{slot}");
                    let mut item = QueryItem::new();
                    item.and_tag(Tag::new(&tag).unwrap()).unwrap();
                    let mut event = EventBuilder::new(EventType::new("Claimed").unwrap());
                    event.tag(Tag::new(&tag).unwrap()).unwrap();
                    let free = AppendCondition::new(Query::of(vec![item]).unwrap(), at(0));
                    let request = AppendRequest::new(vec![event.build()], vec![free]).unwrap();
                    match store.append(request, &call()) {
                        Ok(_) => {
                            accepted.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => assert_eq!(error.status, Status::ConditionFailed, "{error}"),
                    }
                }
            });
        }
    });
    (accepted.into_inner() as usize, SLOTS)
}

/// What both functions have between the conditions and the insert.
const BEFORE_INSERT: &str = "v_next := v_head";
const WITHOUT_LOCK: (&str, &str) = ("WHERE one = 1 FOR UPDATE;", "WHERE one = 1;");

#[test]
fn the_primary_key_keeps_appends_correct_without_the_lock() {
    let Some(server) = server() else { return };
    let (accepted, slots) = claim_with(&server, &[WITHOUT_LOCK], "");
    assert_eq!(accepted, slots);
}

#[test]
fn without_lock_and_primary_key_slots_are_claimed_twice() {
    let Some(server) = server() else { return };
    let drop = "ALTER TABLE \"~\".events DROP CONSTRAINT events_pkey; \
                ALTER TABLE \"~\".event_tags DROP CONSTRAINT event_tags_pkey; \
                CREATE INDEX ON \"~\".events (position); CREATE INDEX ON \"~\".event_tags (tag, position)";
    let (accepted, slots) = claim_with(&server, &[WITHOUT_LOCK], drop);
    assert!(accepted > slots, "{accepted} of {slots}");
}

#[test]
fn another_isolation_level_by_default_changes_nothing() {
    let Some(mut server) = server() else { return };
    for level in ["repeatable read", "serializable"] {
        server.sql(&format!("alter role dcb set default_transaction_isolation = '{level}'"));
        let (accepted, slots) = claim_with(&server, &[], "");
        assert_eq!(accepted, slots, "{level}");
    }
}

#[test]
fn a_commit_is_synchronous_whatever_the_session_says() {
    let Some(mut server) = server() else { return };
    server.sql("alter role dcb set synchronous_commit = off");
    let check = format!(
        "IF current_setting('synchronous_commit') <> 'on' THEN RAISE 'off'; END IF; {BEFORE_INSERT}"
    );
    let changes = [(BEFORE_INSERT, check.as_str())];
    let (accepted, slots) = claim_with(&server, &changes, "");
    assert_eq!(accepted, slots);
}

#[test]
fn a_history_that_was_rewound_is_an_error() {
    let Some(mut server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &Options::default()).unwrap();
    let request = || AppendRequest::new(vec![built(&(0, vec![0], 0), None)], Vec::new()).unwrap();
    for last in 1..=3 {
        assert_eq!(store.append(request(), &call()).map(|appended| appended.last), Ok(at(last)));
    }
    // As if a standby had taken over that had not received the last two.
    for statement in [
        "set session_replication_role = replica; delete from dcb.events where position > 1",
        "set session_replication_role = replica; delete from dcb.event_tags where position > 1",
    ] {
        server.sql(statement);
    }
    let errors = [
        store.head(&call()).unwrap_err(),
        read(&store, &ReadRequest::default(), BatchLimits::ALL).unwrap_err(),
        store.wait(at(3), &call()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.status, Status::Corrupt, "{error}");
        assert!(error.message.contains("the history of the store was rewound"), "{error}");
        assert_eq!(error.detail, 22_409_139, "{error}");
    }
    // Others give the positions to other events, and go on beyond them.
    let other = PostgresStore::open(&server.uri(), &Options::default()).unwrap();
    for last in 2..=4 {
        assert_eq!(other.append(request(), &call()).map(|appended| appended.last), Ok(at(last)));
    }
    for error in [store.head(&call()).unwrap_err(), store.wait(at(3), &call()).unwrap_err()] {
        assert_eq!(error.status, Status::Corrupt, "{error}");
        assert!(error.message.contains("there is another event at position 3"), "{error}");
    }
    store.close();
    let store = PostgresStore::open(&server.uri(), &Options::default()).unwrap();
    assert_eq!(store.head(&call()), Ok(at(4)));
}

/// A standby that is promoted between the snapshot of a statement and its answer says of the older
/// snapshot that it follows no other server.
#[test]
fn a_server_that_was_promoted_meanwhile_has_rewound_nothing() {
    let Some(mut server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &Options::default()).unwrap();
    let request = || AppendRequest::new(vec![built(&(0, vec![0], 0), None)], Vec::new()).unwrap();
    for _ in 0..3 {
        store.append(request(), &call()).unwrap();
    }
    for statement in [
        "create table newest as select * from dcb.events where position > 2",
        "create schema standby",
        "grant usage on schema standby to dcb",
        // The statement that calls it does not see what it does.
        "create function standby.pg_is_in_recovery() returns boolean language plpgsql security \
         definer as $$ begin insert into dcb.events select * from public.newest on conflict do \
         nothing; return false; end $$",
        "alter role dcb set search_path = standby, pg_catalog",
    ] {
        server.sql(statement);
    }
    let fall_behind = |server: &mut Cluster| {
        server.sql(
            "set session_replication_role = replica; delete from dcb.events where position > 2",
        );
    };
    let end_sessions =
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'dcb'";
    server.query(end_sessions);
    // By a new connection, and by one that is there already.
    for _ in 0..2 {
        fall_behind(&mut server);
        assert_eq!(store.head(&call()), Ok(at(3)));
        fall_behind(&mut server);
        let newest = ReadRequest::new(Query::all(), at(2), None, None, Direction::Forward);
        assert_eq!(store.read_all(newest, &call()).unwrap().1, at(3));
    }
}

/// A commit that nobody but the primary has is lost in a failover. The server says so in a warning.
#[test]
fn an_append_whose_wait_for_a_standby_was_ended_is_not_acknowledged() {
    let Some(mut server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &Options::default()).unwrap();
    let request = || AppendRequest::new(vec![built(&(0, vec![0], 0), None)], Vec::new()).unwrap();
    assert!(store.append(request(), &call()).is_ok());
    server.sql("alter system set synchronous_standby_names = 'nobody'");
    server.sql("select pg_reload_conf()");
    let waiting =
        "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
    std::thread::scope(|scope| {
        let append = scope.spawn(|| {
            let brief = CallOptions { timeout: Timeout::After(Duration::ZERO), cancel: None };
            store.append(request(), &brief)
        });
        // Whoever finds out what has become of the append waits for the standby, too.
        while !append.is_finished() {
            server.query(waiting);
            std::thread::sleep(Duration::from_millis(10));
        }
        let error = append.join().unwrap().unwrap_err();
        assert_eq!(error.status, Status::Unavailable, "{error}");
    });
    server.sql("alter system reset synchronous_standby_names");
    server.sql("select pg_reload_conf()");
    assert_eq!(store.append(request(), &call()).map(|appended| appended.last), Ok(at(3)));
}

/// An append that nobody but the primary has can be seen there once its wait for a standby was ended. A
/// refusal that rests on it waits until the standby has it, and so does the answer that it is a repetition.
#[test]
fn a_refusal_waits_for_the_standby_to_have_what_it_rests_on() {
    let Some(mut server) = server() else { return };
    let uri = server.uri();
    let store = PostgresStore::open(&uri, &Options::default()).unwrap();
    let events = || vec![built(&(0, vec![0], 0), Some("same"))];
    let standby = |server: &mut Cluster, setting: &str| {
        server.sql(&format!("alter system {setting}"));
        server.sql("select pg_reload_conf()");
    };
    let waiting = "from pg_stat_activity where wait_event = 'SyncRep'";
    let condition = AppendCondition::new(Query::all(), at(0));
    let refused = AppendRequest::new(vec![built(&(1, vec![], 0), None)], vec![condition]).unwrap();
    let repeated = AppendRequest::new(events(), Vec::new()).unwrap();
    for request in [refused, repeated.clone()] {
        let answer = std::thread::scope(|scope| {
            standby(&mut server, "set synchronous_standby_names = 'nobody'");
            // An append whose session ends while it waits, and about which nobody asks.
            let deadline = call().start(None);
            let mut alone = store.target.connect_to_write(&deadline).unwrap();
            let mut first = vec![PreparedAppend::new(repeated.clone(), deadline.clone()).unwrap()];
            let (_, values) = plan(&mut first, 1, 0, |_| group_id());
            let sql = &store.target.sql.append;
            let append = scope.spawn(move || alone.query(sql, &values, &deadline).map(drop));
            while server.query(&format!("select count(*) {waiting}")) == "0" {
                std::thread::sleep(Duration::from_millis(5));
            }
            server.query(&format!("select pg_terminate_backend(pid) {waiting}"));
            append.join().unwrap().unwrap_err();
            assert_eq!(store.head(&call()), Ok(at(1)), "it can be seen");

            let own = scope.spawn(|| store.append(request, &call()));
            while server.query(&format!("select count(*) {waiting}")) == "0" {
                assert!(!own.is_finished(), "it did not wait: {:?}", own.join());
            }
            standby(&mut server, "reset synchronous_standby_names");
            own.join().unwrap()
        });
        match answer {
            Err(error) => {
                assert_eq!((error.status, error.position), (Status::ConditionFailed, at(1)))
            }
            repeated => assert_eq!(repeated, Ok(Appended::repeated(at(1)))),
        }
    }
}

/// The connections of a store may lead to standbys of which one is behind another.
#[test]
fn a_read_does_not_end_where_another_standby_ends() {
    let Some(mut server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &Options::default()).unwrap();
    for _ in 0..3 {
        let request = AppendRequest::new(vec![built(&(0, vec![0], 0), None)], Vec::new()).unwrap();
        store.append(request, &call()).unwrap();
    }
    // A server that says that it follows another.
    for statement in [
        "create schema standby",
        "create function standby.pg_is_in_recovery() returns boolean return true",
        "grant usage on schema standby to dcb",
        "alter role dcb set search_path = standby, pg_catalog",
        "create table newest as select * from dcb.events where position > 2",
    ] {
        server.sql(statement);
    }
    let standby =
        PostgresStore::open(&server.uri(), &Options { read_only: true, ..Options::default() })
            .unwrap();
    let without_trigger = "set session_replication_role = replica;";
    for direction in [Direction::Forward, Direction::Backward] {
        let mut reading =
            ReadState::new(ReadRequest::new(Query::all(), at(0), None, None, direction));
        let mut positions = Vec::new();
        let mut read = |reading: &mut ReadState, max_events, patience| {
            let brief = CallOptions { timeout: Timeout::After(patience), cancel: None };
            let batch = BatchLimits { max_events, ..BatchLimits::ALL };
            let mut sink = |view: &EventView<'_>| {
                positions.push(view.position.get());
                Ok(())
            };
            standby.read(reading, batch, &brief, &mut sink)
        };
        let is_forward = direction == Direction::Forward;
        // The snapshot is taken, and a backward read has nothing yet.
        if is_forward {
            read(&mut reading, 1, Duration::from_secs(60)).unwrap();
        } else {
            reading.begin(standby.head(&call()).unwrap());
        }
        server.sql(&format!("{without_trigger} delete from dcb.events where position > 2"));
        let error = read(&mut reading, 9, Duration::from_millis(30)).unwrap_err();
        assert_eq!(error.status, Status::Busy, "{error}");
        assert!(reading.span().is_some(), "the read has ended");
        // What the store has seen once, no call denies.
        let now = CallOptions { timeout: Timeout::After(Duration::ZERO), cancel: None };
        let later = ReadRequest::new(Query::all(), at(0), None, None, direction);
        assert_eq!(standby.head(&now), Ok(at(3)));
        assert_eq!(standby.read_all(later, &now).unwrap_err().status, Status::Busy);
        // It looks for the primary, which it does not find, and not at every turn.
        let sessions = || -> u32 {
            let query = "select sessions from pg_stat_database where datname = 'dcb'";
            server.query(query).parse().unwrap()
        };
        let before = sessions();
        read(&mut reading, 9, Duration::from_millis(500)).unwrap_err();
        let opened = sessions() - before;
        assert!(opened < 8, "{opened} connections for one read");
        let earlier = ReadRequest::new(Query::all(), at(0), Some(at(3)), None, direction);
        assert_eq!(standby.read_all(earlier, &now).unwrap().1, at(2));
        server.sql(&format!("{without_trigger} insert into dcb.events select * from newest"));
        read(&mut reading, 9, Duration::from_secs(60)).unwrap();
        assert_eq!((reading.span(), reading.position()), (None, at(3)));
        assert_eq!(positions, if is_forward { [1, 2, 3] } else { [3, 2, 1] });
    }
}
