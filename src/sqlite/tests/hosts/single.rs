//! Appends of one statement in a caller's transaction, which need no savepoint.

use super::*;

/// Appends two events to a new store in two transactions. After that it expects what the next one sees.
fn expecting() -> Hosted {
    let hosted = Hosted::new(2, "wal");
    for n in 1..=2 {
        let mut transaction = begun(&hosted);
        assert_eq!(hosted.within(&mut transaction, vec![numbered(n)]), Ok(n as i64));
        commit(&hosted, transaction);
    }
    hosted
}

fn begun(hosted: &Hosted) -> Borrowed {
    let transaction = Borrowed::callers(hosted.pool.take());
    transaction.connection().execute_batch("BEGIN; INSERT INTO theirs VALUES (1)").unwrap();
    transaction
}

/// Commits, and returns whether that was possible.
fn commit(hosted: &Hosted, mut transaction: Borrowed) -> bool {
    let is_committed = transaction.connection().execute_batch("COMMIT").is_ok();
    hosted.pool.give_back(transaction.connection.take());
    is_committed
}

/// Appends an event, on the condition that there is none of its kind, and records what is run for it.
/// Each statement that begins with one of `fails` fails once.
fn recorded(
    hosted: &Hosted,
    transaction: &mut Borrowed,
    fails: Vec<(&'static str, i32)>,
) -> (Result<Appended>, Vec<String>) {
    let mut recorded = Vec::new();
    let failing = FailingConnection { of: transaction, fails, recorded: &mut recorded };
    let guard = AppendCondition::new(query(&["B"], &[]), at(0));
    let request = AppendRequest::new(vec![event("B", &[])], vec![guard]).unwrap();
    let answer = hosted.store.append_within(Box::new(failing), request, &brief());
    let verbs = recorded.iter().map(|sql| sql.split(' ').next().unwrap_or_default().to_owned());
    (answer, verbs.collect())
}

#[test]
fn an_append_that_sees_what_was_expected_is_four_statements() {
    let hosted = expecting();
    let mut transaction = begun(&hosted);
    let (answer, run) = recorded(&hosted, &mut transaction, vec![]);
    assert_eq!(answer, Ok(Appended::new(at(3))));
    assert_eq!(run, ["BEGIN", "UPDATE", "INSERT", "REPLACE"]);
    let (answer, run) = recorded(&hosted, &mut transaction, vec![]);
    assert_eq!(answer, Err(Error::condition_failed(at(3))));
    assert_eq!(run, ["BEGIN", "UPDATE"]);
    assert!(commit(&hosted, transaction));
    // The store's own appends are expected too.
    append_to(&hosted.store, vec![numbered(4)], None).unwrap();
    let mut transaction = begun(&hosted);
    assert_eq!(recorded(&hosted, &mut transaction, vec![]).1, ["BEGIN", "UPDATE"]);
    // Those of others are not. They are seen nevertheless.
    assert!(commit(&hosted, transaction));
    append_to(&*open(hosted.path()), vec![event("C", &[])], None).unwrap();
    let mut transaction = begun(&hosted);
    let guard = AppendCondition::new(query(&["C"], &[]), at(0));
    let request = AppendRequest::new(vec![event("C", &[])], vec![guard]).unwrap();
    let lent = Box::new(&mut transaction);
    let answer = hosted.store.append_within(lent, request, &brief());
    assert_eq!(answer, Err(Error::condition_failed(at(5))));
}

/// The mark only saves work: an append does not fail because it was not written.
#[test]
fn an_append_is_stored_without_its_mark() {
    let hosted = expecting();
    let mut transaction = begun(&hosted);
    let no_memory = rusqlite::ffi::SQLITE_NOMEM;
    let (answer, _) = recorded(&hosted, &mut transaction, vec![("REPLACE", no_memory)]);
    assert_eq!(answer, Ok(Appended::new(at(3))));
    assert_eq!(recorded(&hosted, &mut transaction, vec![]).0, Err(Error::condition_failed(at(3))));
    assert!(commit(&hosted, transaction));
    assert_eq!(found(&hosted.store, Query::all()), [1, 2, 3]);
}

#[test]
fn an_interrupted_append_of_one_statement_stores_all_or_nothing() {
    for interruption in [
        Interruption::EndedByHostBefore,
        Interruption::EndedByHostAfter,
        Interruption::EndedBySqlite,
        Interruption::Failed,
        Interruption::FailedAfter,
    ] {
        // One statement after the other, and at last none.
        for step in 0..=4 {
            let place = format!("{interruption:?} at {step}");
            let hosted = expecting();
            let mut transaction = begun(&hosted);
            let request = AppendRequest::new(vec![event("B", &[])], vec![]).unwrap();
            let lent = InterruptedConnection {
                of: &mut transaction,
                interruption,
                left: step,
                is_over: false,
            };
            let answer = hosted.store.append_within(Box::new(lent), request, &brief());
            transaction.rest.clear();
            let is_committed = commit(&hosted, transaction);
            assert!(answer.is_ok() || step < 4, "{place}: {answer:?}");
            let stored = if answer.is_ok() && is_committed { 3 } else { 2 };
            let all: Vec<i64> = (1..=stored).collect();
            assert_eq!(found(&hosted.store, Query::all()), all, "{place}");
            let sql = "SELECT count(*) FROM theirs";
            let theirs: i64 = hosted.pool.open().query_row(sql, [], |row| row.get(0)).unwrap();
            assert_eq!(theirs, 2 + i64::from(is_committed), "{place}");
            // What was lost is not remembered.
            let mut transaction = begun(&hosted);
            let (answer, _) = recorded(&hosted, &mut transaction, vec![]);
            let seen = (stored == 3).then_some(3);
            let expected = seen
                .map_or(Ok(Appended::new(at(3))), |first| Err(Error::condition_failed(at(first))));
            assert_eq!(answer, expected, "{place}");
        }
    }
}

/// A trigger may keep what it did before it refused the event. Nobody else can undo only that.
#[test]
fn what_a_trigger_did_before_it_refused_an_append_is_undone() {
    for (refusal, is_whole) in
        [("RAISE(ABORT, 'no')", false), ("RAISE(FAIL, 'no')", true), ("RAISE(IGNORE)", true)]
    {
        let hosted = expecting();
        let gate = format!(
            "CREATE TABLE noted (a); CREATE TRIGGER gate BEFORE INSERT ON dcb_events \
             BEGIN INSERT INTO noted VALUES (1); SELECT {refusal}; END"
        );
        hosted.pool.open().execute_batch(&gate).unwrap();
        let mut transaction = begun(&hosted);
        let (answer, _) = recorded(&hosted, &mut transaction, vec![]);
        let error = answer.unwrap_err();
        assert_eq!(error.status, Status::InvalidArgument, "{refusal}: {error}");
        assert_eq!(commit(&hosted, transaction), !is_whole, "{refusal}");
        let noted = "SELECT (SELECT count(*) FROM noted) + (SELECT count(*) FROM dcb_events)";
        let count: i64 = hosted.pool.open().query_row(noted, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 2, "{refusal}");
    }
}

/// A wait looks for the commit of a transaction of its own process more often than for others.
#[test]
fn an_append_in_a_transaction_alerts_the_waits() {
    let hosted = expecting();
    let before = hosted.store.alerts();
    let endless = CallOptions { timeout: Timeout::Never, cancel: None };
    thread::scope(|scope| {
        let waits = scope.spawn(|| hosted.store.wait(at(2), &endless));
        let mut transaction = begun(&hosted);
        assert_eq!(recorded(&hosted, &mut transaction, vec![]).0, Ok(Appended::new(at(3))));
        assert_eq!(hosted.store.alerts(), before + 1);
        // What is refused is nothing to wait for.
        assert!(recorded(&hosted, &mut transaction, vec![]).0.is_err());
        assert_eq!(hosted.store.alerts(), before + 1);
        assert!(commit(&hosted, transaction));
        assert_eq!(waits.join().unwrap(), Ok(at(3)));
    });
}

/// SQLite looks for a name among the temporary tables first.
#[test]
fn a_temporary_table_of_the_same_name_takes_nothing() {
    // One connection, which all calls have in turn.
    let hosted = Hosted::new(1, "wal");
    append_to(&hosted.store, vec![numbered(1)], None).unwrap();
    let connection = hosted.pool.take();
    for name in ["dcb_meta", "dcb_events", "dcb_segments", "dcb_postings", "dcb_filters"] {
        let copy = format!("CREATE TEMP TABLE {name} AS SELECT * FROM main.{name}");
        connection.execute_batch(&copy).unwrap();
    }
    hosted.pool.give_back(Some(connection));
    let mut transaction = begun(&hosted);
    for n in 2..=20 {
        assert_eq!(hosted.within(&mut transaction, vec![numbered(n)]), Ok(n as i64));
    }
    assert!(commit(&hosted, transaction));
    // Enough for a segment.
    let many: Vec<_> = (0..SEGMENT_EVENTS).map(|_| event("B", &[])).collect();
    let last = append_to(&hosted.store, many, None).unwrap();
    assert_eq!(last, 20 + SEGMENT_EVENTS);
    let guard = append_to(&hosted.store, vec![numbered(1)], Some(query(&["B"], &[])));
    assert_eq!(guard, Err(Error::condition_failed(at(21))));
    let all: Vec<i64> = (1..=last).collect();
    for store in [&hosted.store as &dyn Store, &*open(hosted.path())] {
        assert_eq!(found(store, Query::all()), all);
        assert_eq!(found(store, query(&["A"], &["tens:1"])), (10..20).collect::<Vec<_>>());
    }
    let segments = "SELECT count(*) FROM main.dcb_segments";
    let count: i64 = hosted.pool.open().query_row(segments, [], |row| row.get(0)).unwrap();
    assert!(count > 0, "there is no segment");
}
