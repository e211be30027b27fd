//! Rows read from the pages of the database file, compared with the rows that SQLite reads.

mod changes;

use std::ops::ControlFlow;

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::domain::{Direction, EventId, PositionRange, SequencedEvent};
use crate::position::{Position, at};
use crate::sqlite::cache::ReadCaches;
use crate::sqlite::connection::transaction::Transaction;
use crate::sqlite::connection::{OpenMode, connect};
use crate::sqlite::events::btree::BTree;
use crate::sqlite::events::checksum::checksums;
use crate::sqlite::events::page_reader::{PageReader, ReadAhead};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::row::to_owned;
use crate::sqlite::events::source::Source;
use crate::sqlite::events::write::insert;
use crate::sqlite::schema;
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::wal::wal_index::{SchemaMark, log_header};

/// A store's file with one connection and no maintenance, so the test decides what is checkpointed.
struct Rows {
    folder: TempDir,
    connection: Connection,
    head: i64,
}

impl Rows {
    fn new(page_size: u32) -> Self {
        Rows::with(page_size, "none")
    }

    fn with(page_size: u32, auto_vacuum: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let location = Location::File(folder.path().join("events.db"));
        let mut connection = connect(&location, OpenMode::Create).unwrap();
        connection.pragma_update(None, "page_size", page_size).unwrap();
        connection.pragma_update(None, "auto_vacuum", auto_vacuum).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        schema::create(&mut connection, false).unwrap();
        Rows { folder, connection, head: 0 }
    }

    fn push(&mut self, events: impl IntoIterator<Item = Event>) {
        self.connection.execute_batch("BEGIN").unwrap();
        for event in events {
            self.head += 1;
            let timestamp_us = [0, 1, -70_000, 1 << 40][self.head as usize % 4];
            let event = SequencedEvent { position: at(self.head), timestamp_us, event };
            let checksums = checksums(std::slice::from_ref(&event.event));
            insert(&self.connection, [&event.into()].into_iter().zip(&checksums)).unwrap();
        }
        self.connection.execute_batch("COMMIT").unwrap();
    }

    fn checkpoint(&self) {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    /// Returns the events of a span as the reader scans them, and then again as it fetches them by
    /// position, the highest first.
    fn seen(
        &self,
        decoder: &mut EventReader,
        span: PositionRange,
        direction: Direction,
    ) -> Vec<SequencedEvent> {
        let own = |view: &EventView<'_>| to_owned(view).map(|own| Arc::into_inner(own).unwrap());
        let mut seen = Vec::new();
        decoder
            .scan(&self.connection, span, direction, |view| {
                seen.push(own(view)?);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        let positions: Vec<Position> =
            (span.after.get() + 1..=span.through.get()).rev().map(at).collect();
        decoder
            .fetch(&self.connection, &positions, |view| {
                seen.push(own(view)?);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        seen
    }

    /// Asserts that the reader returns the same events as one that always uses SQLite.
    fn agree(&self, decoder: &mut EventReader, span: PositionRange) {
        for direction in [Direction::Forward, Direction::Backward] {
            let wanted = self.seen(&mut EventReader::default(), span, direction);
            assert_eq!(wanted.len() as i64, 2 * (span.through - span.after));
            let seen = self.seen(decoder, span, direction);
            let parts = |events: Vec<SequencedEvent>| -> Vec<(Position, i64, Event)> {
                let parts = |own: SequencedEvent| (own.position, own.timestamp_us, own.event);
                events.into_iter().map(parts).collect()
            };
            assert_eq!(parts(seen), parts(wanted), "{span:?} {direction:?}");
        }
    }

    /// Returns how many of the rows are found in the pages of the file, without SQLite.
    fn found(&self, tree: &Arc<BTree>) -> usize {
        self.found_of(tree, None, 1..=self.head)
    }

    /// Does what [`Self::found`] does for these rows, with a mark.
    fn found_of(
        &self,
        tree: &Arc<BTree>,
        mark: Option<SchemaMark>,
        positions: impl Iterator<Item = i64>,
    ) -> usize {
        let _transaction = Transaction::begin(&self.connection).unwrap();
        let source = Source::Own(&self.connection, mark);
        let mut pages = PageReader::new(Arc::clone(tree));
        let mut found = |position| {
            let leaf = pages.leaf(source, position, ReadAhead::None)?;
            leaf.row(position).map(drop)
        };
        positions.filter(|position| found(*position).is_some()).count()
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let tags = prop::collection::vec("[a-zé\"\\\\]{1,9}(:[a-z]{1,5})?", 0..12);
    let data =
        prop::option::weighted(0.9, prop_oneof![9 => 0..700_usize, 1 => 3_000..40_000_usize]);
    (tags, data, prop::option::of("[a-zü]{1,20}"), any::<bool>()).prop_map(
        |(tags, data, id, metadata)| {
            let data = data.map(|len| format!("\"{}\"", "x".repeat(len)));
            let mut builder = EventBuilder::new(EventType::new("Typé").unwrap());
            for tag in &tags {
                builder.tag(Tag::new(tag).unwrap()).unwrap();
            }
            data.iter().for_each(|data| builder.data(data).unwrap());
            id.iter().for_each(|id| builder.id(EventId::new(id).unwrap()));
            if metadata {
                builder.metadata(r#"{"m": 1}"#).unwrap();
            }
            builder.build()
        },
    )
}

fn plain(count: usize) -> Vec<Event> {
    (0..count).map(|n| event("T", &[format!("n:{n}"), "some longer tag".into()])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_from_pages_equal_rows_from_sqlite(
        page_size in prop::sample::select(vec![512_u32, 1024, 4096, 65_536]),
        steps in prop::collection::vec(
            (prop::collection::vec(any_event(), 1..120), any::<bool>(), 0..=100_i64), 1..6),
    ) {
        let mut rows = Rows::new(page_size);
        let mut decoder = EventReader::new(Arc::new(BTree::of_events()), uncached());
        for (events, checkpoints, from) in steps {
            rows.push(events);
            if checkpoints {
                rows.checkpoint();
            }
            rows.agree(&mut decoder, PositionRange { after: at(rows.head * from / 100), through: at(rows.head) });
        }
    }
}

/// Returns caches that keep nothing, so that every row is read from the file.
fn uncached() -> Arc<ReadCaches> {
    Arc::new(ReadCaches::new(0))
}

#[test]
fn every_checkpointed_row_is_found_in_the_pages() {
    let mut rows = Rows::new(4096);
    let tree = Arc::new(BTree::of_events());
    rows.push(plain(20_000));
    assert_eq!(rows.found(&tree), 0, "no row is in the file yet");
    rows.checkpoint();
    assert_eq!(rows.found(&tree), 20_000);
    // The last leaf and the last interior page have changed since they were read.
    rows.push(plain(20_000));
    rows.checkpoint();
    assert_eq!(rows.found(&tree), 40_000);
}

/// A reader holds up a checkpoint: the file has some pages of later commits, and not those that they
/// lead to. Rows that were there before are found by interior pages that were read before.
#[test]
fn earlier_rows_are_found_while_a_checkpoint_is_held_up() {
    for (vacuum, moves) in [("none", false), ("full", true)] {
        let mut rows = Rows::with(4096, vacuum);
        rows.push(plain(5_000));
        rows.checkpoint();
        let tree = Arc::new(BTree::of_events());
        assert_eq!(rows.found(&tree), 5_000);
        rows.push(plain(200));
        let holder = Connection::open(rows.path()).unwrap();
        let _held = Transaction::begin(&holder).unwrap();
        holder.query_row("SELECT count(*) FROM dcb_events", [], |_| Ok(())).unwrap();
        rows.push(plain(5_000));
        rows.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        let cookie = Snapshot::schema_cookie(&rows.connection).unwrap();
        let header = log_header(&rows.connection).unwrap();
        assert_eq!(rows.found(&tree), 0, "the file is not whole");
        let found = |cookie| {
            let mark = SchemaMark::new(header, cookie);
            rows.found_of(&tree, Some(mark), 1..=rows.head)
        };
        assert_eq!(found(cookie + 1), 0, "under another schema");
        let found = found(cookie);
        if moves {
            assert_eq!(found, 0, "a database that moves its pages");
            continue;
        }
        assert!((5_000..5_300).contains(&found), "{found}");
    }
}

/// Interior pages are kept from one version of the file to the next, but for the last ones.
#[test]
fn rows_are_found_by_pages_of_several_versions() {
    let mut rows = Rows::new(512);
    let tree = Arc::new(BTree::of_events());
    for _ in 0..12 {
        rows.push(plain(700));
        rows.checkpoint();
        assert_eq!(rows.found(&tree) as i64, rows.head);
        assert_eq!(rows.found(&tree) as i64, rows.head);
    }
    // Rows move to other pages under the same schema, as those of the index do.
    rows.connection.execute_batch("DELETE FROM dcb_events WHERE position % 97 > 1").unwrap();
    rows.checkpoint();
    let kept = (1..=rows.head).filter(|position| position % 97 <= 1);
    assert_eq!(rows.found_of(&tree, None, kept.clone()), kept.count());
}

#[test]
fn rows_are_found_again_after_the_file_is_rewritten() {
    let mut rows = Rows::new(4096);
    rows.push(plain(3_000));
    rows.checkpoint();
    let tree = Arc::new(BTree::of_events());
    let mut decoder = EventReader::new(Arc::clone(&tree), uncached());
    rows.agree(&mut decoder, PositionRange { after: at(0), through: at(3_000) });
    // The page size changes, and a table that takes pages in front of the events is dropped.
    rows.connection
        .execute_batch(
            "CREATE TABLE other (a INTEGER PRIMARY KEY, b);
             INSERT INTO other SELECT position, data FROM dcb_events;
             PRAGMA page_size = 8192; PRAGMA journal_mode = delete; VACUUM;
             DROP TABLE other; VACUUM; PRAGMA journal_mode = wal;",
        )
        .unwrap();
    rows.push(plain(10));
    rows.agree(&mut decoder, PositionRange { after: at(0), through: at(rows.head) });
    rows.checkpoint();
    rows.agree(&mut decoder, PositionRange { after: at(0), through: at(rows.head) });
    rows.found(&tree);
    assert!(rows.found(&tree) > 2_900, "{}", rows.found(&tree));
}

#[test]
fn a_damaged_row_is_never_returned() {
    let mut rows = Rows::new(512);
    rows.push(plain(400));
    rows.checkpoint();
    let length = std::fs::metadata(rows.path()).unwrap().len();
    let whole = std::fs::read(rows.path()).unwrap();
    let wanted = rows.seen(
        &mut EventReader::default(),
        PositionRange { after: at(0), through: at(400) },
        Direction::Forward,
    );
    let mut other = Rows::new(512);
    other.push(plain(400));
    other.checkpoint();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let flips = prop::collection::vec((0..length, 1..=255_u8), 1..200);
    // This reader has read the whole file before the damage, and is kept.
    let mut long_lived = EventReader::new(Arc::new(BTree::of_events()), uncached());
    other.agree(&mut long_lived, PositionRange { after: at(0), through: at(400) });
    let long_lived = std::cell::RefCell::new(long_lived);
    runner
        .run(&flips, |flips| {
            let mut bytes = whole.clone();
            for (at, flip) in flips {
                bytes[at as usize] ^= flip;
            }
            std::fs::write(other.path(), bytes).unwrap();
            // A read may fail or find nothing, but an event that it returns is the one written.
            let mut fresh = EventReader::new(Arc::new(BTree::of_events()), uncached());
            for decoder in [&mut fresh, &mut long_lived.borrow_mut()] {
                for position in 1..=400 {
                    let wanted = &wanted[position as usize - 1];
                    let shown = decoder.at(&other.connection, at(position), |view| {
                        Ok(view.is_same_as(&wanted.event) && view.position == wanted.position)
                    });
                    prop_assert!(shown.unwrap_or(true), "{position}");
                }
            }
            Ok(())
        })
        .unwrap();
}
