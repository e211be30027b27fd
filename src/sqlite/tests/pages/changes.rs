//! Event readers that are kept while other connections change the file, in rollback mode and in WAL
//! mode. Every row that they return must be the one that SQLite returns in the same transaction.
//!
//! A transaction that has written pages before it is rolled back leaves its rows in free pages:
//! complete, with valid checksums, and at positions that other events take later.

use std::ops::ControlFlow;
use std::process::Command;

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::position::{Position, at};
use crate::sqlite::cache::ReadCaches;
use crate::sqlite::connection::transaction::retry;

/// Enough readers that each leaf of a hundred events can be read by a different one: a reader may
/// replace the pages that it has read ahead with those of its first lookup.
const READERS: usize = 14;
const PATH: &str = "DCB_TEST_HOST_PATH";
const ROWS: &str = "DCB_TEST_HOST_ROWS";

/// Returns the event that an attempt writes at a position. Its length does not depend on the
/// attempt, so the rows that one attempt leaves behind look like those that another one writes.
fn written(position: i64, attempt: u32) -> SequencedEvent {
    let tag = format!("k:{position:08}");
    let padding = "x".repeat(100 + position as usize * 37 % 400);
    let data = format!("\"{attempt:08}{padding}\"");
    let mut builder = EventBuilder::new(EventType::new("T").unwrap());
    builder.tag(Tag::new(&tag).unwrap()).unwrap();
    builder.data(&data).unwrap();
    SequencedEvent { position: at(position), timestamp_us: 17, event: builder.build() }
}

/// Opens a connection of another program. Its cache is so small that it writes pages before its
/// transactions end.
fn host(path: &Path) -> Connection {
    let host = Connection::open(path).unwrap();
    host.busy_timeout(Duration::from_secs(10)).unwrap();
    host.execute_batch("PRAGMA synchronous = off; PRAGMA cache_size = 5; PRAGMA cache_spill = 1")
        .unwrap();
    host
}

/// Begins a transaction that stores `count` events above `head`.
fn begin(host: &Connection, head: i64, count: i64, attempt: u32) {
    host.execute_batch("BEGIN IMMEDIATE").unwrap();
    for position in head + 1..=head + count {
        let event = written(position, attempt);
        let checksums = checksums(std::slice::from_ref(&event.event));
        insert(host, [&event.into()].into_iter().zip(&checksums)).unwrap();
    }
}

/// Runs in a process that is killed in the middle of a COMMIT.
#[test]
#[ignore = "a process of the other tests"]
fn killed_host() {
    let (Ok(path), Ok(rows)) = (std::env::var(PATH), std::env::var(ROWS)) else { return };
    let numbers: Vec<i64> = rows.split(' ').map(|number| number.parse().unwrap()).collect();
    let host = host(Path::new(&path));
    begin(&host, numbers[0], numbers[1], numbers[2] as u32);
    host.cache_flush().unwrap();
    std::process::abort();
}

#[derive(Debug, Clone)]
enum Step {
    Commit(i64),
    Undo(i64),
    Kill(i64),
    /// Creates a table of this many pages and drops it.
    Junk(u32),
    Vacuum,
    Checkpoint,
    /// Begins a transaction that reads the WAL and holds up checkpoints, or ends it.
    Hold(bool),
    /// Changes the database to WAL mode (`true`) or to rollback mode.
    Wal(bool),
    /// A reader reads `len` events, the last of which is `back` events below the head.
    Read {
        reader: usize,
        len: i64,
        back: i64,
        backwards: bool,
        one_by_one: bool,
    },
}

struct World {
    path: PathBuf,
    /// Readers that are kept while `connections` are reopened for each change of the journal mode.
    readers: Vec<EventReader>,
    connections: Vec<Connection>,
    head: i64,
    attempts: u32,
    is_wal: bool,
    /// A connection whose transaction holds up checkpoints.
    holder: Option<Connection>,
    _folder: TempDir,
}

impl World {
    fn new() -> Self {
        World::with_caches(ReadCaches::new(0))
    }

    /// Creates a world whose readers share these caches.
    fn with_caches(caches: ReadCaches) -> Self {
        let caches = Arc::new(caches);
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        let mut creator = connect(&Location::File(path.clone()), OpenMode::Create).unwrap();
        schema::create(&mut creator, false).unwrap();
        drop(creator);
        let tree = Arc::new(BTree::of_events());
        let readers = (0..READERS)
            .map(|_| EventReader::new(Arc::clone(&tree), Arc::clone(&caches)))
            .collect();
        let (connections, head, attempts, is_wal) = (Vec::new(), 0, 0, false);
        let mut world = World {
            path,
            readers,
            connections,
            head,
            attempts,
            is_wal,
            holder: None,
            _folder: folder,
        };
        world.connect();
        world
    }

    fn connect(&mut self) {
        let location = Location::File(self.path.clone());
        let deadline = CallOptions::default().start(Some(Duration::from_secs(10)));
        let connection = |_| {
            // Retries while the first connection to read recovers the WAL.
            let own = retry(&deadline, || connect(&location, OpenMode::Read)).unwrap();
            // A connection that has read from the WAL keeps it from being deleted.
            retry(&deadline, || Snapshot::take(&own)).unwrap();
            own
        };
        self.connections = (0..READERS).map(connection).collect();
    }

    fn play(&mut self, step: Step) {
        let host = host(&self.path);
        self.attempts += 1;
        match step {
            Step::Commit(count) => {
                begin(&host, self.head, count, self.attempts);
                host.execute_batch("COMMIT").unwrap();
                self.head += count;
            }
            Step::Undo(count) => {
                begin(&host, self.head, count, self.attempts);
                if self.attempts.is_multiple_of(2) {
                    // Writes all changed pages, not only those that did not fit into the cache.
                    host.cache_flush().unwrap();
                }
                host.execute_batch("ROLLBACK").unwrap();
            }
            Step::Kill(count) => {
                let killed = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "sqlite::tests::pages::changes::killed_host", "--ignored"])
                    .env(PATH, &self.path)
                    .env(ROWS, format!("{} {count} {}", self.head, self.attempts))
                    .env("RUST_BACKTRACE", "0")
                    .output()
                    .unwrap();
                assert!(!killed.status.success());
                // The next connection that may write rolls the journal back.
                host.query_row("SELECT count(*) FROM dcb_events", [], |_| Ok(())).unwrap();
            }
            Step::Junk(pages) => host
                .execute_batch(&format!(
                    "CREATE TABLE junk (a);
                     INSERT INTO junk WITH RECURSIVE n(i) AS
                       (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {pages})
                       SELECT zeroblob(3600) FROM n;
                     DROP TABLE junk"
                ))
                .unwrap(),
            Step::Vacuum => host.execute_batch("VACUUM").unwrap(),
            Step::Checkpoint => {
                host.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
            }
            // In rollback mode nobody could commit.
            Step::Hold(holds) if holds && self.is_wal => {
                let holder = connect(&Location::File(self.path.clone()), OpenMode::Read).unwrap();
                holder.execute_batch("BEGIN").unwrap();
                Snapshot::take(&holder).unwrap();
                self.holder = Some(holder);
            }
            Step::Hold(_) => self.holder = None,
            Step::Wal(is_wal) => {
                self.holder = None;
                self.connections.clear();
                let mode = if is_wal { "wal" } else { "delete" };
                let sql = format!("PRAGMA journal_mode = {mode}");
                let now: String = host.query_row(&sql, [], |row| row.get(0)).unwrap();
                assert_eq!(now, mode);
                self.is_wal = is_wal;
                self.connect();
            }
            Step::Read { reader, len, back, backwards, one_by_one } => {
                let high = (self.head - back).max(0);
                let span = PositionRange { after: at((high - len).max(0)), through: at(high) };
                self.compare(reader, span, backwards, one_by_one);
            }
        }
    }

    /// Asserts that a reader returns the events that SQLite returns in the same transaction.
    fn compare(&mut self, reader: usize, span: PositionRange, backwards: bool, one_by_one: bool) {
        let connection = &self.connections[reader];
        let header = self.is_wal.then(|| log_header(connection)).flatten();
        let _transaction = Transaction::begin(connection).unwrap();
        assert_eq!(Snapshot::take(connection).unwrap().head, at(self.head));
        let cookie = Snapshot::schema_cookie(connection).unwrap();
        let mark = header.map(|header| SchemaMark::new(header, cookie));
        let source = Source::Own(connection, mark);
        let seen = |decoder: &mut EventReader| {
            let mut seen = Vec::new();
            let visit = |view: &EventView<'_>| {
                seen.push((
                    view.position,
                    view.data.to_owned(),
                    view.tags.iter().collect::<String>(),
                ));
                Ok(ControlFlow::Continue(()))
            };
            let positions: Vec<Position> =
                (span.after.get() + 1..=span.through.get()).map(at).collect();
            if one_by_one {
                decoder.fetch(source, &positions, visit).unwrap();
            } else {
                decoder.scan(source, span, Direction::from_backwards(backwards), visit).unwrap();
            }
            seen
        };
        assert_eq!(seen(&mut self.readers[reader]), seen(&mut EventReader::default()), "{span:?}");
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..60_i64).prop_map(Step::Commit),
        2 => (40..120_i64).prop_map(Step::Undo),
        1 => (40..120_i64).prop_map(Step::Kill),
        2 => (5..60_u32).prop_map(Step::Junk),
        1 => Just(Step::Vacuum),
        2 => Just(Step::Checkpoint),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => any::<bool>().prop_map(Step::Wal),
        9 => (0..READERS, 1..80_i64, prop_oneof![Just(0), 0..80_i64], any::<bool>(), any::<bool>())
            .prop_map(|(reader, len, back, backwards, one_by_one)| Step::Read {
                reader, len, back, backwards, one_by_one
            }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn readers_agree_with_sqlite_whatever_others_change(
        events in 1..80_i64,
        steps in prop::collection::vec(any_step(), 20..60),
        cache_kib in prop_oneof![3 => Just(0_usize), 1 => 64..1_024_usize],
    ) {
        let mut world = World::with_caches(ReadCaches::new(cache_kib * 1024));
        world.play(Step::Commit(events));
        for step in steps {
            world.play(step);
        }
        for reader in 0..READERS {
            world.compare(reader, PositionRange { after: at(0), through: at(world.head) }, false, true);
        }
    }
}

/// All readers but the last read ahead pages that are free at that time. The last one then learns
/// where in the tree those pages are now. No reader may use what was read ahead.
fn stale_pages(events: i64, is_wal: bool) {
    let mut world = World::new();
    world.play(Step::Commit(events));
    world.play(Step::Junk(60));
    world.play(Step::Undo(100));
    world.play(Step::Wal(is_wal));
    let last = READERS - 1;
    for reader in 0..last {
        world.compare(
            reader,
            PositionRange { after: at((events - 60).max(0)), through: at(events) },
            false,
            false,
        );
    }
    world.play(Step::Commit(100));
    world.play(Step::Checkpoint);
    let only = |position| PositionRange { after: at(position - 1), through: at(position) };
    world.compare(last, only(events + 60), false, true);
    for reader in 0..last {
        world.compare(reader, only(events + 1 + 8 * reader as i64), false, true);
    }
}

#[test]
fn pages_read_ahead_are_not_used_after_a_checkpoint() {
    [3, 300].into_iter().for_each(|events| stale_pages(events, true));
}

#[test]
fn pages_read_ahead_are_not_used_after_a_commit() {
    [3, 300].into_iter().for_each(|events| stale_pages(events, false));
}

/// Because of an open read transaction, a checkpoint writes the parent of the last leaf but not the
/// leaf, which a later commit has changed. In place of the leaf, the file has rolled-back rows.
#[test]
fn pages_are_not_used_after_a_partial_checkpoint() {
    // For at least one of these numbers, the last event is not the first one of its leaf.
    for events in 90..100 {
        let mut world = World::new();
        world.play(Step::Commit(300));
        world.play(Step::Junk(60));
        (0..2).for_each(|_| world.play(Step::Undo(100)));
        world.play(Step::Wal(true));
        world.play(Step::Commit(events));
        let holder = connect(&Location::File(world.path.clone()), OpenMode::Read).unwrap();
        let transaction = Transaction::begin(&holder).unwrap();
        assert_eq!(Snapshot::take(&holder).unwrap().head, at(300 + events));
        world.play(Step::Commit(1));
        world.play(Step::Checkpoint);
        for reader in 0..READERS {
            let position = world.head - reader as i64;
            world.compare(
                reader,
                PositionRange { after: at(position - 1), through: at(position) },
                false,
                true,
            );
        }
        drop(transaction);
    }
}

/// Creates the table of events.
const EVENTS_TABLE: &str = "CREATE TABLE dcb_events (position INTEGER PRIMARY KEY, type TEXT NOT NULL, \
     tags TEXT NOT NULL, data TEXT NOT NULL, id TEXT, metadata TEXT, timestamp INTEGER NOT NULL, \
     checksum INTEGER NOT NULL)";
/// Creates a table of another program that looks like the table of events.
const FOREIGN_TABLE: &str = "CREATE TABLE foreign_events (position INTEGER PRIMARY KEY, type, tags, \
     data, id, metadata, timestamp, checksum)";

/// The root page of the events becomes the root of a table with other events at the same positions,
/// and later the root of the events again.
#[test]
fn a_cached_root_is_not_used_under_another_schema() {
    for is_wal in [false, true] {
        let mut world = World::new();
        world.play(Step::Wal(is_wal));
        world.play(Step::Commit(200));
        world.play(Step::Checkpoint);
        world.compare(0, PositionRange { after: at(0), through: at(200) }, false, true);
        let other = World::new();
        let other_host = host(&other.path);
        begin(&other_host, 0, 200, 99);
        other_host.execute_batch("COMMIT").unwrap();
        drop(other_host);
        let host = host(&world.path);
        let root = |name: &str| {
            let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
            host.query_row(sql, [name], |row| row.get::<_, i64>(0)).unwrap()
        };
        let all = PositionRange { after: at(0), through: at(200) };
        let old = root("dcb_events");
        host.execute_batch(&format!(
            "ATTACH '{}' AS other;
             BEGIN;
             CREATE TABLE copy AS SELECT * FROM main.dcb_events;
             DROP TABLE main.dcb_events;
             {FOREIGN_TABLE};
             {EVENTS_TABLE};
             INSERT INTO main.dcb_events SELECT * FROM copy;
             INSERT INTO foreign_events SELECT * FROM other.dcb_events;
             COMMIT;",
            other.path.display()
        ))
        .unwrap();
        assert_eq!(root("foreign_events"), old, "the table is not where the events were");
        world.play(Step::Checkpoint);
        for reader in 0..READERS {
            world.compare(reader, all, false, true);
            world.compare(reader, all, true, false);
        }
        host.execute_batch(&format!(
            "BEGIN;
             DROP TABLE main.dcb_events;
             DROP TABLE foreign_events;
             CREATE TABLE first (a);
             {EVENTS_TABLE};
             INSERT INTO main.dcb_events SELECT * FROM copy;
             COMMIT;",
        ))
        .unwrap();
        assert!(
            [root("dcb_events"), root("first")].contains(&old),
            "the old root page was not reused"
        );
        if root("dcb_events") != old {
            host.execute_batch(&format!(
                "BEGIN;
                 DROP TABLE main.dcb_events;
                 DROP TABLE first;
                 {EVENTS_TABLE};
                 INSERT INTO main.dcb_events SELECT * FROM copy;
                 COMMIT;",
            ))
            .unwrap();
        }
        assert_eq!(root("dcb_events"), old, "the events are not where the table was");
        // New readers see the new schema first while the file still has the pages of the old one.
        let tree = Arc::new(BTree::of_events());
        let caches = Arc::new(ReadCaches::new(0));
        world.readers = (0..READERS)
            .map(|_| EventReader::new(Arc::clone(&tree), Arc::clone(&caches)))
            .collect();
        for _ in 0..2 {
            for reader in 0..READERS {
                world.compare(reader, all, false, true);
                world.compare(reader, all, true, false);
            }
            world.play(Step::Checkpoint);
        }
    }
}
