//! Appends in groups on a host's connections and appends in its transactions, compared with the same
//! appends one by one.

use super::*;
use crate::domain::{EventId, Verdict, check_conditions, check_ids};
use crate::position::at;

/// Opens a store on the pool whose statements are recorded and can be made to fail.
fn recorded(hosted: &Hosted) -> (HostStore, Arc<Mutex<Fault>>) {
    let fault = Arc::new(Mutex::new(Fault::default()));
    let faulty = FaultyHost { pool: Arc::clone(&hosted.pool), fault: Arc::clone(&fault) };
    (HostStore::open(Box::new(faulty), &Options::default()).unwrap(), fault)
}

fn request(events: Vec<Event>, guard: Option<Query>) -> AppendRequest {
    let conditions = guard.map(|query| AppendCondition::new(query, at(0)));
    AppendRequest::new(events, conditions.into_iter().collect()).unwrap()
}

fn with_id(event_type: &str, id: &str) -> Event {
    let mut builder = EventBuilder::new(EventType::new(event_type).unwrap());
    builder.id(EventId::new(id).unwrap());
    builder.build()
}

/// Appends the requests in one group, in this order, each with its options. A transaction of another
/// connection blocks the group until all requests are queued and `meanwhile` has run.
fn in_one_group(
    hosted: &Hosted,
    store: &HostStore,
    calls: Vec<(AppendRequest, CallOptions)>,
    meanwhile: impl FnOnce(),
) -> Vec<Result<Appended>> {
    let blocker = hosted.pool.open();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = calls
            .into_iter()
            .enumerate()
            .map(|(index, (request, call))| {
                let thread = scope.spawn(move || store.append(request, &call));
                while store.queued() <= index && !thread.is_finished() {
                    thread::yield_now();
                }
                thread
            })
            .collect();
        meanwhile();
        blocker.execute_batch("ROLLBACK").unwrap();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn without_timeout(requests: Vec<AppendRequest>) -> Vec<(AppendRequest, CallOptions)> {
    let call = || CallOptions { timeout: Timeout::Never, cancel: None };
    requests.into_iter().map(|request| (request, call())).collect()
}

#[test]
fn each_request_of_a_group_has_its_own_result() {
    let hosted = Hosted::new(2, "wal");
    append_to(&hosted.store, vec![with_id("A", "first")], None).unwrap();
    let before = hosted.store.syncs();
    let group = vec![
        request(vec![numbered(1)], None),
        request(vec![numbered(2)], Some(query(&[], &["n:1"]))),
        request(vec![with_id("B", "first")], None),
        request(vec![numbered(3), numbered(4)], Some(query(&[], &["n:3"]))),
        request(vec![with_id("A", "first")], None),
    ];
    let answers = in_one_group(&hosted, &hosted.store, without_timeout(group), || ());
    assert_eq!(answers[0], Ok(Appended::new(at(2))));
    assert_eq!(answers[1], Err(Error::condition_failed(at(2))));
    assert_eq!(answers[2].as_ref().unwrap_err().status, Status::DuplicateId);
    assert_eq!(answers[3], Ok(Appended::new(at(4))));
    assert_eq!(answers[4], Ok(Appended::repeated(at(1))));
    assert_eq!(hosted.store.syncs(), before + 1, "the group is synced once");
    assert_eq!(found(&hosted.store, Query::all()), [1, 2, 3, 4]);
}

#[test]
fn a_request_rejected_by_a_trigger_fails_alone() {
    let hosted = Hosted::new(2, "wal");
    let trigger = "CREATE TRIGGER picky BEFORE INSERT ON dcb_events WHEN new.type = 'Bad' \
                   BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    hosted.pool.open().execute_batch(trigger).unwrap();
    let group = vec![
        request(vec![numbered(1)], None),
        request(vec![event("Bad", &[])], None),
        request(vec![numbered(2)], None),
    ];
    let answers = in_one_group(&hosted, &hosted.store, without_timeout(group), || ());
    assert_eq!(answers[1].as_ref().unwrap_err().status, Status::InvalidArgument);
    let mut stored = [0, 2].map(|index| answers[index].as_ref().unwrap().last.get());
    stored.sort_unstable();
    assert_eq!(stored, [1, 2]);
}

#[test]
fn a_cancelled_leader_passes_its_group_to_the_next() {
    let hosted = Hosted::new(2, "wal");
    let cancel = CancelToken::new();
    let endless = CallOptions { timeout: Timeout::Never, cancel: Some(cancel.clone()) };
    let mut calls = without_timeout((0..4).map(|n| request(vec![numbered(n)], None)).collect());
    calls[0].1 = endless;
    let store = &hosted.store;
    let answers = in_one_group(&hosted, store, calls, || {
        cancel.trigger();
        while store.queued() > 3 {
            thread::yield_now();
        }
    });
    assert_eq!(answers[0].as_ref().unwrap_err().status, Status::Cancelled);
    let stored: Vec<i64> =
        answers[1..].iter().map(|answer| answer.as_ref().unwrap().last.get()).collect();
    assert_eq!(stored, [1, 2, 3]);
    assert_eq!(found(store, query(&[], &["n:0"])), [0_i64; 0]);
}

#[test]
fn a_failing_connection_stores_no_request_of_a_group_twice() {
    for (sql, times, is_after, stored) in [
        // The group fails, and then its requests are stored one by one.
        ("INSERT INTO main.dcb_events", 1, false, 3),
        ("INSERT INTO main.dcb_events", 1, true, 3),
        ("INSERT INTO main.dcb_events", usize::MAX, false, 0),
        // The outcome of the commit is unknown, so no request is stored again.
        ("COMMIT", 1, false, 0),
        ("COMMIT", 1, true, 3),
    ] {
        let hosted = Hosted::new(2, "wal");
        let (store, fault) = recorded(&hosted);
        let group = (0..3).map(|n| request(vec![numbered(n)], None)).collect();
        let answers = in_one_group(&hosted, &store, without_timeout(group), || {
            *fault.lock().unwrap() = Fault {
                sql: Some(sql.to_owned()),
                times,
                code: rusqlite::ffi::SQLITE_IOERR,
                is_after,
                ..Fault::default()
            };
        });
        *fault.lock().unwrap() = Fault::default();
        let place = format!("{sql}, {times}, {is_after}");
        let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(accepted, if sql == "COMMIT" { 0 } else { stored }, "{place}: {answers:?}");
        assert_eq!(found(&hosted.store, Query::all()).len(), stored, "{place}");
        for n in 0..3 {
            let own = found(&hosted.store, query(&[], &[&format!("n:{n}")]));
            assert!(own.len() <= 1, "{place}: {own:?}");
        }
        // The store still accepts appends.
        append_to(&store, vec![numbered(9)], None).unwrap();
    }
}

#[test]
fn a_group_that_waits_for_a_reader_stores_exactly_what_it_accepts() {
    let hosted = Hosted::new(2, "delete");
    append_to(&hosted.store, vec![numbered(0)], None).unwrap();
    let mut calls = without_timeout((1..4).map(|n| request(vec![numbered(n)], None)).collect());
    calls[2].1.timeout = Timeout::After(Duration::from_millis(100));
    let answers = in_one_group(&hosted, &hosted.store, calls, || {
        let reader = hosted.pool.open();
        reader.execute_batch("BEGIN; SELECT * FROM dcb_events").unwrap();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(150));
            reader.execute_batch("COMMIT").unwrap();
        });
    });
    let accepted = (1..).zip(&answers).filter(|(_, answer)| answer.is_ok());
    for (n, _) in accepted.clone() {
        assert_eq!(found(&hosted.store, query(&[], &[&format!("n:{n}")])).len(), 1, "{answers:?}");
    }
    assert_eq!(found(&hosted.store, Query::all()).len(), 1 + accepted.count());
    let refused = answers.iter().flat_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|error| error.status == Status::Busy), "{answers:?}");
}

#[test]
fn in_wal_mode_the_store_syncs_instead_of_the_commit() {
    for (mode, is_lowered) in [("wal", true), ("delete", false)] {
        let hosted = Hosted::new(1, mode);
        let connection = hosted.pool.take();
        connection.execute_batch("PRAGMA synchronous = FULL").unwrap();
        hosted.pool.give_back(Some(connection));
        let (store, fault) = recorded(&hosted);
        let before = store.syncs();
        fault.lock().unwrap().statements.clear();
        append_to(&store, vec![numbered(1)], None).unwrap();
        assert_eq!(store.syncs(), before + 1);
        let statements = std::mem::take(&mut fault.lock().unwrap().statements);
        let at = |wanted: &str| statements.iter().position(|sql| sql == wanted);
        let lowered = at("PRAGMA main.synchronous = 1");
        assert_eq!(lowered.is_some(), is_lowered, "{mode}: {statements:?}");
        if is_lowered {
            assert!(lowered < at("BEGIN IMMEDIATE"), "{statements:?}");
            assert!(at("COMMIT") < at("PRAGMA main.synchronous = 2"), "{statements:?}");
        }
    }
}

/// A generator of the same random numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Returns a request whose conditions and ids often match stored events.
    fn request(&mut self, head: i64) -> AppendRequest {
        // Uses the tags of the newest events only, so that older events do not hide a wrong result
        // on these.
        let newest = head.unsigned_abs();
        let tag = |random: &mut Random| format!("t:{}", newest / 3 + random.below(4));
        let count = 1 + self.below(3);
        let has_ids = self.below(4) == 0;
        let first_id = newest / 2 + self.below(8);
        let events = (0..count).map(|n| {
            let mut builder = EventBuilder::new(EventType::new("A").unwrap());
            let tag = tag(self);
            builder.tag(Tag::new(&tag).unwrap()).unwrap();
            let id = format!("i{}", first_id + n);
            if has_ids {
                builder.id(EventId::new(&id).unwrap());
            }
            builder.build()
        });
        let events: Vec<Event> = events.collect();
        let after = if self.below(2) == 0 { 0 } else { self.below(newest + 1) as i64 };
        let guard = tag(self);
        let conditions = match self.below(3) {
            0 => vec![],
            _ => vec![AppendCondition::new(query(&[], &[&guard]), at(after))],
        };
        AppendRequest::new(events, conditions).unwrap()
    }
}

/// A naive store, the oracle of these tests: a list of events.
#[derive(Clone, Default)]
struct ListStore(Vec<Event>);

impl ListStore {
    fn head(&self) -> i64 {
        self.0.len() as i64
    }

    fn append(&mut self, request: AppendRequest) -> Result<Appended> {
        let (events, conditions) = request.into_parts();
        let position_at = |index: usize| at(index as i64 + 1);
        let verdict = check_ids(
            events.iter(),
            |id| Ok(self.0.iter().position(|event| event.id() == Some(id)).map(position_at)),
            |position, event| Ok(self.0[position.get() as usize - 1] == *event),
        )?;
        if let Verdict::Repeated(last) = verdict {
            return Ok(Appended::repeated(last));
        }
        check_conditions(&conditions, |query: &Query, span: PositionRange| {
            let is_hit = |position: &i64| {
                let event = &self.0[*position as usize - 1];
                let sequenced = SequencedEvent {
                    position: at(*position),
                    timestamp_us: 0,
                    event: event.clone(),
                };
                query.matches(&sequenced.view())
            };
            Ok((span.after.get() + 1..=span.through.get().min(self.head())).find(is_hit).map(at))
        })?;
        self.0.extend(events);
        Ok(Appended::new(at(self.head())))
    }
}

/// Returns the result with only the status and the position of an error.
fn without_message(answer: Result<Appended>) -> std::result::Result<Appended, (Status, i64)> {
    answer.map_err(|error| (error.status, error.position.get()))
}

#[test]
fn a_group_returns_what_single_appends_would_return() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for mode in ["wal", "delete"] {
        let hosted = Hosted::new(2, mode);
        let mut plain = ListStore::default();
        for round in 0..30 {
            let group: Vec<_> =
                (0..1 + random.below(8)).map(|_| random.request(plain.head())).collect();
            let answers =
                in_one_group(&hosted, &hosted.store, without_timeout(group.clone()), || ());
            for (request, answer) in group.into_iter().zip(answers) {
                assert_eq!(
                    without_message(answer),
                    without_message(plain.append(request)),
                    "{mode}, round {round}"
                );
            }
        }
        assert_eq!(found(&hosted.store, Query::all()).len(), plain.0.len());
    }
}

/// Transactions of the host commit, roll back, or return to a savepoint. Between them, this store,
/// another one on connections of the host, and a native store append to the same file.
#[test]
fn an_append_in_a_transaction_is_checked_against_all_it_sees() {
    for seed in 1..=4 {
        let mut random = Random(seed * 0x2545_f491_4f6c_dd1d);
        let hosted = Hosted::new(4, "wal");
        let own = open(hosted.path());
        let second = {
            let pool = Pool::new(Some(hosted.path()), 4);
            HostStore::open(Box::new(pool), &Options::default()).unwrap()
        };
        let mut plain = ListStore::default();
        for step in 0..250 {
            let place = format!("seed {seed}, step {step}");
            let other: Option<&dyn Store> = match random.below(9) {
                0 => Some(&hosted.store),
                1 => Some(&second),
                2 => Some(&*own),
                _ => None,
            };
            if let Some(store) = other {
                let request = random.request(plain.head());
                let answer = store.append(request.clone(), &CallOptions::default());
                assert_eq!(
                    without_message(answer),
                    without_message(plain.append(request)),
                    "{place}"
                );
                continue;
            }
            let mut transaction = Borrowed::callers(hosted.pool.take());
            let run = |transaction: &Borrowed, sql: &str| {
                transaction.connection().execute_batch(sql).unwrap();
            };
            run(&transaction, "BEGIN");
            let mut within = plain.clone();
            for _ in 0..1 + random.below(3) {
                let undone = (random.below(4) == 0).then(|| within.clone());
                if undone.is_some() {
                    run(&transaction, "SAVEPOINT theirs");
                }
                let store = if random.below(6) == 0 { &second } else { &hosted.store };
                let request = random.request(within.head());
                // SAFETY: as in `Hosted::appended_within`.
                let handle =
                    unsafe { ConnectionHandle::new(std::ptr::from_mut(&mut transaction).cast()) };
                let lent = store.transaction(handle);
                let answer = store.append_within(lent, request.clone(), &CallOptions::default());
                assert_eq!(
                    without_message(answer),
                    without_message(within.append(request)),
                    "{place}"
                );
                if let Some(undone) = undone {
                    run(&transaction, "ROLLBACK TO theirs; RELEASE theirs");
                    within = undone;
                }
            }
            if random.below(3) == 0 {
                run(&transaction, "ROLLBACK");
            } else {
                run(&transaction, "COMMIT");
                plain = within;
            }
            hosted.pool.give_back(transaction.connection.take());
        }
        let all: Vec<i64> = (1..=plain.head()).collect();
        assert!(all.len() > 100, "{} events", all.len());
        assert_eq!(found(&hosted.store, Query::all()), all);
    }
}

#[test]
fn appends_in_transactions_do_not_read_rows_twice() {
    let hosted = Hosted::new(1, "wal");
    let fault = Arc::new(Mutex::new(Fault::default()));
    let (count, mut scans) = (3 * SEGMENT_EVENTS as usize, 0);
    for n in 0..count {
        let mut transaction = Borrowed::callers(hosted.pool.take());
        transaction.connection().execute_batch("BEGIN IMMEDIATE").unwrap();
        let guarded = request(vec![numbered(n)], Some(query(&[], &[&format!("n:{n}")])));
        fault.lock().unwrap().statements.clear();
        let lent = FaultyConnection { of: Box::new(&mut transaction), fault: Arc::clone(&fault) };
        let call = CallOptions::default();
        let answer = hosted.store.append_within(Box::new(lent), guarded, &call);
        assert_eq!(answer, Ok(Appended::new(at(n as i64 + 1))));
        let statements = std::mem::take(&mut fault.lock().unwrap().statements);
        scans +=
            statements.iter().filter(|sql| sql.contains("dcb_events WHERE position >")).count();
        transaction.connection().execute_batch("COMMIT").unwrap();
        hosted.pool.give_back(transaction.connection.take());
    }
    // Writing a segment reads its rows once.
    let written = segments(&hosted).0.list.len();
    assert!(scans <= count / (SEGMENT_EVENTS as usize / 4), "{scans} scans, {written} segments");
}

#[test]
fn rows_of_a_rolled_back_transaction_are_not_kept() {
    let hosted = Hosted::new(2, "wal");
    let refused = |transaction: &mut Borrowed, guard: &str| {
        let guarded = request(vec![event("B", &[])], Some(query(&[], &[guard])));
        let call = CallOptions::default();
        hosted.store.append_within(Box::new(transaction), guarded, &call).unwrap_err().position
    };
    let mut transaction = Borrowed::callers(hosted.pool.take());
    transaction.connection().execute_batch("BEGIN IMMEDIATE").unwrap();
    hosted.within(&mut transaction, vec![numbered(1)]).unwrap();
    transaction.connection().execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
    insert_foreign(transaction.connection(), 2, event("Lost", &["n:2".into()]));
    assert_eq!(refused(&mut transaction, "n:1"), at(1));
    assert_eq!(refused(&mut transaction, "n:2"), at(2));
    transaction.connection().execute_batch("ROLLBACK; BEGIN IMMEDIATE").unwrap();
    insert_foreign(transaction.connection(), 2, event("Kept", &["n:3".into()]));
    assert_eq!(refused(&mut transaction, "n:3"), at(2));
    transaction.connection().execute_batch("ROLLBACK").unwrap();
    hosted.pool.give_back(transaction.connection.take());
}
