//! The index on disk, compared with a scan of the events: however the events are divided into
//! segments, and with segments that are merged, damaged, lost or out of date.

use std::ops::ControlFlow;

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::Status;
use crate::domain::{Direction, PositionRange, SequencedEvent, Term};
use crate::index::Progress;
use crate::position::{Position, at};
use crate::sqlite::cache::CacheUse;
use crate::sqlite::connection::transaction::Transaction;
use crate::sqlite::connection::{OpenMode, connect};
use crate::sqlite::events::checksum::checksums;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::Source;
use crate::sqlite::events::write::insert;
use crate::sqlite::index::limit::Limit;
use crate::sqlite::index::merge::Merge;
use crate::sqlite::index::search::{Search, SegmentSearch};
use crate::sqlite::index::segment::{BUILDING, LIVE};
use crate::sqlite::index::segment_list::{Segments, SegmentsCache};
use crate::sqlite::index::segment_writer::{
    insert_blocks, insert_filter_part, insert_segment, pack, raise_version,
};
use crate::sqlite::index::tail::{Generations, TAIL_BYTES, TAIL_EVENTS};
use crate::sqlite::maintenance::Maintenance;
use crate::sqlite::maintenance::segment_merge::replace;
use crate::sqlite::maintenance::segments::{postings_of_rows, write_segment};
use crate::sqlite::schema;
use crate::sqlite::state::SEGMENT_EVENTS;

const TYPES: [&str; 3] = ["A", "B", "C"];

/// Generates an event with one of four common tags, one of forty rare ones, and perhaps `bare`.
fn any_event() -> impl Strategy<Value = Event> {
    (0..3_usize, 0..4_u8, 0..40_u8, any::<bool>()).prop_map(|(kind, common, rare, bare)| {
        let mut tags = vec![format!("common:{common}"), format!("rare:{rare}")];
        if bare {
            tags.push("bare".into());
        }
        event(TYPES[kind], &tags)
    })
}

/// Generates a query item; some of its tags are of no event.
fn any_item() -> impl Strategy<Value = QueryItem> {
    let types = prop::sample::subsequence(TYPES.to_vec(), 0..3);
    let common = prop::option::of(0..5_u8);
    let rare = prop::option::weighted(0.3, 0..42_u8);
    (types, common, rare, any::<bool>()).prop_map(|(types, common, rare, bare)| {
        let tags: Vec<String> = common
            .map(|n| format!("common:{n}"))
            .into_iter()
            .chain(rare.map(|n| format!("rare:{n}")))
            .chain(bare.then(|| "bare".into()))
            .collect();
        item(&types, &tags.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

fn any_query() -> impl Strategy<Value = Query> {
    prop::collection::vec(any_item(), 1..4).prop_map(|items| Query::of(items).unwrap())
}

fn insert_at(connection: &Connection, position: i64, event: Event) {
    let checksums = checksums(std::slice::from_ref(&event));
    let event = SequencedEvent { position: at(position), timestamp_us: 0, event };
    insert(connection, [&event.into()].into_iter().zip(&checksums)).unwrap();
}

/// Inserts a live segment with the postings of the positions above `low`, up to `high`.
fn insert_live_segment(connection: &Connection, low: i64, high: i64) {
    let span = PositionRange { after: at(low), through: at(high) };
    let postings = postings_of_rows(connection, &mut EventReader::default(), span).unwrap();
    let (blocks, filter, terms) = pack(at(low), &postings).unwrap();
    let segment = insert_segment(connection, LIVE, at(low), at(high), terms).unwrap();
    insert_blocks(connection, segment, &blocks).unwrap();
    insert_filter_part(connection, segment, 0, filter.bits()).unwrap();
    raise_version(connection).unwrap();
}

/// An index that hides events is detected by a check against the newest event that it covers. If
/// that event cannot be read for lack of memory, the next use of the index repeats the check.
#[test]
fn a_failed_check_of_the_index_does_not_count_as_passed() {
    let connection = connect(&Location::Memory, OpenMode::Create).unwrap();
    schema::create_within(&connection, false).unwrap();
    (1..=9).for_each(|position| insert_at(&connection, position, event("A", &[])));
    insert_live_segment(&connection, 0, 8);
    let error = Error::new(Status::NoMemory, "as the test asked");
    let failing = Failing { inner: &connection, sql: "SELECT position, type", error };
    let cache = SegmentsCache::default();
    let statuses = |check: &dyn Fn(&dyn SqlConnection) -> Result<()>| {
        let _transaction = Transaction::begin(&connection).unwrap();
        [&failing as &dyn SqlConnection, &connection]
            .map(|database| check(database).err().unwrap().status)
    };
    // A segment whose range is one position longer than its postings.
    connection.execute("UPDATE dcb_segments SET high = 9", []).unwrap();
    let load = |database: &dyn SqlConnection| Ok(cache.at_version(database, 1).map(drop)?);
    assert_eq!(statuses(&load), [Status::NoMemory, Status::Corrupt]);
    // A segment with the Bloom filter of other terms.
    connection.execute("UPDATE dcb_segments SET high = 8", []).unwrap();
    let segments = newest(&connection);
    connection.execute("DELETE FROM dcb_filters", []).unwrap();
    let (_, filter, _) = pack(at(0), &[(Term::of_type("other"), at(1))]).unwrap();
    insert_filter_part(&connection, segments.list[0].id, 0, filter.bits()).unwrap();
    let span = PositionRange { after: at(0), through: at(8) };
    let estimate = |database: &dyn SqlConnection| {
        Ok(segments.estimate(Source::Sql(database), Term::of_type("A"), span).map(drop)?)
    };
    assert_eq!(statuses(&estimate), [Status::NoMemory, Status::Corrupt]);
}

/// A segment that covers positions above the head would hide the events that get them later.
#[test]
fn a_segment_beyond_the_head_is_reported_when_read() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    append(store, vec![event("A", &[]); 3], None).unwrap();
    // This store has not loaded the segment yet.
    let other = open(fixture.path());
    write_segment(&store.shared, store.connections.writer().unwrap(), 1).unwrap();
    let shell = Connection::open(fixture.path()).unwrap();
    shell.execute("UPDATE dcb_segments SET high = 9", []).unwrap();
    shell.execute("UPDATE dcb_meta SET value = value + 1 WHERE key = 'index'", []).unwrap();
    let request = ReadRequest::new(query(&["A"], &[]), at(0), None, None, Direction::Forward);
    assert_eq!(positions(&other, request).unwrap_err().status, Status::Corrupt);
}

/// Returns the current list of live segments.
fn newest(connection: &Connection) -> Arc<Segments> {
    SegmentsCache::default().now(connection).unwrap().1
}

/// Merges all segments from `first` on into one.
fn merge(connection: &Connection, first: usize) {
    let segments = newest(connection);
    let sources = &segments.list[first..];
    let terms = sources.iter().map(|segment| segment.terms as u64).sum();
    let (low, high) = (sources[0].low, segments.indexed());
    let mut merge = Merge::new(sources, low, terms).unwrap();
    let mut blocks = Vec::new();
    while let Some(mut some) = merge.next(connection, 3).unwrap() {
        blocks.append(&mut some);
    }
    let filter = merge.filter().unwrap();
    for source in sources {
        connection
            .execute("UPDATE dcb_segments SET state = 2 WHERE segment = ?1", [source.id])
            .unwrap();
    }
    let segment = insert_segment(connection, LIVE, low, high, terms).unwrap();
    insert_blocks(connection, segment, &blocks).unwrap();
    insert_filter_part(connection, segment, 0, filter.bits()).unwrap();
    raise_version(connection).unwrap();
}

fn checkpoint(connection: &Connection) {
    let pragma = "PRAGMA wal_checkpoint(PASSIVE)";
    let busy: i64 = connection.query_row(pragma, [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
}

/// Returns the positions that a search finds. Each call of the search is stopped after `step`
/// events, and the next one continues from there.
fn search(
    disk: &SegmentSearch<'_>,
    query: &Query,
    span: PositionRange,
    direction: Direction,
    step: usize,
) -> Vec<i64> {
    let (mut found, mut rest) = (Vec::new(), span);
    while rest.after < rest.through {
        let mut left = step;
        let progress = disk
            .search(
                &mut EventReader::default(),
                Search { query, range: rest, direction },
                &mut |view| {
                    found.push(view.position.get());
                    left -= 1;
                    Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                },
            )
            .unwrap();
        match progress {
            Progress::Exhausted => break,
            Progress::Reached(position) => rest = rest.beyond(position, direction),
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 48 } else { 512 }))]

    #[test]
    fn searching_segments_finds_what_a_scan_finds(
        events in prop::collection::vec(any_event(), 1..400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        merged_from in prop::option::of(any::<prop::sample::Index>()),
        queries in prop::collection::vec(
            (any_query(), 0..400_i64, 0..400_i64, any::<bool>(), 1..200_usize), 1..12),
        checkpointed in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = TempDir::new().unwrap();
        let (mut location, mut checkpointed_at) = (Location::Memory, None);
        if let Some(at) = checkpointed {
            // What is written before this point is checkpointed into the file; the rest is only in
            // the WAL.
            location = Location::File(folder.path().join("events.db"));
            checkpointed_at = Some(at.index(cuts.len() + 3));
        }
        let mut connection = connect(&location, OpenMode::Create).unwrap();
        if checkpointed_at.is_some() {
            connection.pragma_update(None, "journal_mode", "wal").unwrap();
        }
        schema::create(&mut connection, false).unwrap();
        let head = events.len() as i64;
        for (event, position) in events.into_iter().zip(1..) {
            insert_at(&connection, position, event);
        }
        let mut bounds: Vec<i64> = cuts.iter().map(|cut| cut.index(head as usize) as i64).collect();
        bounds.extend([0, head]);
        bounds.sort_unstable();
        bounds.dedup();
        for (index, pair) in bounds.windows(2).enumerate() {
            insert_live_segment(&connection, pair[0], pair[1]);
            if checkpointed_at == Some(index) {
                checkpoint(&connection);
            }
        }
        if let Some(from) = merged_from {
            merge(&connection, from.index(bounds.len() - 1));
        }
        if checkpointed_at.is_some_and(|at| at >= bounds.len() - 1) {
            checkpoint(&connection);
        }
        let segments = newest(&connection);
        prop_assert_eq!(segments.indexed(), at(head));
        let disk = SegmentSearch { source: Source::Own(&connection, None), segments: &segments, cache: CacheUse::default(), limit: Limit::default() };
        for (query, low, high, backwards, step) in queries {
            let direction = Direction::from_backwards(backwards);
            let span = PositionRange { after: at(low.min(head)), through: at(high.min(head)) };
            let mut wanted = Vec::new();
            if span.after < span.through {
                EventReader::default().scan(&connection, span, direction, |view| {
                    if query.matches(view) {
                        wanted.push(view.position.get());
                    }
                    Ok(ControlFlow::Continue(()))
                }).unwrap();
            }
            prop_assert_eq!(search(&disk, &query, span, direction, step), wanted.clone());
            if direction == Direction::Forward && span.after < span.through {
                let first = disk.first_match(&mut EventReader::default(), &query, span).unwrap();
                prop_assert_eq!(first.map(Position::get), wanted.first().copied());
            }
        }
    }
}

/// Once blocks are checkpointed into the database file, each of them is found without SQLite.
#[test]
fn blocks_are_read_from_the_pages_of_the_file() {
    let folder = TempDir::new().unwrap();
    let location = Location::File(folder.path().join("events.db"));
    let mut connection = connect(&location, OpenMode::Create).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    schema::create(&mut connection, false).unwrap();
    let name = |n: i64| format!("own:{n}");
    for position in 1..=2_000 {
        // The type has many postings, in many blocks; each tag has a list of one posting.
        insert_at(&connection, position, event("A", &[name(position)]));
    }
    insert_live_segment(&connection, 0, 1_000);
    insert_live_segment(&connection, 1_000, 2_000);
    let segments = newest(&connection);
    let find_all = || {
        let _transaction = Transaction::begin(&connection).unwrap();
        for position in 1..=2_000 {
            let term = Term::of_tag(&name(position));
            for direction in [Direction::Forward, Direction::Backward] {
                let mut found = Vec::new();
                let span = PositionRange { after: at(0), through: at(2_000) };
                let max = usize::MAX;
                segments
                    .collect(
                        &connection,
                        &CacheUse::default(),
                        term,
                        span,
                        direction,
                        max,
                        &mut found,
                    )
                    .unwrap();
                assert_eq!(found, [at(position)]);
            }
        }
        let (mut found, span) = (Vec::new(), PositionRange { after: at(3), through: at(1_999) });
        segments
            .collect(
                &connection,
                &CacheUse::default(),
                Term::of_type("A"),
                span,
                Direction::Forward,
                usize::MAX,
                &mut found,
            )
            .unwrap();
        assert!(found.iter().map(|position| position.get()).eq(4..=1_999));
    };
    find_all();
    assert_eq!(segments.known_blocks().0, 0, "no block is in the file yet");
    checkpoint(&connection);
    (0..2).for_each(|_| find_all());
    let count = "SELECT count(*) FROM dcb_postings";
    let blocks: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
    let blocks = blocks as usize;
    assert!(blocks > 10, "{blocks}");
    assert_eq!(segments.known_blocks(), (blocks, blocks));
    // The pages of the old segments now hold blocks of the merged one, or are free.
    merge(&connection, 0);
    connection
        .execute_batch("DELETE FROM dcb_postings WHERE segment < 3; PRAGMA incremental_vacuum")
        .unwrap();
    checkpoint(&connection);
    let merged = newest(&connection);
    let mut found = Vec::new();
    let (term, span) =
        (Term::of_tag(&name(1_500)), PositionRange { after: at(0), through: at(2_000) });
    merged
        .collect(
            &connection,
            &CacheUse::default(),
            term,
            span,
            Direction::Forward,
            usize::MAX,
            &mut found,
        )
        .unwrap();
    assert_eq!(found, [at(1_500)]);
    assert!(merged.known_blocks().0 > 0);
}

/// Blocks are looked up in the file's pages by rowid. If the rowids do not follow from the numbers
/// of the blocks, every posting must still be found.
#[test]
fn a_block_with_the_rowid_of_another_is_not_used_for_it() {
    let folder = TempDir::new().unwrap();
    let location = Location::File(folder.path().join("events.db"));
    let mut connection = connect(&location, OpenMode::Create).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    schema::create(&mut connection, false).unwrap();
    for position in 1..=1_000 {
        insert_at(&connection, position, event("A", &[format!("own:{position}")]));
    }
    insert_live_segment(&connection, 0, 1_000);
    connection
        .execute_batch(
            "UPDATE dcb_postings SET rowid = -rowid;
             UPDATE dcb_postings SET rowid = (SELECT max(-rowid) + min(-rowid) FROM dcb_postings)
                 + rowid WHERE rowid < 0",
        )
        .unwrap();
    checkpoint(&connection);
    let segments = newest(&connection);
    for position in 1..=1_000 {
        let term = Term::of_tag(&format!("own:{position}"));
        let (mut found, span) = (Vec::new(), PositionRange { after: at(0), through: at(1_000) });
        segments
            .collect(
                &connection,
                &CacheUse::default(),
                term,
                span,
                Direction::Forward,
                usize::MAX,
                &mut found,
            )
            .unwrap();
        assert_eq!(found, [at(position)]);
    }
}

/// Asserts that the store answers queries, in both directions, as a filter over `appended` does.
fn check_all(store: &SqliteStore, appended: &[Event]) {
    for types in [&[][..], &["A"], &["B", "C"]] {
        for tags in [&[][..], &["common:1"], &["rare:7"], &["bare", "common:2"], &["rare:99"]] {
            if types.is_empty() && tags.is_empty() {
                continue;
            }
            let query = query(types, tags);
            let wanted: Vec<i64> = (1..)
                .zip(appended)
                .filter(|(position, event)| query.matches(&event.view(at(*position), 0)))
                .map(|(position, _)| position)
                .collect();
            assert_eq!(all(store, query.clone()), wanted, "{query:?}");
            let backwards = ReadRequest::new(query, at(0), None, None, Direction::Backward);
            let mut reversed = positions(store, backwards).unwrap();
            reversed.reverse();
            assert_eq!(reversed, wanted);
        }
    }
    assert_eq!(all(store, Query::all()).len(), appended.len());
}

/// Returns `count` events, the same for each number from `from` on.
fn some_events(from: usize, count: usize) -> Vec<Event> {
    (from..from + count)
        .map(|n| {
            let mut tags = vec![format!("common:{}", n % 4), format!("rare:{}", n % 40)];
            if n.is_multiple_of(3) {
                tags.push("bare".into());
            }
            event(TYPES[n % 3], &tags)
        })
        .collect()
}

#[test]
fn a_store_with_merged_segments_answers_like_a_list() {
    let mut fixture = Fixture::new();
    let mut appended = Vec::new();
    for round in 0..40 {
        let events = some_events(appended.len(), 1 + round % 60);
        appended.extend(events.iter().cloned());
        assert_eq!(append(&fixture.store, events, None), Ok(appended.len() as i64));
        if round % 13 == 12 {
            fixture.reopen();
        }
    }
    check_all(&fixture.store, &appended);
    fixture.reopen();
    check_all(&fixture.store, &appended);
    let connection = Connection::open(fixture.path()).unwrap();
    let indexed: i64 = connection
        .query_row("SELECT max(high) FROM dcb_segments WHERE state = 1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(indexed, appended.len() as i64, "closing the store indexes all events");
}

#[test]
fn the_index_counts_what_a_search_finds_up_to_its_position() {
    let fixture = Fixture::new();
    let item = item(&["A", "B", "Z"], &["common:1", "rare:7", "none"]);
    let call = CallOptions::default();
    let empty = fixture.store.index_counts(&item, &call).unwrap().unwrap();
    assert_eq!((empty.through.get(), empty.events), (0, vec![0; 6]));
    let mut through = Vec::new();
    for from in (0..10 * SEGMENT_EVENTS as usize).step_by(7) {
        append(&fixture.store, some_events(from, 7), None).unwrap();
        let counts = fixture.store.index_counts(&item, &call).unwrap().unwrap();
        let one = |query| {
            let found = all(&fixture.store, query);
            found.iter().filter(|position| **position <= counts.through.get()).count() as u64
        };
        let expected = [
            one(query(&["A"], &[])),
            one(query(&["B"], &[])),
            one(query(&["Z"], &[])),
            one(query(&[], &["common:1"])),
            one(query(&[], &["rare:7"])),
            one(query(&[], &["none"])),
        ];
        assert_eq!(counts.events, expected, "up to {}", counts.through);
        through.push(counts.through);
    }
    through.dedup();
    assert!(through.len() > 4, "the index grew only to {through:?}");
}

#[test]
fn a_lost_outdated_or_half_merged_index_changes_no_answer() {
    let mut fixture = Fixture::new();
    let mut appended = Vec::new();
    for damage in [
        "DELETE FROM dcb_postings; DELETE FROM dcb_filters; DELETE FROM dcb_segments; \
         UPDATE dcb_meta SET value = value + 1 WHERE key = 'index'",
        "DELETE FROM dcb_segments WHERE low = (SELECT max(low) FROM dcb_segments WHERE state = 1); \
         UPDATE dcb_meta SET value = value + 1 WHERE key = 'index'",
        "DELETE FROM dcb_filters",
        "UPDATE dcb_meta SET value = value + 1 WHERE key = 'segments'; \
         INSERT INTO dcb_segments SELECT value, 0, 0, 10, 3 FROM dcb_meta WHERE key = 'segments'; \
         INSERT INTO dcb_postings SELECT value, 1, 1, x'00' FROM dcb_meta WHERE key = 'segments'",
    ] {
        let events = some_events(appended.len(), 500);
        appended.extend(events.iter().cloned());
        append(&fixture.store, events, None).unwrap();
        fixture.store.close();
        Connection::open(fixture.path()).unwrap().execute_batch(damage).unwrap();
        let read_only = Options { read_only: true, ..Options::default() };
        let reader = SqliteStore::open(Location::File(fixture.path()), &read_only).unwrap();
        check_all(&reader, &appended);
        drop(reader);
        fixture.store = open(fixture.path());
        check_all(&fixture.store, &appended);
        let refused =
            append(&fixture.store, vec![event("D", &[])], Some(query(&["A"], &["rare:3"])));
        assert_eq!(refused, Err(Error::condition_failed(at(4))));
    }
}

#[test]
fn a_lost_index_is_rebuilt_before_the_store_opens() {
    let mut fixture = Fixture::new();
    let count = append(&fixture.store, some_events(0, 2 * TAIL_EVENTS + 5), None).unwrap();
    fixture.store.close();
    let lose = "DELETE FROM dcb_postings; DELETE FROM dcb_filters; DELETE FROM dcb_segments; \
                UPDATE dcb_meta SET value = value + 1 WHERE key = 'index'";
    Connection::open(fixture.path()).unwrap().execute_batch(lose).unwrap();
    fixture.store = open(fixture.path());
    assert_eq!(fixture.store.shared.index.segments.newest().indexed(), at(count));
}

#[test]
fn a_damaged_block_is_reported_not_used() {
    let mut fixture = Fixture::new();
    append(&fixture.store, some_events(0, 200), None).unwrap();
    fixture.store.close();
    Connection::open(fixture.path())
        .unwrap()
        .execute_batch("UPDATE dcb_postings SET block = zeroblob(length(block))")
        .unwrap();
    fixture.store = open(fixture.path());
    let request = ReadRequest::new(query(&[], &["rare:3"]), at(0), None, None, Direction::Forward);
    let error = positions(&fixture.store, request).unwrap_err();
    assert_eq!(error.status, crate::Status::Corrupt);
}

/// Searches for each event by each of its tags, in both directions. Each search must find the event
/// or report the damage. Returns the number of reports, or 1 if the store does not open for damage.
fn searches_that_report_damage(path: &Path, events: &[Event]) -> usize {
    // A cached list would answer searches in both directions from one look-up.
    let options = Options { read_only: true, cache_bytes: Some(0), ..Options::default() };
    let store = match SqliteStore::open(Location::File(path.into()), &options) {
        Err(error) => {
            assert_eq!(error.status, crate::Status::Corrupt);
            return 1;
        }
        Ok(store) => store,
    };
    let mut reported = 0;
    for (position, event) in (1..).zip(events) {
        for (tag, direction) in event
            .tags()
            .iter()
            .flat_map(|tag| [(tag, Direction::Backward), (tag, Direction::Forward)])
        {
            let query = query(&[], &[tag]);
            let request = ReadRequest::new(query, at(position - 1), None, None, direction);
            match positions(&store, request) {
                Ok(found) => assert!(found.contains(&position), "{tag} is not found"),
                Err(error) => {
                    assert_eq!(error.status, crate::Status::Corrupt);
                    reported += 1;
                }
            }
        }
    }
    reported
}

/// If the index of `dcb_postings` has lost a row that its table has, the term of that block must not
/// look like one without events.
#[test]
fn a_lost_block_is_reported_not_read_as_no_events() {
    let mut fixture = Fixture::new();
    append(&fixture.store, some_events(0, 100), None).unwrap();
    fixture.store.close();
    let root: i64 = Connection::open(fixture.path())
        .unwrap()
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_dcb_postings_1'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let whole = std::fs::read(fixture.path()).unwrap();
    let page = (root as usize - 1) * 4096;
    let cells = usize::from(whole[page + 4]);
    assert_eq!((whole[page], whole[page + 3]), (10, 0), "a leaf");
    for lost in 0..cells {
        // Removes one cell pointer from the leaf; the pointers behind it move up.
        let mut bytes = whole.clone();
        let pointers = page + 8;
        bytes.copy_within(pointers + 2 * (lost + 1)..pointers + 2 * cells, pointers + 2 * lost);
        bytes[page + 4] -= 1;
        std::fs::write(fixture.path(), bytes).unwrap();
        let reported = searches_that_report_damage(&fixture.path(), &some_events(0, 100));
        assert!(reported > 0, "the loss of block {lost} is not reported");
    }
    std::fs::write(fixture.path(), whole).unwrap();
    fixture.store = open(fixture.path());
    check_all(&fixture.store, &some_events(0, 100));
}

/// The B-trees that lose a row: the table of blocks, the index of its key, or both.
#[derive(Debug, Clone, Copy, PartialEq)]
enum LostFrom {
    Table,
    Index,
    Both,
}

/// Deletes a row of `dcb_postings` from only the given B-trees, by hiding the index from SQLite.
fn lose_block(path: &Path, row: i64, lost_from: LostFrom) {
    let connection = Connection::open(path).unwrap();
    let keep = format!(
        "CREATE TEMP TABLE lost AS SELECT rowid AS number, * FROM dcb_postings WHERE rowid = {row}; \
         CREATE TEMP TABLE kept AS SELECT rowid AS number, * FROM sqlite_schema \
         WHERE tbl_name = 'dcb_postings'"
    );
    let lose = format!("DELETE FROM dcb_postings WHERE rowid = {row}");
    let hide_index = "PRAGMA writable_schema = ON; \
                      DELETE FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'dcb_postings'; \
                      UPDATE sqlite_schema SET sql = replace(sql, \
                      ', PRIMARY KEY (segment, term, position)', '') WHERE name = 'dcb_postings'; \
                      PRAGMA writable_schema = RESET";
    let show_index = "PRAGMA writable_schema = ON; \
                      DELETE FROM sqlite_schema WHERE tbl_name = 'dcb_postings'; \
                      INSERT INTO sqlite_schema (rowid, type, name, tbl_name, rootpage, sql) \
                      SELECT * FROM kept; \
                      PRAGMA writable_schema = RESET";
    let put_back = "INSERT INTO dcb_postings (rowid, segment, term, position, block) \
                    SELECT * FROM lost";
    let steps = match lost_from {
        LostFrom::Index => [&keep, &lose, hide_index, put_back, show_index],
        LostFrom::Table => [&keep, hide_index, &lose, show_index, ""],
        LostFrom::Both => [&lose, "", "", "", ""],
    };
    steps.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
}

/// Other segments are written between the slices of a merge. The loss of any block of the merged
/// segment must still be reported.
#[test]
fn a_lost_block_of_a_sliced_merge_is_reported() {
    let folder = TempDir::new().unwrap();
    let (whole, path) = (folder.path().join("whole.db"), folder.path().join("events.db"));
    let mut connection = connect(&Location::File(whole.clone()), OpenMode::Create).unwrap();
    schema::create(&mut connection, false).unwrap();
    let events: Vec<Event> = (0..700).map(|n| event("A", &[format!("own:{n}")])).collect();
    for (position, event) in (1..).zip(&events) {
        insert_at(&connection, position, event.clone());
    }
    insert_live_segment(&connection, 0, 300);
    insert_live_segment(&connection, 300, 600);
    let sources = &newest(&connection).list;
    let mut merge = Merge::new(sources, at(0), 601).unwrap();
    let target = insert_segment(&connection, BUILDING, at(0), at(600), 601).unwrap();
    let mut low = 600;
    while let Some(blocks) = merge.next(&connection, 1).unwrap() {
        insert_blocks(&connection, target, &blocks).unwrap();
        insert_live_segment(&connection, low, low + 10);
        low += 10;
    }
    insert_filter_part(&connection, target, 0, merge.filter().unwrap().bits()).unwrap();
    assert!(replace(&connection, sources, target).unwrap());
    insert_live_segment(&connection, low, 700);
    let rows: Vec<i64> = connection
        .prepare("SELECT rowid FROM dcb_postings WHERE segment = ?1")
        .unwrap()
        .query_map([target], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert!(rows.len() > 3);
    drop(connection);
    assert_eq!(searches_that_report_damage(&whole, &events), 0);
    for row in rows {
        for lost_from in [LostFrom::Table, LostFrom::Index, LostFrom::Both] {
            std::fs::copy(&whole, &path).unwrap();
            lose_block(&path, row, lost_from);
            let reported = searches_that_report_damage(&path, &events);
            assert!(reported > 0, "the loss of row {row} is not reported: {lost_from:?}");
        }
    }
}

#[test]
fn a_segment_with_a_false_range_is_reported_on_opening() {
    let fixture = Fixture::new();
    append(&fixture.store, some_events(0, 100), None).unwrap();
    append(&fixture.store, some_events(100, 10), None).unwrap();
    fixture.store.close();
    // The last segment is gone, and the one before it claims the range of both.
    let damage = "DELETE FROM dcb_segments WHERE low = (SELECT max(low) FROM dcb_segments); \
                  UPDATE dcb_segments SET high = 110 WHERE low = (SELECT max(low) FROM dcb_segments); \
                  UPDATE dcb_meta SET value = value + 1 WHERE key = 'index'";
    Connection::open(fixture.path()).unwrap().execute_batch(damage).unwrap();
    let error = SqliteStore::open(Location::File(fixture.path()), &Options::default()).unwrap_err();
    assert_eq!(error.status, crate::Status::Corrupt);
}

#[test]
fn an_index_of_missing_events_is_reported_on_opening() {
    let mut fixture = Fixture::new();
    append(&fixture.store, some_events(0, 200), None).unwrap();
    fixture.store.close();
    let cut = "DROP TRIGGER dcb_events_no_delete; DELETE FROM dcb_events WHERE position > 100; \
               CREATE TRIGGER dcb_events_no_delete BEFORE DELETE ON dcb_events \
               BEGIN SELECT RAISE(ABORT, 'dcb: an event is never deleted'); END";
    Connection::open(fixture.path()).unwrap().execute_batch(cut).unwrap();
    let opened = |read_only| {
        let options = Options { read_only, ..Options::default() };
        SqliteStore::open(Location::File(fixture.path()), &options).map(drop).unwrap_err().status
    };
    assert_eq!([opened(false), opened(true)], [crate::Status::Corrupt; 2]);
    // The repair that docs/file-format.md describes.
    let rebuild = "DELETE FROM dcb_postings; DELETE FROM dcb_filters; DELETE FROM dcb_segments; \
                UPDATE dcb_meta SET value = value + 1 WHERE key = 'index'";
    Connection::open(fixture.path()).unwrap().execute_batch(rebuild).unwrap();
    fixture.store = open(fixture.path());
    check_all(&fixture.store, &some_events(0, 100));
}

#[test]
fn a_few_large_events_do_not_fill_the_tail() {
    let fixture = Fixture::new();
    let large = || {
        let mut builder = EventBuilder::new(EventType::new("Large").unwrap());
        let data = format!("\"{}\"", "x".repeat(1024 * 1024));
        builder.data(&data).unwrap();
        builder.build()
    };
    // Too few events to fill a segment by their number, but far more bytes than the tail may hold.
    let count = SEGMENT_EVENTS - 1;
    for _ in 0..count {
        append(&fixture.store, vec![large()], None).unwrap();
    }
    let footprint = || fixture.store.shared.index.tail.read(Generations::footprint);
    assert!(eventually(|| footprint() <= TAIL_BYTES), "{} bytes are held", footprint());
    assert_eq!(all(&fixture.store, query(&["Large"], &[])).len() as i64, count);
}

#[test]
fn a_read_only_follower_holds_only_the_newest_events() {
    let fixture = Fixture::new();
    let options = Options { read_only: true, ..Options::default() };
    let follower = SqliteStore::open(Location::File(fixture.path()), &options).unwrap();
    let mut seen = 0;
    for round in 0..60 {
        append(&fixture.store, some_events(round * 20, 20), None).unwrap();
        let request = ReadRequest::new(Query::all(), at(seen), None, None, Direction::Forward);
        seen += positions(&follower, request).unwrap().len() as i64;
        // All events that the follower holds are indexed now; the next ones are not.
        write_segment(&fixture.store.shared, fixture.store.connections.writer().unwrap(), 1)
            .unwrap();
    }
    assert_eq!(seen, 60 * 20);
    let held = follower.shared.index.tail.read(Generations::len);
    assert!(held <= 2 * TAIL_EVENTS, "{held} events are held");
}

/// Other processes would take a leftover segment for a merge in progress, and merge nothing for
/// half a minute.
#[test]
fn a_failed_merge_leaves_no_segment_behind() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let writer = store.connections.writer().unwrap();
    for n in 0..2 {
        append(store, some_events(n * 20, 20), None).unwrap();
        write_segment(&store.shared, writer, 1).unwrap();
    }
    let shell = Connection::open(fixture.path()).unwrap();
    shell
        .execute_batch(
            "DELETE FROM dcb_postings WHERE rowid = (SELECT max(rowid) FROM dcb_postings)",
        )
        .unwrap();
    let own = connect(&Location::File(fixture.path()), OpenMode::Write).unwrap();
    let mut maintenance = Maintenance::new(
        Arc::clone(&store.shared),
        Arc::clone(writer),
        Arc::clone(store.connections.readers().unwrap()),
        own,
    );
    let building = || {
        let sql = "SELECT count(*) FROM dcb_segments WHERE state = 0";
        shell.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert!(maintenance.tidy(true).is_err());
    assert!((0..200).any(|_| {
        thread::sleep(Duration::from_millis(10));
        building() == 0
    }));
}
