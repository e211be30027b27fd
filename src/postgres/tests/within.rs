//! Appends in transactions of the program's, here of a connection of the test's.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{all_events, call, for_all, own_schema, request, server};
use crate::Status;
use crate::commit::deadline::Deadline;
use crate::domain::{AppendRequest, EventBuilder, EventType};
use crate::memory::MemoryStore;
use crate::postgres::PostgresStore;
use crate::postgres::connection::Connection;
use crate::postgres::failure::Failure;
use crate::postgres::history::is_rewound;
use crate::postgres::values::Values;
use crate::store::{ProgramTransaction, Store, TransactionFailure};

/// A connection as the driver of a program.
struct Driver {
    connection: Connection,
    deadline: Deadline,
}

impl Driver {
    fn run(&mut self, sql: &str) {
        self.connection.execute(sql, &self.deadline).unwrap();
    }
}

impl ProgramTransaction for Driver {
    fn query(
        &mut self,
        sql: &str,
        values: Vec<String>,
    ) -> std::result::Result<Option<String>, TransactionFailure> {
        let mut texts = Values::new();
        for value in &values {
            texts.text(value);
        }
        // As text, the parameters are cast, as those of any driver that sends texts.
        let sql = (1..=values.len()).rev().fold(sql.to_owned(), |sql, number| {
            sql.replace(&format!("${number}::"), &format!("${number}::text::"))
        });
        match self.connection.query(&sql, &texts, &self.deadline) {
            Ok(rows) => Ok(rows[0].optional_text(0).unwrap().map(str::to_owned)),
            Err(Failure::Refused(refusal)) => {
                let sqlstate = i32::from_str_radix(&refusal.code, 36).unwrap();
                Err(TransactionFailure { sqlstate, message: refusal.message })
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn one_event(event_type: &str) -> AppendRequest {
    let event = EventBuilder::new(EventType::new(event_type).unwrap()).build();
    AppendRequest::new(vec![event], Vec::new()).unwrap()
}

/// Transactions of several requests, some of which are rolled back, do to each other and to the
/// store what the same requests do to the store in memory, without those that were rolled back.
#[test]
fn transactions_are_judged_as_their_requests_one_after_the_other_would_be() {
    let Some(server) = server() else { return };
    let transactions = vec((vec(request(), 1..4), any::<bool>(), any::<bool>()), 1..8);
    for_all(300, &transactions, |transactions: Vec<(Vec<AppendRequest>, bool, bool)>| {
        let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
        let oracle = MemoryStore::new();
        let deadline = call().start(None);
        let connection = store.target.connect_to_write(&deadline).unwrap();
        let mut driver = Driver { connection, deadline };
        for (requests, is_locked_before, is_committed) in transactions {
            driver.run("BEGIN");
            if is_locked_before {
                let head = store.append_within(&mut driver, None, &call()).unwrap().last;
                assert_eq!(Ok(head), oracle.head(&call()));
            }
            for request in requests {
                let answer = store.append_within(&mut driver, Some(request.clone()), &call());
                if is_committed {
                    assert_eq!(answer, oracle.append(request, &call()));
                }
            }
            driver.run(if is_committed { "COMMIT" } else { "ROLLBACK" });
            assert_eq!(store.head(&call()), oracle.head(&call()));
        }
        assert_eq!(all_events(&store), all_events(&oracle));
        store.close();
    });
}

/// The program's connection leads to a server that took over, while those of the store have not broken
/// yet. The condition came from a history that is gone.
#[test]
fn a_transaction_in_another_history_is_refused() {
    let Some(server) = server() else { return };
    let schema = own_schema();
    let store = PostgresStore::open(&server.uri(), &schema).unwrap();
    let deadline = call().start(None);
    let connection = store.target.connect_to_write(&deadline).unwrap();
    let mut driver = Driver { connection, deadline };
    let append =
        |store: &PostgresStore| store.append(one_event("A"), &call()).map(|done| done.last.get());
    assert_eq!([append(&store), append(&store)], [Ok(1), Ok(2)]);
    // From here on, the store needs no connection of its own for such an append.
    driver.run("BEGIN");
    store.append_within(&mut driver, None, &call()).unwrap();
    driver.run("COMMIT");
    let name = store.target.sql.schema.clone();
    driver.run(&format!("ALTER TABLE {name}.events DISABLE TRIGGER refuse_change"));
    let rewind = format!("DELETE FROM {name}.events WHERE position = 2");
    for is_taken_again in [false, true] {
        driver.run(&rewind);
        let other = PostgresStore::open(&server.uri(), &schema).unwrap();
        if is_taken_again {
            assert_eq!(append(&other), Ok(2));
        }
        for request in [Some(one_event("B")), None] {
            driver.run("BEGIN");
            let error = store.append_within(&mut driver, request, &call()).unwrap_err();
            assert!(is_rewound(&error), "{error}");
            driver.run("COMMIT");
        }
        // At another level the newest events are not to be seen in any case.
        driver.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        let error = store.append_within(&mut driver, Some(one_event("B")), &call()).unwrap_err();
        assert_eq!(error.status, Status::InvalidArgument, "{error}");
        driver.run("ROLLBACK");
        assert_eq!(other.head(&call()).unwrap().get(), 1 + i64::from(is_taken_again));
    }
}

/// A text is sent as UTF-8, and an absent one as NULL in an array.
#[test]
fn a_session_that_would_change_the_texts_is_refused() {
    let Some(server) = server() else { return };
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let deadline = call().start(None);
    let connection = store.target.connect_to_write(&deadline).unwrap();
    let mut driver = Driver { connection, deadline };
    let request = || one_event("Ä");
    let mut append = |setting: &str| {
        driver.run(&format!("BEGIN; SET LOCAL {setting}"));
        let answer = store.append_within(&mut driver, Some(request()), &call());
        driver.run("COMMIT");
        answer.map(|appended| appended.last.get()).map_err(|error| error.status)
    };
    assert_eq!(append("client_encoding TO latin1"), Err(Status::InvalidArgument));
    assert_eq!(append("array_nulls TO off"), Err(Status::InvalidArgument));
    assert_eq!(append("client_encoding TO sql_ascii"), Ok(1));
    let oracle = MemoryStore::new();
    oracle.append(request(), &call()).unwrap();
    assert_eq!(all_events(&store), all_events(&oracle));
}
