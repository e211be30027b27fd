//! The store on the connections of a host: here of a pool of rusqlite connections.

mod groups;
mod single;

use std::ops::ControlFlow;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Condvar, Mutex};
use std::time::{Instant, SystemTime};

use rusqlite::Connection;

use super::*;
use crate::domain::{Direction, EventId, PositionRange, SequencedEvent};
use crate::position::at;
use crate::sql::host::{BorrowedConnection, ConnectionHandle, Failure, Host, Reply};
use crate::sql::{Columns, Value};
use crate::sqlite::cache::CacheUse;
use crate::sqlite::connection::native::bound;
use crate::sqlite::events::checksum::checksums;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::Source;
use crate::sqlite::events::write::insert;
use crate::sqlite::host::HostStore;
use crate::sqlite::index::limit::Limit;
use crate::sqlite::index::search::{Search, SegmentSearch};
use crate::sqlite::index::segment_list::Segments;
use crate::sqlite::index::tail::TAIL_EVENTS;
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::SEGMENT_EVENTS;
use crate::{CancelToken, Status, Timeout};

/// A pool of connections that lends a limited number of them at a time.
struct Pool {
    path: Option<PathBuf>,
    idle: Mutex<(Vec<Connection>, usize)>,
    returned: Condvar,
    spoiled: AtomicUsize,
    statements: AtomicUsize,
}

struct Borrowed {
    pool: Option<Arc<Pool>>,
    connection: Option<Connection>,
    /// The remaining rows of each unfinished query, the newest query last. Each row is encoded by
    /// itself.
    rest: Vec<Vec<Vec<u8>>>,
    is_spoiled: bool,
    /// The settings of the connection when it was lent.
    found: [i64; 3],
}

/// Returns the settings of a connection that the library changes for a while and then restores.
fn settings(connection: &Connection) -> [i64; 3] {
    ["busy_timeout", "synchronous", "read_uncommitted"]
        .map(|name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap())
}

impl Pool {
    fn new(path: Option<PathBuf>, size: usize) -> Arc<Self> {
        Arc::new(Pool {
            path,
            idle: Mutex::new((Vec::new(), size)),
            returned: Condvar::new(),
            spoiled: AtomicUsize::new(0),
            statements: AtomicUsize::new(0),
        })
    }

    fn open(&self) -> Connection {
        let connection = match &self.path {
            Some(path) => Connection::open(path).unwrap(),
            None => Connection::open_in_memory().unwrap(),
        };
        connection.busy_timeout(Duration::from_millis(321)).unwrap();
        connection
    }

    /// Takes a connection, waiting for as long as a minute.
    fn take(&self) -> Connection {
        self.try_take(Duration::from_secs(60)).unwrap()
    }

    fn try_take(&self, timeout: Duration) -> Option<Connection> {
        let state = self.idle.lock().unwrap();
        let is_out = |state: &mut (Vec<Connection>, usize)| state.0.is_empty() && state.1 == 0;
        let (mut state, outcome) =
            self.returned.wait_timeout_while(state, timeout, is_out).unwrap();
        if outcome.timed_out() {
            return None;
        }
        Some(state.0.pop().unwrap_or_else(|| {
            state.1 -= 1;
            self.open()
        }))
    }

    fn give_back(&self, connection: Option<Connection>) {
        let mut state = self.idle.lock().unwrap();
        match connection {
            Some(connection) => state.0.push(connection),
            None => state.1 += 1,
        }
        self.returned.notify_one();
    }
}

impl Host for Arc<Pool> {
    fn acquire(
        &self,
        timeout: Option<Duration>,
    ) -> std::result::Result<Box<dyn BorrowedConnection>, Failure> {
        let connection = self.try_take(timeout.unwrap_or(Duration::MAX)).ok_or_else(|| {
            Failure { code: rusqlite::ffi::SQLITE_BUSY, message: "none is free".into() }
        })?;
        let found = settings(&connection);
        Ok(Box::new(Borrowed {
            pool: Some(Arc::clone(self)),
            connection: Some(connection),
            rest: Vec::new(),
            is_spoiled: false,
            found,
        }))
    }

    fn transaction(&self, connection: ConnectionHandle) -> Box<dyn BorrowedConnection> {
        // SAFETY: the handle comes from `Hosted::within`, whose transaction outlives the append.
        Box::new(unsafe { &mut *connection.as_ptr().cast::<Borrowed>() })
    }
}

fn failure(error: rusqlite::Error) -> Failure {
    let code = error.sqlite_error().map_or(0, |inner| inner.extended_code);
    Failure { code, message: error.to_string() }
}

/// Encodes one row as the C interface does: the number of columns, then each value.
fn pack(row: &rusqlite::Row<'_>, count: usize) -> Vec<u8> {
    let mut packed = (count as u16).to_le_bytes().to_vec();
    for column in 0..count {
        let (kind, bytes) = match Columns::value(row, column) {
            Value::Integer(integer) => {
                packed.push(1);
                packed.extend(integer.to_le_bytes());
                continue;
            }
            Value::Text(text) => (2, text),
            Value::Blob(blob) => (3, blob),
            _ => {
                packed.push(0);
                continue;
            }
        };
        packed.push(kind);
        packed.extend((bytes.len() as u32).to_le_bytes());
        packed.extend(bytes);
    }
    packed
}

impl Borrowed {
    /// Wraps the connection of a caller's transaction, which does not return to the pool.
    fn callers(connection: Connection) -> Self {
        let found = settings(&connection);
        let (connection, rest) = (Some(connection), Vec::new());
        Borrowed { pool: None, connection, rest, is_spoiled: false, found }
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().unwrap()
    }
}

/// A connection on which each statement that begins with one of `fails` fails once, with its code.
struct FailingConnection<'a> {
    of: &'a mut Borrowed,
    fails: Vec<(&'static str, i32)>,
    /// The statements that were run, without the queries.
    recorded: &'a mut Vec<String>,
}

impl BorrowedConnection for FailingConnection<'_> {
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        self.recorded.push(sql.to_owned());
        if let Some(at) = self.fails.iter().position(|(start, _)| sql.starts_with(start)) {
            let (_, code) = self.fails.remove(at);
            return Err(Failure { code, message: "as the test asked".into() });
        }
        self.of.run(sql, values)
    }
    fn query(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        self.of.query(sql, values)
    }
    fn more(&mut self) -> std::result::Result<Reply, Failure> {
        self.of.more()
    }
    fn finish(&mut self) {
        self.of.finish()
    }
    fn spoil(&mut self) {
        self.of.spoil()
    }
}

impl BorrowedConnection for &mut Borrowed {
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        (**self).run(sql, values)
    }
    fn query(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        (**self).query(sql, values)
    }
    fn more(&mut self) -> std::result::Result<Reply, Failure> {
        (**self).more()
    }
    fn finish(&mut self) {
        (**self).finish()
    }
    fn spoil(&mut self) {
        (**self).spoil()
    }
}

impl BorrowedConnection for Borrowed {
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        if self.query(sql, values)?.is_more {
            self.finish();
        }
        Ok(Reply { changes: self.connection().changes(), ..Reply::default() })
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        if let Some(pool) = &self.pool {
            pool.statements.fetch_add(1, SeqCst);
        }
        let mut statement = self.connection().prepare(sql).map_err(failure)?;
        let count = statement.column_count();
        let values = bound(values);
        let mut rows = statement.query(values).map_err(failure)?;
        let mut rest = Vec::new();
        while let Some(row) = rows.next().map_err(failure)? {
            rest.push(pack(row, count));
        }
        drop(rows);
        drop(statement);
        self.rest.push(rest);
        self.more()
    }

    fn more(&mut self) -> std::result::Result<Reply, Failure> {
        // At most three rows in a reply, so that most queries need several.
        let rest = self.rest.last_mut().unwrap();
        let rows = rest.drain(..rest.len().min(3)).flatten().collect();
        let is_more = !rest.is_empty();
        if !is_more {
            self.rest.pop();
        }
        Ok(Reply { rows, is_more, changes: 0 })
    }

    fn finish(&mut self) {
        self.rest.pop().unwrap();
    }

    fn spoil(&mut self) {
        self.is_spoiled = true;
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let connection = self.connection.take().unwrap();
        assert!(self.rest.is_empty(), "a query is left open");
        if self.is_spoiled {
            pool.spoiled.fetch_add(1, SeqCst);
        } else {
            assert!(connection.is_autocommit(), "a transaction is left open");
            assert_eq!(settings(&connection), self.found, "a setting is left changed");
        }
        pool.give_back((!self.is_spoiled).then_some(connection));
    }
}

struct Hosted {
    folder: TempDir,
    pool: Arc<Pool>,
    store: HostStore,
}

impl Hosted {
    fn new(size: usize, mode: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("host.db");
        let own = Connection::open(&path).unwrap();
        own.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
        own.execute_batch("CREATE TABLE theirs (a)").unwrap();
        drop(own);
        let pool = Pool::new(Some(path), size);
        let store = HostStore::open(Box::new(Arc::clone(&pool)), &Options::default()).unwrap();
        Hosted { folder, pool, store }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("host.db")
    }

    /// Appends in a transaction of the caller; returns the position of the last event.
    fn within(&self, transaction: &mut Borrowed, events: Vec<Event>) -> Result<i64> {
        self.appended_within(transaction, events).map(|appended| appended.last.get())
    }

    /// Appends in a transaction of the caller; the result also says whether it was a repetition.
    fn appended_within(&self, transaction: &mut Borrowed, events: Vec<Event>) -> Result<Appended> {
        let request = AppendRequest::new(events, vec![])?;
        // SAFETY: the handle is a `Borrowed`, as the pool expects, and is borrowed until the append
        // returns.
        let handle = unsafe { ConnectionHandle::new(std::ptr::from_mut(transaction).cast()) };
        self.store.append_within(self.store.transaction(handle), request, &brief())
    }
}

/// Returns the options of a call that waits for at most 20 milliseconds.
fn brief() -> CallOptions {
    CallOptions { timeout: Timeout::After(Duration::from_millis(20)), cancel: None }
}

fn append_to(store: &dyn Store, events: Vec<Event>, guard: Option<Query>) -> Result<i64> {
    let conditions = guard.map(|query| AppendCondition::new(query, at(0)));
    let request = AppendRequest::new(events, conditions.into_iter().collect())?;
    store.append(request, &CallOptions::default()).map(|appended| appended.last.get())
}

/// Returns the positions of the events that match `query`.
fn found(store: &dyn Store, query: Query) -> Vec<i64> {
    let mut reading =
        ReadState::new(ReadRequest::new(query, at(0), None, None, Direction::Forward));
    let mut positions = Vec::new();
    while !reading.has_begun() || reading.span().is_some() {
        let batch = BatchLimits { max_events: 7, max_bytes: usize::MAX };
        let mut sink = |view: &EventView<'_>| {
            positions.push(view.position.get());
            Ok(())
        };
        store.read(&mut reading, batch, &CallOptions::default(), &mut sink).unwrap();
    }
    positions
}

/// Returns an event with a tag for its number and one that it shares with nine others.
fn numbered(n: usize) -> Event {
    event("A", &[format!("n:{n}"), format!("tens:{}", n / 10)])
}

/// Inserts an event into the table of events without using the store.
fn insert_foreign(connection: &Connection, position: i64, event: Event) {
    let checksums = checksums(std::slice::from_ref(&event));
    let event = SequencedEvent { position: at(position), timestamp_us: 0, event };
    insert(connection, [&event.into()].into_iter().zip(&checksums)).unwrap();
}

/// Runs the test in WAL mode and in each rollback mode that keeps the journal in a file.
fn each_mode(test: impl Fn(&str)) {
    ["wal", "delete", "truncate", "persist"].into_iter().for_each(test);
}

/// Returns the live segments, and how many segments have another state.
fn segments(hosted: &Hosted) -> (Segments, i64) {
    let connection = hosted.pool.open();
    let version = Snapshot::take(&connection).unwrap().version;
    let live = Segments::load(&connection, version, &Segments::default()).unwrap();
    let sql = "SELECT count(*) FROM dcb_segments WHERE state <> 1";
    (live, connection.query_row(sql, [], |row| row.get(0)).unwrap())
}

#[test]
fn appends_and_conditions_work_in_every_journal_mode() {
    each_mode(|mode| {
        for size in [1, 4] {
            let hosted = Hosted::new(size, mode);
            let guard = || Some(query(&["A"], &["n:1"]));
            assert_eq!(append_to(&hosted.store, vec![numbered(1), numbered(2)], guard()), Ok(2));
            let refused = append_to(&hosted.store, vec![numbered(3)], guard());
            assert_eq!(refused, Err(Error::condition_failed(at(1))), "{mode}");
            assert_eq!(found(&hosted.store, query(&[], &["n:2"])), [2]);
            assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(2)));
            let theirs = "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '%dcb_%'";
            let theirs = hosted.pool.take().query_row(theirs, [], |row| row.get::<_, i64>(0));
            assert_eq!(theirs, Ok(1));
            assert_eq!(hosted.pool.spoiled.load(SeqCst), 0);
        }
    });
}

#[test]
fn a_file_of_format_1_is_brought_to_format_2() {
    for mode in ["wal", "delete"] {
        let hosted = Hosted::new(2, mode);
        append_to(&hosted.store, vec![numbered(1)], None).unwrap();
        hosted.store.close();
        super::formats::make_old(&hosted.path());
        let store =
            HostStore::open(Box::new(Arc::clone(&hosted.pool)), &Options::default()).unwrap();
        let format = || {
            let sql = "SELECT value FROM dcb_meta WHERE key = 'format'";
            hosted.pool.open().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(format(), 2, "{mode}");
        assert_eq!(append_to(&store, vec![numbered(2)], None), Ok(2));
        assert_eq!(found(&store, Query::all()), [1, 2]);
        store.close();
    }
}

#[test]
fn an_in_memory_database_needs_a_pool_of_one_connection() {
    let pool = Pool::new(None, 1);
    let store = HostStore::open(Box::new(Arc::clone(&pool)), &Options::default()).unwrap();
    assert_eq!(append_to(&store, (0..300).map(numbered).collect(), None), Ok(300));
    assert_eq!(found(&store, query(&[], &["tens:29"])), (291..=300).collect::<Vec<_>>());
    let taken = pool.take();
    assert_eq!(store.head(&brief()).unwrap_err().status, Status::Busy);
    pool.give_back(Some(taken));
    // Two in-memory connections have two databases.
    let pool = Pool::new(None, 2);
    let store = HostStore::open(Box::new(Arc::clone(&pool)), &Options::default()).unwrap();
    let taken = pool.take();
    let error = store.head(&CallOptions::default()).unwrap_err();
    assert_eq!(error.status, Status::InvalidArgument);
    assert!(error.message.contains("do not share one database"), "{error}");
    drop(taken);
}

#[test]
fn events_of_a_callers_transaction_are_visible_after_its_commit() {
    each_mode(|mode| {
        let hosted = Hosted::new(4, mode);
        append_to(&hosted.store, vec![numbered(1)], None).unwrap();
        let mut transaction = Borrowed::callers(hosted.pool.take());
        transaction.connection().execute_batch("BEGIN; INSERT INTO theirs VALUES (1)").unwrap();
        assert_eq!(hosted.within(&mut transaction, vec![numbered(2)]), Ok(2));
        assert_eq!(hosted.within(&mut transaction, vec![numbered(3)]), Ok(3));
        let guarded = AppendRequest::new(
            vec![numbered(4)],
            vec![AppendCondition::new(query(&[], &["n:3"]), at(0))],
        );
        let refused =
            hosted.store.append_within(Box::new(&mut transaction), guarded.unwrap(), &brief());
        assert_eq!(refused, Err(Error::condition_failed(at(3))));
        assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(1)), "{mode}");
        transaction.connection().execute_batch("COMMIT").unwrap();
        assert_eq!(found(&hosted.store, query(&[], &["tens:0"])), [1, 2, 3]);
        assert_eq!(append_to(&hosted.store, vec![numbered(4)], None), Ok(4));
    });
}

#[test]
fn no_trace_of_a_rolled_back_transaction_remains() {
    let hosted = Hosted::new(4, "wal");
    append_to(&hosted.store, (0..20).map(numbered).collect(), None).unwrap();
    for round in 0..3 {
        let mut transaction = Borrowed::callers(hosted.pool.take());
        transaction.connection().execute_batch("BEGIN").unwrap();
        // Enough events to write segments, so that the list of segments also changes under a version
        // that the rollback makes available again.
        let mut last = 0;
        for n in 0..8 {
            let lost: Vec<Event> =
                (0..20).map(|m| event("Lost", &[format!("l:{n}-{m}")])).collect();
            last = hosted.within(&mut transaction, lost).unwrap();
        }
        let count = "SELECT value FROM dcb_meta WHERE key = 'segments'";
        let written: i64 = transaction.connection().query_row(count, [], |row| row.get(0)).unwrap();
        assert!(written > 2, "{written} segments");
        transaction.connection().execute_batch("ROLLBACK").unwrap();
        hosted.pool.give_back(transaction.connection.take());
        let kept = (0..160).map(|m| event("Kept", &[format!("k:{round}-{m}")])).collect();
        assert_eq!(append_to(&hosted.store, kept, None), Ok(last));
        assert_eq!(found(&hosted.store, query(&["Lost"], &[])), [0_i64; 0]);
        assert_eq!(found(&hosted.store, query(&[], &["l:7-19"])), [0_i64; 0]);
        assert_eq!(found(&hosted.store, query(&[], &[&format!("k:{round}-159")])), [last]);
        assert_eq!(found(&hosted.store, query(&["Kept"], &[])).len(), 160 * (round + 1));
    }
}

#[test]
fn a_transaction_with_an_outdated_snapshot_is_busy() {
    let hosted = Hosted::new(4, "wal");
    append_to(&hosted.store, vec![numbered(1)], None).unwrap();
    let mut transaction = Borrowed::callers(hosted.pool.take());
    let begin = "BEGIN; SELECT count(*) FROM theirs";
    transaction.connection().execute_batch(begin).unwrap();
    append_to(&hosted.store, vec![numbered(2)], None).unwrap();
    let since = Instant::now();
    let error = hosted.within(&mut transaction, vec![numbered(3)]).unwrap_err();
    let snapshot = rusqlite::ffi::SQLITE_BUSY_SNAPSHOT;
    assert_eq!((error.status, error.detail), (Status::Busy, snapshot));
    assert!(since.elapsed() < Duration::from_secs(5));
    transaction.connection().execute_batch("ROLLBACK").unwrap();
    transaction.connection().execute_batch(begin).unwrap();
    assert_eq!(hosted.within(&mut transaction, vec![numbered(3)]), Ok(3));
    // While the transaction lasts, other appends wait for it until their timeout.
    let request = AppendRequest::new(vec![numbered(4)], vec![]).unwrap();
    assert_eq!(hosted.store.append(request, &brief()).unwrap_err().status, Status::Busy);
    transaction.connection().execute_batch("COMMIT").unwrap();
    assert_eq!(append_to(&hosted.store, vec![numbered(4)], None), Ok(4));
}

#[test]
fn an_append_within_a_transaction_is_atomic() {
    let hosted = Hosted::new(2, "wal");
    let mut transaction = Borrowed::callers(hosted.pool.take());
    transaction.connection().execute_batch("BEGIN; INSERT INTO theirs VALUES (1)").unwrap();
    // This many events take two INSERT statements, and the second one fails.
    transaction
        .connection()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON dcb_events WHEN new.position = 20 \
             BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .unwrap();
    assert!(hosted.within(&mut transaction, (0..30).map(numbered).collect()).is_err());
    let count = |sql: &str| {
        transaction.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count("SELECT count(*) FROM dcb_events"), 0);
    assert_eq!(count("SELECT count(*) FROM theirs"), 1);
    transaction.connection().execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!(hosted.within(&mut transaction, (0..30).map(numbered).collect()), Ok(30));
    transaction.connection().execute_batch("COMMIT").unwrap();
    assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(30)));
}

/// Whatever fails, the commit of the caller stores all events of the append or none. If the append
/// cannot be undone by itself, it rolls the whole transaction back.
#[test]
fn an_append_that_cannot_be_undone_rolls_its_transaction_back() {
    let [error, no_memory] = [rusqlite::ffi::SQLITE_ERROR, rusqlite::ffi::SQLITE_NOMEM];
    for (fails, is_whole) in [
        (vec![("INSERT INTO main.dcb_events", no_memory)], false),
        (vec![("RELEASE", no_memory)], false),
        (vec![("INSERT INTO main.dcb_events", no_memory), ("ROLLBACK TO", no_memory)], true),
        (vec![("RELEASE", no_memory), ("RELEASE", no_memory)], true),
        (vec![("RELEASE", no_memory), ("ROLLBACK TO", error)], true),
    ] {
        let hosted = Hosted::new(2, "wal");
        let mut transaction = Borrowed::callers(hosted.pool.take());
        transaction.connection().execute_batch("BEGIN; INSERT INTO theirs VALUES (1)").unwrap();
        let failing =
            FailingConnection { of: &mut transaction, fails: fails.clone(), recorded: &mut vec![] };
        let request = AppendRequest::new((0..30).map(numbered).collect(), vec![]).unwrap();
        let answer = hosted.store.append_within(Box::new(failing), request, &brief());
        assert_eq!(answer.unwrap_err().status, Status::NoMemory, "{fails:?}");
        let commits = transaction.connection().execute_batch("COMMIT").is_ok();
        assert_eq!(commits, !is_whole, "{fails:?}");
        assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(0)), "{fails:?}");
        let sql = "SELECT count(*) FROM theirs";
        let theirs = transaction.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(theirs, Ok(i64::from(commits)), "{fails:?}");
    }
    // The rollback fails too, so it is unknown what a commit would store.
    let hosted = Hosted::new(2, "wal");
    let mut transaction = Borrowed::callers(hosted.pool.take());
    transaction.connection().execute_batch("BEGIN").unwrap();
    let fails = vec![("RELEASE", no_memory), ("ROLLBACK TO", error), ("ROLLBACK", no_memory)];
    let failing = FailingConnection { of: &mut transaction, fails, recorded: &mut vec![] };
    let request = AppendRequest::new(vec![numbered(1)], vec![]).unwrap();
    let answer = hosted.store.append_within(Box::new(failing), request, &brief());
    assert_eq!(answer.unwrap_err().status, Status::Io);
}

/// The host may end the transaction at any moment and use the connection for something else, so the
/// library must not leave a changed setting on it.
#[test]
fn no_setting_changes_while_a_transaction_waits_for_the_lock() {
    let busy = ("UPDATE main.dcb_meta", rusqlite::ffi::SQLITE_BUSY);
    let with_id = || {
        let mut builder = EventBuilder::new(EventType::new("A").unwrap());
        builder.id(EventId::new("a").unwrap());
        builder.build()
    };
    let hosted = Hosted::new(2, "wal");
    append_to(&hosted.store, vec![with_id()], None).unwrap();
    let mut transaction = Borrowed::callers(hosted.pool.take());
    transaction.connection().execute_batch("BEGIN").unwrap();
    let mut recorded = Vec::new();
    let failing = FailingConnection {
        of: &mut transaction,
        fails: vec![busy, busy],
        recorded: &mut recorded,
    };
    let request = AppendRequest::new(vec![with_id()], vec![]).unwrap();
    // The append checks that the transaction is still open, so its result holds within it.
    assert_eq!(
        hosted.store.append_within(Box::new(failing), request, &brief()),
        Ok(Appended::repeated(at(1)))
    );
    let expected =
        ["BEGIN", "UPDATE", "BEGIN", "UPDATE", "BEGIN", "UPDATE", "SAVEPOINT", "RELEASE"];
    let is_as_expected =
        recorded.iter().zip(expected).all(|(recorded, start)| recorded.starts_with(start));
    assert!(is_as_expected && recorded.len() == expected.len(), "{recorded:?}");
    // A failed condition is reported once its event is durable, also if another connection has just
    // committed that event.
    transaction.connection().execute_batch("ROLLBACK").unwrap();
    insert_foreign(&hosted.pool.open(), 2, numbered(7));
    transaction.connection().execute_batch("BEGIN").unwrap();
    let before = hosted.store.syncs();
    let failing =
        FailingConnection { of: &mut transaction, fails: vec![busy], recorded: &mut recorded };
    let guard = AppendCondition::new(query(&[], &["n:7"]), at(0));
    let request = AppendRequest::new(vec![numbered(8)], vec![guard]).unwrap();
    let answer = hosted.store.append_within(Box::new(failing), request, &brief());
    assert_eq!(answer, Err(Error::condition_failed(at(2))));
    assert_eq!(hosted.store.syncs(), before + 1);
    transaction.connection().execute_batch("ROLLBACK").unwrap();
    assert!(recorded.iter().all(|recorded| !recorded.starts_with("PRAGMA")), "{recorded:?}");
}

/// How a caller's transaction or a statement in it is interrupted during an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interruption {
    /// The host ends the transaction before the statement and runs no more statements in it, as
    /// `database/sql` does when a context ends.
    EndedByHostBefore,
    /// The host ends the transaction in the same way after the statement.
    EndedByHostAfter,
    /// The statement fails, and SQLite ends the transaction by itself.
    EndedBySqlite,
    /// The statement fails without an effect.
    Failed,
    /// The statement takes effect and then reports a failure.
    FailedAfter,
}

/// A connection that is interrupted at one statement, after `left` others.
struct InterruptedConnection<'a> {
    of: &'a mut Borrowed,
    interruption: Interruption,
    left: usize,
    is_over: bool,
}

impl InterruptedConnection<'_> {
    fn at<T>(
        &mut self,
        statement: impl FnOnce(&mut Borrowed) -> std::result::Result<T, Failure>,
    ) -> std::result::Result<T, Failure> {
        let failure = |code| Failure { code, message: "as the test asked".into() };
        let over = failure(rusqlite::ffi::SQLITE_MISUSE);
        if self.is_over {
            return Err(over);
        }
        self.left = self.left.wrapping_sub(1);
        if self.left != usize::MAX {
            return statement(self.of);
        }
        let after = [Interruption::EndedByHostAfter, Interruption::FailedAfter]
            .contains(&self.interruption);
        let outcome = if after { statement(self.of) } else { Err(over.clone()) };
        if ![Interruption::Failed, Interruption::FailedAfter].contains(&self.interruption) {
            self.of.rest.clear();
            let _ = self.of.connection().execute_batch("ROLLBACK");
        }
        match self.interruption {
            Interruption::EndedByHostBefore | Interruption::EndedByHostAfter => {
                self.is_over = true;
                outcome
            }
            _ => Err(failure(rusqlite::ffi::SQLITE_IOERR)),
        }
    }
}

impl BorrowedConnection for InterruptedConnection<'_> {
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        // The append runs BEGIN to see whether a transaction is open: it must fail then. It is not
        // counted.
        if sql == "BEGIN" && !self.is_over {
            return self.of.run(sql, values);
        }
        self.at(|of| of.run(sql, values))
    }
    fn query(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        self.at(|of| of.query(sql, values))
    }
    fn more(&mut self) -> std::result::Result<Reply, Failure> {
        self.at(|of| of.more())
    }
    fn finish(&mut self) {
        if !self.is_over {
            self.of.rest.pop();
        }
    }
    fn spoil(&mut self) {
        self.of.spoil();
    }
}

#[test]
fn an_interrupted_transaction_leaves_its_connection_unchanged() {
    for interruption in [
        Interruption::EndedByHostBefore,
        Interruption::EndedByHostAfter,
        Interruption::EndedBySqlite,
        Interruption::Failed,
        Interruption::FailedAfter,
    ] {
        let hosted = Hosted::new(2, "wal");
        append_to(&hosted.store, (0..20).map(numbered).collect(), None).unwrap();
        let mut transaction = Borrowed::callers(hosted.pool.take());
        for step in 0.. {
            let connection = transaction.connection();
            connection.execute_batch("BEGIN; INSERT INTO theirs VALUES (1)").unwrap();
            let guard = AppendCondition::new(query(&["B"], &["n:1"]), at(0));
            let events = (0..40).map(numbered).collect();
            let request = AppendRequest::new(events, vec![guard]).unwrap();
            let interrupted = InterruptedConnection {
                of: &mut transaction,
                interruption,
                left: step,
                is_over: false,
            };
            let answer = hosted.store.append_within(Box::new(interrupted), request, &brief());
            transaction.rest.clear();
            let connection = transaction.connection();
            assert_eq!(settings(connection), transaction.found, "{interruption:?} at {step}");
            assert!(!transaction.is_spoiled);
            // The append leaves no savepoint open.
            assert!(
                connection.execute_batch("RELEASE dcb_append").is_err(),
                "{interruption:?} at {step}"
            );
            let committed = connection.execute_batch("COMMIT").is_ok();
            let count = |table| {
                let sql = format!("SELECT count(*) FROM {table}");
                connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
            };
            let (events, theirs) = (count("dcb_events"), count("theirs"));
            assert_eq!(theirs, i64::from(committed), "{interruption:?} at {step}");
            if answer.is_err() {
                assert_eq!(events, 20, "{interruption:?} at {step}");
            } else if committed {
                assert_eq!(
                    (answer, events),
                    (Ok(Appended::new(at(60))), 60),
                    "{interruption:?} at {step}"
                );
                assert!(step > 10, "{interruption:?} at {step}");
                break;
            }
            connection.execute_batch("DELETE FROM theirs").unwrap();
        }
        hosted.pool.give_back(transaction.connection.take());
        assert_eq!(append_to(&hosted.store, vec![numbered(1)], None), Ok(61));
    }
}

/// A pool on which one statement fails a number of times; acquiring a connection counts as one.
struct FaultyHost {
    pool: Arc<Pool>,
    fault: Arc<Mutex<Fault>>,
}

#[derive(Default)]
struct Fault {
    /// The number of statements before the one that fails.
    left: usize,
    /// The beginning of the failing statement; the first one to fail sets it if it is `None`.
    sql: Option<String>,
    /// How many times it fails.
    times: usize,
    /// The code with which it fails.
    code: i32,
    /// Whether it fails only after it has done its work.
    is_after: bool,
    /// All statements so far.
    statements: Vec<String>,
    /// The message with which it fails, if its text matters.
    message: Option<&'static str>,
}

impl Fault {
    fn check(&mut self, sql: &str) -> std::result::Result<(), Failure> {
        self.statements.push(sql.to_owned());
        self.left = self.left.saturating_sub(1);
        if self.left == 0 && self.sql.is_none() && self.times > 0 {
            self.sql = Some(sql.to_owned());
        }
        if self.times == 0 || self.sql.as_deref().is_none_or(|start| !sql.starts_with(start)) {
            return Ok(());
        }
        self.times -= 1;
        let message = self.message.unwrap_or("as the test asked");
        Err(Failure { code: self.code, message: message.into() })
    }
}

struct FaultyConnection<'a> {
    of: Box<dyn BorrowedConnection + 'a>,
    fault: Arc<Mutex<Fault>>,
}

impl Host for FaultyHost {
    fn acquire(
        &self,
        timeout: Option<Duration>,
    ) -> std::result::Result<Box<dyn BorrowedConnection>, Failure> {
        self.fault.lock().unwrap().check("acquire")?;
        let of = self.pool.acquire(timeout)?;
        Ok(Box::new(FaultyConnection { of, fault: Arc::clone(&self.fault) }))
    }

    fn transaction(&self, connection: ConnectionHandle) -> Box<dyn BorrowedConnection> {
        self.pool.transaction(connection)
    }
}

impl BorrowedConnection for FaultyConnection<'_> {
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        let mut fault = self.fault.lock().unwrap();
        let checked = fault.check(sql);
        let is_after = fault.is_after;
        drop(fault);
        if !is_after {
            checked.clone()?;
        }
        let reply = self.of.run(sql, values)?;
        checked.map(|()| reply)
    }
    fn query(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        self.fault.lock().unwrap().check(sql)?;
        self.of.query(sql, values)
    }
    fn more(&mut self) -> std::result::Result<Reply, Failure> {
        self.of.more()
    }
    fn finish(&mut self) {
        self.of.finish();
    }
    fn spoil(&mut self) {
        self.of.spoil();
    }
}

const LOCKS: [i32; 6] = [
    rusqlite::ffi::SQLITE_BUSY,
    rusqlite::ffi::SQLITE_BUSY_RECOVERY,
    rusqlite::ffi::SQLITE_BUSY_SNAPSHOT,
    rusqlite::ffi::SQLITE_BUSY_TIMEOUT,
    rusqlite::ffi::SQLITE_LOCKED,
    rusqlite::ffi::SQLITE_LOCKED_SHAREDCACHE,
];

/// An operation on a store, or on a pool on which a statement fails.
type Operation<'a> = &'a dyn Fn(&HostStore, &Arc<Pool>, Box<FaultyHost>) -> Result<()>;

/// Runs the operation once for each of its statements and each code, with a failure at that
/// statement, and passes the result to `check`.
fn fail_at_each_statement(
    mode: &str,
    codes: &[i32],
    operation: Operation<'_>,
    check: &dyn Fn(Result<()>, &str),
) {
    let hosted = Hosted::new(2, mode);
    append_to(&hosted.store, (0..20).map(numbered).collect(), None).unwrap();
    let fault = Arc::new(Mutex::new(Fault::default()));
    let faulty =
        || Box::new(FaultyHost { pool: Arc::clone(&hosted.pool), fault: Arc::clone(&fault) });
    let store = HostStore::open(faulty(), &Options::default()).unwrap();
    for code in codes {
        for at in 1.. {
            *fault.lock().unwrap() = Fault { left: at, times: 2, code: *code, ..Fault::default() };
            let answer = operation(&store, &hosted.pool, faulty());
            let fault = std::mem::take(&mut *fault.lock().unwrap());
            let Some(sql) = fault.sql else {
                assert!(at > 3, "{at} statements");
                break;
            };
            check(answer, &format!("{mode}, {code}, at {at}: {sql}"));
        }
    }
}

#[test]
fn every_call_waits_for_every_lock_it_meets() {
    let operations: [Operation<'_>; 6] = [
        &|store, _, _| store.head(&CallOptions::default()).map(|head| assert_eq!(head, at(20))),
        &|store, _, _| {
            let request =
                ReadRequest::new(query(&[], &["n:3"]), at(0), None, None, Direction::Forward);
            let mut reading = ReadState::new(request);
            let batch = BatchLimits { max_events: 7, max_bytes: usize::MAX };
            let mut count = 0;
            let mut sink = |_: &EventView<'_>| {
                count += 1;
                Ok(())
            };
            store.read(&mut reading, batch, &CallOptions::default(), &mut sink)?;
            assert_eq!(count, 1);
            Ok(())
        },
        &|store, _, _| store.diagnose(&CallOptions::default()).map(drop),
        &|store, _, _| store.wait(at(0), &CallOptions::default()).map(drop),
        // Enough events for a segment, which is written now or, after a failure, later.
        &|store, _, _| append_to(store, (0..40).map(numbered).collect(), None).map(drop),
        &|_, _, faulty| HostStore::open(faulty, &Options::default()).map(drop),
    ];
    for mode in ["wal", "delete"] {
        for operation in operations {
            fail_at_each_statement(mode, &LOCKS, operation, &|answer, place| {
                assert_eq!(answer, Ok(()), "{place}");
            });
        }
    }
}

#[test]
fn the_creation_of_a_store_waits_for_every_lock_it_meets() {
    for at in 1.. {
        let folder = TempDir::new().unwrap();
        let pool = Pool::new(Some(folder.path().join("new.db")), 1);
        let code = LOCKS[at % LOCKS.len()];
        let fault = Arc::new(Mutex::new(Fault { left: at, times: 2, code, ..Fault::default() }));
        let faulty = FaultyHost { pool, fault: Arc::clone(&fault) };
        let store = HostStore::open(Box::new(faulty), &Options::default()).unwrap();
        assert_eq!(append_to(&store, vec![numbered(1)], None), Ok(1));
        if fault.lock().unwrap().sql.is_none() {
            return assert!(at > 10, "{at} statements");
        }
    }
}

#[test]
fn a_connection_is_returned_unchanged_after_any_failure() {
    let operation: Operation<'_> = &|store, pool, _| {
        let connection = pool.take();
        connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA read_uncommitted = 1").unwrap();
        pool.give_back(Some(connection));
        append_to(store, vec![numbered(1)], None)?;
        store.head(&CallOptions::default()).map(drop)
    };
    for mode in ["wal", "delete"] {
        // `Borrowed` asserts that the connection is unchanged when it returns to the pool.
        let codes = [rusqlite::ffi::SQLITE_IOERR, rusqlite::ffi::SQLITE_NOMEM, 0];
        fail_at_each_statement(mode, &codes, operation, &|_, _| ());
    }
}

#[test]
fn an_append_within_a_transaction_waits_for_every_lock_it_meets() {
    for code in LOCKS {
        let hosted = Hosted::new(2, "wal");
        append_to(&hosted.store, (0..20).map(numbered).collect(), None).unwrap();
        for step in 1.. {
            let mut transaction = Borrowed::callers(hosted.pool.take());
            transaction.connection().execute_batch("BEGIN").unwrap();
            // The first statement is the BEGIN that must fail. It never waits for a lock.
            let fault =
                Arc::new(Mutex::new(Fault { left: step + 1, times: 2, code, ..Fault::default() }));
            let connection =
                FaultyConnection { of: Box::new(&mut transaction), fault: Arc::clone(&fault) };
            let guard = AppendCondition::new(query(&["B"], &["n:1"]), at(0));
            let request = AppendRequest::new((0..40).map(numbered).collect(), vec![guard]).unwrap();
            let answer =
                hosted.store.append_within(Box::new(connection), request, &CallOptions::default());
            let sql = fault.lock().unwrap().sql.take();
            assert_eq!(answer, Ok(Appended::new(at(60))), "{code} at {step}: {sql:?}");
            transaction.connection().execute_batch("ROLLBACK").unwrap();
            hosted.pool.give_back(transaction.connection.take());
            if sql.is_none() {
                assert!(step > 10, "{step} statements");
                break;
            }
        }
    }
}

#[test]
fn a_call_keeps_its_timeout_while_it_waits_for_a_lock() {
    let hosted = Hosted::new(2, "wal");
    append_to(&hosted.store, vec![numbered(1)], None).unwrap();
    for start in ["acquire", "BEGIN IMMEDIATE", "SELECT", "INSERT INTO main.dcb_events", "COMMIT"] {
        let fault = Arc::new(Mutex::new(Fault::default()));
        let faulty = FaultyHost { pool: Arc::clone(&hosted.pool), fault: Arc::clone(&fault) };
        let store = HostStore::open(Box::new(faulty), &Options::default()).unwrap();
        *fault.lock().unwrap() = Fault {
            sql: Some(start.to_owned()),
            times: usize::MAX,
            code: rusqlite::ffi::SQLITE_LOCKED_SHAREDCACHE,
            ..Fault::default()
        };
        let append = |call: &CallOptions| {
            let request = AppendRequest::new(vec![numbered(2)], vec![]).unwrap();
            store.append(request, call)
        };
        let since = Instant::now();
        let error = append(&brief()).unwrap_err();
        assert_eq!(error.status, Status::Busy, "{start}: {error}");
        assert!(since.elapsed() >= Duration::from_millis(20), "{start}");
        let cancel = CancelToken::new();
        thread::scope(|scope| {
            let endless = CallOptions { timeout: Timeout::Never, cancel: Some(cancel.clone()) };
            let waiting = scope.spawn(move || append(&endless));
            thread::sleep(Duration::from_millis(5));
            cancel.trigger();
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.status, Status::Cancelled, "{start}: {error}");
        });
    }
    assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(1)));
}

/// After a failed commit, a driver may return a connection to its pool with the transaction open.
/// What such a connection shows was never committed.
#[test]
fn a_connection_from_the_pool_with_an_open_transaction_is_discarded() {
    each_mode(|mode| {
        let looks: [&dyn Fn(&HostStore); 4] = [
            &|store| assert_eq!(store.head(&CallOptions::default()), Ok(at(1))),
            &|store| assert_eq!(found(store, Query::all()), [1]),
            &|store| assert_eq!(append_to(store, vec![numbered(3)], None), Ok(2)),
            &|store| assert_eq!(store.wait(at(0), &brief()), Ok(at(1))),
        ];
        for look in looks {
            let hosted = Hosted::new(2, mode);
            append_to(&hosted.store, vec![numbered(1)], None).unwrap();
            let connection = hosted.pool.take();
            connection.execute_batch("PRAGMA synchronous = FULL; BEGIN IMMEDIATE").unwrap();
            insert_foreign(&connection, 2, numbered(2));
            hosted.pool.give_back(Some(connection));
            look(&hosted.store);
            assert_eq!(hosted.pool.spoiled.load(SeqCst), 1, "{mode}");
        }
    });
}

#[test]
fn repeated_and_duplicate_ids_are_detected_within_a_transaction() {
    let hosted = Hosted::new(2, "wal");
    let with_id = |id: &str, n: usize| {
        let mut builder = EventBuilder::new(EventType::new("A").unwrap());
        builder.id(EventId::new(id).unwrap());
        let data = n.to_string();
        builder.data(&data).unwrap();
        builder.build()
    };
    append_to(&hosted.store, vec![with_id("a", 1)], None).unwrap();
    let mut transaction = Borrowed::callers(hosted.pool.take());
    transaction.connection().execute_batch("BEGIN IMMEDIATE").unwrap();
    for (id, appended) in [
        ("b", Appended::new(at(2))),
        ("a", Appended::repeated(at(1))),
        ("b", Appended::repeated(at(2))),
    ] {
        let answer = hosted.appended_within(&mut transaction, vec![with_id(id, 1)]);
        assert_eq!(answer, Ok(appended));
    }
    let error = hosted.within(&mut transaction, vec![with_id("b", 2)]).unwrap_err();
    assert_eq!((error.status, error.position), (Status::DuplicateId, at(2)));
    transaction.connection().execute_batch("ROLLBACK").unwrap();
    assert_eq!(append_to(&hosted.store, vec![with_id("b", 2)], None), Ok(2));
}

#[test]
fn a_transaction_that_sqlite_has_ended_rejects_an_append() {
    each_mode(|mode| {
        let hosted = Hosted::new(2, mode);
        let mut transaction = Borrowed::callers(hosted.pool.take());
        let statements = "CREATE UNIQUE INDEX once ON theirs (a); BEGIN; \
                          INSERT INTO theirs VALUES (1); INSERT OR ROLLBACK INTO theirs VALUES (1)";
        assert!(transaction.connection().execute_batch(statements).is_err());
        let error = hosted.within(&mut transaction, vec![numbered(1)]).unwrap_err();
        assert_eq!(error.status, Status::InvalidArgument, "{error}");
        assert!(transaction.connection().is_autocommit());
        assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(0)));
    });
}

#[test]
fn an_append_within_a_transaction_does_not_wait_forever() {
    let hosted = Hosted::new(2, "wal");
    let other = hosted.pool.open();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // SQLite lets a transaction without a lock wait for the busy timeout of its connection. For one
    // that has read, SQLite fails at once, and the library waits until the timeout of the call.
    let (short, forever) = (Duration::from_millis(200), Duration::from_secs(3_600));
    for (begin, timeout) in [("BEGIN", short), ("BEGIN; SELECT count(*) FROM theirs", forever)] {
        let mut transaction = Borrowed::callers(hosted.pool.open());
        transaction.connection().busy_timeout(timeout).unwrap();
        transaction.connection().execute_batch(begin).unwrap();
        let before = settings(transaction.connection());
        let since = Instant::now();
        let error = hosted.within(&mut transaction, vec![numbered(1)]).unwrap_err();
        assert_eq!(error.status, Status::Busy, "{error}");
        assert!(since.elapsed() < Duration::from_secs(60), "{begin}");
        assert_eq!(settings(transaction.connection()), before);
    }
}

/// Returns how many events a trigger of the host has seen.
fn seen(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM theirs", [], |row| row.get(0)).unwrap()
}

#[test]
fn triggers_of_the_host_run_only_on_its_own_connections() {
    let hosted = Hosted::new(2, "wal");
    let connection = hosted.pool.open();
    connection
        .execute_batch(
            "CREATE TRIGGER spy AFTER INSERT ON dcb_events \
             BEGIN INSERT INTO theirs VALUES (NEW.position); END",
        )
        .unwrap();
    assert_eq!(append_to(&hosted.store, vec![numbered(1)], None), Ok(1));
    assert_eq!(seen(&connection), 1);
    let own = open(hosted.path());
    assert_eq!(append_to(&*own, vec![numbered(2)], None), Ok(2));
    assert_eq!(seen(&connection), 1);
    assert_eq!(append_to(&hosted.store, vec![numbered(3)], None), Ok(3));
    assert_eq!(seen(&connection), 2);
}

#[test]
fn an_append_rejected_by_a_trigger_is_not_damage() {
    let raised = rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER;
    for (event, body, detail) in [
        ("INSERT", "SELECT RAISE(ABORT, 'no')", raised),
        ("INSERT", "SELECT RAISE(FAIL, 'no')", raised),
        ("INSERT", "SELECT RAISE(ROLLBACK, 'no')", raised),
        ("INSERT", "SELECT RAISE(IGNORE)", 0),
        ("INSERT", "INSERT INTO once VALUES (1)", rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE),
        ("INSERT", "INSERT INTO gone VALUES (1)", rusqlite::ffi::SQLITE_ERROR),
    ] {
        for kind in ["", "TEMP "] {
            let hosted = Hosted::new(1, "wal");
            let connection = hosted.pool.take();
            connection
                .execute_batch(&format!(
                    "CREATE TABLE once (a UNIQUE); INSERT INTO once VALUES (1); \
                     CREATE TABLE gone (a); \
                     CREATE {kind}TRIGGER gate BEFORE {event} ON main.dcb_events \
                     WHEN NEW.position % 20 = 0 BEGIN {body}; END; DROP TABLE gone"
                ))
                .unwrap();
            hosted.pool.give_back(Some(connection));
            let place = format!("{kind}{body}");
            let check = |answer: Result<i64>| {
                let error = answer.unwrap_err();
                let found = (error.status, error.detail);
                assert_eq!(found, (Status::InvalidArgument, detail), "{place}: {error}");
                assert!(error.message.starts_with("the trigger gate "), "{place}: {error}");
            };
            let events = || (0..30).map(numbered).collect();
            check(append_to(&hosted.store, events(), None));
            assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(0)));
            let mut transaction = Borrowed::callers(hosted.pool.take());
            transaction.connection().execute_batch("BEGIN").unwrap();
            check(hosted.within(&mut transaction, events()));
            let _ = transaction.connection().execute_batch("COMMIT");
            transaction.connection().execute_batch("DROP TRIGGER gate").unwrap();
            hosted.pool.give_back(transaction.connection.take());
            assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(0)));
            assert_eq!(append_to(&hosted.store, events(), None), Ok(30));
        }
    }
}

/// A failed constraint of the store's own tables is damage, even if the host has a trigger that could
/// have failed.
#[test]
fn a_failed_constraint_of_the_store_is_damage_despite_a_trigger() {
    let hosted = Hosted::new(1, "wal");
    append_to(&hosted.store, vec![numbered(1)], None).unwrap();
    let mut transaction = Borrowed::callers(hosted.pool.take());
    let statements = "CREATE TRIGGER spy AFTER INSERT ON dcb_events \
                      BEGIN INSERT INTO theirs VALUES (NEW.position); END; BEGIN";
    transaction.connection().execute_batch(statements).unwrap();
    let constraint = rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY;
    let message = "UNIQUE constraint failed: dcb_events.position";
    let fault = Arc::new(Mutex::new(Fault {
        sql: Some("INSERT INTO main.dcb_events".to_owned()),
        times: usize::MAX,
        code: constraint,
        message: Some(message),
        ..Fault::default()
    }));
    let refused = FaultyConnection { of: Box::new(&mut transaction), fault };
    let request = AppendRequest::new(vec![numbered(2)], vec![]).unwrap();
    let error = hosted.store.append_within(Box::new(refused), request, &brief()).unwrap_err();
    assert_eq!((error.status, error.detail), (Status::Corrupt, constraint));
}

#[test]
fn a_transaction_on_a_database_without_a_store_is_rejected() {
    let hosted = Hosted::new(2, "wal");
    let folder = TempDir::new().unwrap();
    let pool = Pool::new(Some(folder.path().join("other.db")), 1);
    let mut transaction = Borrowed::callers(pool.take());
    transaction.connection().execute_batch("BEGIN; CREATE TABLE other (a)").unwrap();
    let error = hosted.within(&mut transaction, vec![numbered(1)]).unwrap_err();
    assert_eq!(error.status, Status::InvalidArgument, "{error}");
}

/// The index of a failed condition is no code of SQLite: 1 would be that of a missing table.
#[test]
fn every_condition_that_fails_in_memory_is_reported_as_that() {
    let pool = Pool::new(None, 1);
    let store = HostStore::open(Box::new(Arc::clone(&pool)), &Options::default()).unwrap();
    append_to(&store, vec![event("A", &[])], None).unwrap();
    for failing in 0..3 {
        let condition = |index| {
            let query = query(&[if index == failing { "A" } else { "B" }], &[]);
            AppendCondition::new(query, at(0))
        };
        let request =
            AppendRequest::new(vec![event("N", &[])], (0..3).map(condition).collect()).unwrap();
        let error = store.append(request, &CallOptions::default()).unwrap_err();
        assert_eq!((error.status, error.detail), (Status::ConditionFailed, failing), "{error}");
    }
}

#[test]
fn a_transaction_on_another_in_memory_database_is_rejected() {
    let open = || {
        let pool = Pool::new(None, 1);
        let store = HostStore::open(Box::new(Arc::clone(&pool)), &Options::default()).unwrap();
        (pool, store)
    };
    let ((own, store), (other, _other)) = (open(), open());
    let request = || AppendRequest::new(vec![numbered(1)], vec![]).unwrap();
    for (pool, expected) in [(&other, Err(Status::InvalidArgument)), (&own, Ok(1))] {
        let mut transaction = Borrowed::callers(pool.take());
        transaction.connection().execute_batch("BEGIN").unwrap();
        let answer = store.append_within(Box::new(&mut transaction), request(), &brief());
        let answer = answer.map(|appended| appended.last.get()).map_err(|error| error.status);
        assert_eq!(answer, expected);
        transaction.connection().execute_batch("ROLLBACK").unwrap();
    }
}

#[test]
fn a_transaction_on_another_database_is_rejected() {
    let (hosted, other) = (Hosted::new(2, "wal"), Hosted::new(2, "wal"));
    let mut transaction = Borrowed::callers(other.pool.take());
    transaction.connection().execute_batch("BEGIN").unwrap();
    let error = hosted.within(&mut transaction, vec![numbered(1)]).unwrap_err();
    assert_eq!(error.status, Status::InvalidArgument);
}

/// Asserts that the index finds what a scan finds, and covers all but the newest of `head` events.
fn assert_indexed(hosted: &Hosted, head: i64) {
    let connection = hosted.pool.open();
    let (live, _) = segments(hosted);
    let disk = SegmentSearch {
        source: Source::Own(&connection, None),
        segments: &live,
        cache: CacheUse::default(),
        limit: Limit::default(),
    };
    let all = PositionRange { after: at(0), through: live.indexed() };
    let mut decoder = EventReader::default();
    for n in [0, 17, 333, 999] {
        let query = query(&[], &[&format!("tens:{n}")]);
        let collect = |scans: bool, decoder: &mut EventReader| {
            let mut positions = Vec::new();
            let mut visit = |view: &EventView<'_>| {
                positions.push(view.position.get());
                Ok(ControlFlow::Continue(()))
            };
            let search = Search { query: &query, range: all, direction: Direction::Forward };
            match scans {
                true => disk.scan(decoder, search, &mut visit),
                false => disk.search(decoder, search, &mut visit),
            }
            .unwrap();
            positions
        };
        assert_eq!(collect(false, &mut decoder), collect(true, &mut decoder));
    }
    assert!(
        at(head) - live.indexed() <= 2 * SEGMENT_EVENTS,
        "{} of {head} are indexed",
        live.indexed()
    );
}

#[test]
fn appends_write_and_merge_segments() {
    let hosted = Hosted::new(1, "wal");
    let head = 40 * SEGMENT_EVENTS;
    for n in 0..head as usize {
        append_to(&hosted.store, vec![numbered(n)], Some(query(&[], &[&format!("n:{n}")])))
            .unwrap();
    }
    assert_indexed(&hosted, head);
    let (live, others) = segments(&hosted);
    assert!(live.list.len() < 16, "{} segments", live.list.len());
    assert!(others <= 9, "{others} segments are building or dead");
    assert!(hosted.store.tail_len() <= TAIL_EVENTS);
    // A native store uses the same index.
    hosted.store.close();
    drop(hosted.pool.take());
    let own = open(hosted.path());
    assert_eq!(all(&own, query(&[], &["tens:17"])), (171..=180).collect::<Vec<_>>());
    assert_eq!(
        append(&own, vec![numbered(0)], Some(query(&[], &["n:7"]))).unwrap_err().position,
        at(8)
    );
}

#[test]
fn appends_within_transactions_write_segments() {
    let hosted = Hosted::new(1, "wal");
    let head = 20 * SEGMENT_EVENTS;
    for n in 0..head as usize {
        let mut transaction = Borrowed::callers(hosted.pool.take());
        transaction.connection().execute_batch("BEGIN IMMEDIATE").unwrap();
        hosted.within(&mut transaction, vec![numbered(n)]).unwrap();
        transaction.connection().execute_batch("COMMIT").unwrap();
        hosted.pool.give_back(transaction.connection.take());
    }
    assert_indexed(&hosted, head);
    let (live, others) = segments(&hosted);
    assert!(live.list.len() < 24, "{} segments", live.list.len());
    assert_eq!(others, 0);
}

#[test]
fn a_native_store_and_a_host_store_write_to_one_file() {
    let hosted = Hosted::new(4, "wal");
    let own = open(hosted.path());
    let (mut by_own, mut by_host) = (0, 0);
    thread::scope(|scope| {
        let claims = |store: &dyn Store| {
            let claim = |n: &usize| {
                let guard = query(&["A"], &[&format!("n:{n}")]);
                match append_to(store, vec![numbered(*n)], Some(guard)) {
                    Ok(_) => true,
                    Err(error) if error.status == Status::ConditionFailed => false,
                    Err(error) => panic!("{error}"),
                }
            };
            (0..400).filter(claim).count()
        };
        let own = scope.spawn(move || claims(&*own));
        by_host = claims(&hosted.store);
        by_own = own.join().unwrap();
    });
    assert_eq!(by_own + by_host, 400);
    let mut all = found(&hosted.store, Query::all());
    assert_eq!(all, (1..=400).collect::<Vec<_>>());
    all.clear();
    for n in 0..400 {
        all.extend(found(&hosted.store, query(&[], &[&format!("n:{n}")])));
    }
    all.sort_unstable();
    assert_eq!(all, (1..=400).collect::<Vec<_>>());
}

#[test]
fn unsynced_events_are_synced_before_they_are_returned() {
    let hosted = Hosted::new(2, "wal");
    append_to(&hosted.store, vec![numbered(1)], None).unwrap();
    let syncs = || hosted.store.syncs();
    let before = syncs();
    assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(1)));
    assert_eq!(syncs(), before);
    let mut transaction = Borrowed::callers(hosted.pool.take());
    transaction.connection().execute_batch("PRAGMA synchronous = NORMAL; BEGIN").unwrap();
    hosted.within(&mut transaction, vec![numbered(2)]).unwrap();
    transaction.connection().execute_batch("COMMIT").unwrap();
    assert_eq!(syncs(), before);
    let refused = append_to(&hosted.store, vec![numbered(3)], Some(query(&[], &["n:2"])));
    assert_eq!(refused, Err(Error::condition_failed(at(2))));
    assert_eq!(syncs(), before + 1);
    assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(2)));
    assert_eq!(syncs(), before + 1);
    // An event that cannot be synced is not returned.
    hosted.store.fail_syncs();
    let failed = append_to(&hosted.store, vec![numbered(4)], None).unwrap_err();
    assert_eq!(failed.status, Status::Io);
    assert_eq!(hosted.store.head(&CallOptions::default()), Ok(at(2)));
    assert_eq!(append_to(&hosted.store, vec![numbered(5)], None).unwrap_err().status, Status::Io);
}

#[test]
fn an_append_restores_the_synchronous_setting() {
    let hosted = Hosted::new(1, "wal");
    let connection = hosted.pool.take();
    connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
    hosted.pool.give_back(Some(connection));
    append_to(&hosted.store, vec![numbered(1)], None).unwrap();
    let connection = hosted.pool.take();
    let synchronous: i64 =
        connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 0);
}

#[test]
fn a_wait_returns_on_appends_of_this_store_and_of_others() {
    let hosted = Hosted::new(2, "wal");
    let own = open(hosted.path());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| hosted.store.wait(at(0), &CallOptions::default()));
        append_to(&*own, vec![numbered(1)], None).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(at(1)));
        let waiting = scope.spawn(|| hosted.store.wait(at(1), &CallOptions::default()));
        append_to(&hosted.store, vec![numbered(2)], None).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(at(2)));
    });
}

#[test]
fn an_idle_wait_looks_at_the_files_and_seldom_into_the_database() {
    for mode in ["wal", "delete"] {
        let hosted = Hosted::new(2, mode);
        append_to(&hosted.store, vec![numbered(1)], None).unwrap();
        // As if nothing had been written for an hour.
        let age_files = || {
            for suffix in ["", "-wal"] {
                let path = hosted.folder.path().join(format!("host.db{suffix}"));
                if let Ok(file) = std::fs::File::options().write(true).open(path) {
                    file.set_modified(SystemTime::now() - Duration::from_secs(3_600)).unwrap();
                }
            }
        };
        let poll = || hosted.store.polled().unwrap();
        age_files();
        assert_eq!(poll(), at(1));
        let before = hosted.pool.statements.load(SeqCst);
        assert_eq!(poll(), at(1));
        assert_eq!(hosted.pool.statements.load(SeqCst), before, "{mode}");
        let mut transaction = Borrowed::callers(hosted.pool.take());
        transaction.connection().execute_batch("BEGIN").unwrap();
        hosted.within(&mut transaction, vec![numbered(2)]).unwrap();
        transaction.connection().execute_batch("COMMIT").unwrap();
        hosted.pool.give_back(transaction.connection.take());
        assert_eq!(poll(), at(2), "{mode}");
    }
}

#[test]
fn a_panic_closes_the_store_and_rolls_back() {
    let hosted = Hosted::new(1, "wal");
    append_to(&hosted.store, vec![numbered(1)], None).unwrap();
    hosted.store.panic_once();
    let append = || append_to(&hosted.store, vec![numbered(2)], None);
    assert_eq!(append().unwrap_err().status, Status::Internal);
    assert_eq!(append().unwrap_err().status, Status::Closed);
    assert!(hosted.pool.take().is_autocommit());
    assert_eq!(hosted.pool.spoiled.load(SeqCst), 0);
}

#[test]
fn a_host_store_is_diagnosed_in_each_journal_mode_and_in_memory() {
    for mode in ["wal", "delete"] {
        let hosted = Hosted::new(1, mode);
        append_to(&hosted.store, vec![numbered(1), numbered(2)], None).unwrap();
        let diagnosis = hosted.store.diagnose(&CallOptions::default()).unwrap();
        assert_eq!(diagnosis.head, at(2));
        let found = diagnosis.sqlite.unwrap();
        assert_eq!(found.path, Some(hosted.path().canonicalize().unwrap()));
        assert_eq!((found.durable, found.indexed, found.failure), (Some(at(2)), at(0), None));
        assert_eq!((found.sqlite.as_str(), found.bundled_sqlite), (rusqlite::version(), false));
        assert_eq!((found.locks, found.other_sqlite), (Some("process"), None));
        assert_eq!(found.log_bytes.is_some(), mode == "wal");
    }
    let pool = Pool::new(None, 1);
    let store = HostStore::open(Box::new(pool), &Options::default()).unwrap();
    let found = store.diagnose(&CallOptions::default()).unwrap().sqlite.unwrap();
    assert_eq!((found.path, found.durable, found.locks), (None, None, None));
}
