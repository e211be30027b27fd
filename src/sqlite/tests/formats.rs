//! Files of format 1, whose rows have other checksums.

use super::*;
use crate::domain::{EventId, SequencedEvent};
use crate::error::Status;

/// Turns a closed store into one of format 1.
pub fn make_old(path: &Path) {
    let shell = rusqlite::Connection::open(path).unwrap();
    let trigger: String = shell
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'dcb_events_no_update'", [], |row| {
            row.get(0)
        })
        .unwrap();
    shell.execute_batch("BEGIN; DROP TRIGGER dcb_events_no_update").unwrap();
    let columns = "SELECT position, timestamp, type, tags, data, id, metadata FROM dcb_events";
    let mut statement = shell.prepare(columns).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let [position, timestamp] = [0, 1].map(|column| row.get::<_, i64>(column).unwrap());
        let mut covered = Vec::new();
        for column in 2..7 {
            let text: Option<String> = row.get(column).unwrap();
            covered.push(u8::from(text.is_some()));
            covered.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
        covered.extend_from_slice(&position.to_le_bytes());
        covered.extend_from_slice(&timestamp.to_le_bytes());
        let sum = i64::from(crc32fast::hash(&covered));
        let update = "UPDATE dcb_events SET checksum = ?2 WHERE position = ?1";
        shell.execute(update, [position, sum]).unwrap();
    }
    drop(rows);
    drop(statement);
    shell.execute_batch(&trigger).unwrap();
    shell
        .execute_batch(
            "UPDATE dcb_meta SET value = 1 WHERE key = 'format'; PRAGMA user_version = 1",
        )
        .unwrap();
    shell.execute_batch("COMMIT").unwrap();
    shell.close().unwrap();
}

/// Returns events of every shape: with and without tags, escapes, an id, metadata, and text that is
/// not ASCII; some do not fit on a page.
fn some_events() -> Vec<Event> {
    (0..400)
        .map(|n| {
            let mut builder = EventBuilder::new(EventType::new(["A", "Typé"][n % 2]).unwrap());
            let id = format!("id {n}");
            let tags: Vec<String> = (0..n % 5).map(|tag| format!("t:{tag}")).collect();
            tags.iter().for_each(|tag| builder.tag(Tag::new(tag).unwrap()).unwrap());
            if n % 7 == 0 {
                builder.tag(Tag::new("\"é\\").unwrap()).unwrap();
            }
            let data = format!("\"{}\"", "d".repeat(if n % 90 == 3 { 9_000 } else { n }));
            builder.data(&data).unwrap();
            if n % 3 == 0 {
                builder.id(EventId::new(&id).unwrap());
            }
            if n % 4 == 0 {
                builder.metadata("{}").unwrap();
            }
            builder.build()
        })
        .collect()
}

/// Appends [`some_events`], first those without an id: an append has ids for all of its events, or
/// for none.
fn fill(store: &SqliteStore) {
    let (with_id, without) = some_events().into_iter().partition(|event| event.id().is_some());
    assert_eq!(append(store, without, None), Ok(266));
    assert_eq!(append(store, with_id, None), Ok(400));
}

fn open_read_only(path: PathBuf, immutable: bool) -> SqliteStore {
    let options = Options { read_only: true, immutable, ..Options::default() };
    SqliteStore::open(Location::File(path), &options).unwrap()
}

fn events(store: &dyn Store) -> Vec<SequencedEvent> {
    store.read_all(ReadRequest::default(), &CallOptions::default()).unwrap().0
}

fn format(store: &dyn Store) -> i64 {
    store.diagnose(&CallOptions::default()).unwrap().sqlite.unwrap().format
}

fn numbers(path: &Path) -> [i64; 3] {
    let shell = rusqlite::Connection::open(path).unwrap();
    let sql = [
        "SELECT value FROM dcb_meta WHERE key = 'format'",
        "PRAGMA user_version",
        "SELECT count(*) FROM dcb_events WHERE checksum < 0",
    ];
    sql.map(|sql| shell.query_row(sql, [], |row| row.get(0)).unwrap())
}

#[test]
fn a_file_of_format_1_is_read_appended_to_and_copied() {
    let fixture = Fixture::new();
    fill(&fixture.store);
    let written = events(&*fixture.store);
    fixture.store.close();
    assert_eq!(numbers(&fixture.path()), [2, 2, 400]);
    make_old(&fixture.path());
    assert_eq!(numbers(&fixture.path()), [1, 1, 0]);

    // A store that only reads changes nothing.
    for immutable in [false, true] {
        let store = open_read_only(fixture.path(), immutable);
        assert_eq!(events(&store), written);
        assert_eq!(format(&store), 1);
        store.close();
    }
    assert_eq!(numbers(&fixture.path()), [1, 1, 0]);
    let copy = fixture.folder.path().join("old-copy.db");
    let store = open_read_only(fixture.path(), false);
    store.backup(&copy, &CallOptions::default(), &mut |_| Ok(())).unwrap();
    store.close();
    assert_eq!(numbers(&copy), [1, 1, 0]);

    // A library of format 1 has to refuse the file before it holds a new row.
    let store = open(fixture.path());
    assert_eq!(format(&*store), 2);
    assert_eq!(numbers(&fixture.path()), [2, 2, 0]);
    assert_eq!(events(&*store), written);
    let newest = some_events().swap_remove(1);
    assert_eq!(append(&store, vec![newest.clone()], None), Ok(401));
    assert_eq!(all(&store, query(&["A"], &[])).len(), 200);
    let both = events(&*store);
    assert_eq!((&both[..400], &both[400].event), (&written[..], &newest));
    let copy = fixture.folder.path().join("copy.db");
    store.backup(&copy, &CallOptions::default(), &mut |_| Ok(())).unwrap();
    store.close();
    for path in [fixture.path(), copy] {
        assert_eq!(numbers(&path), [2, 2, 1]);
        let store = open(path);
        assert_eq!(events(&*store), both);
        store.close();
    }
}

#[test]
fn a_damaged_row_of_format_1_is_noticed() {
    for change in ["data = data || ' '", "id = coalesce(id, '')", "checksum = -1 - checksum"] {
        let fixture = Fixture::new();
        fill(&fixture.store);
        fixture.store.close();
        make_old(&fixture.path());
        let shell = rusqlite::Connection::open(fixture.path()).unwrap();
        let drop = "DROP TRIGGER dcb_events_no_update";
        shell.execute_batch(drop).unwrap();
        shell.execute(&format!("UPDATE dcb_events SET {change} WHERE position = 200"), []).unwrap();
        let trigger = "CREATE TRIGGER dcb_events_no_update BEFORE UPDATE ON dcb_events \
                       BEGIN SELECT RAISE(ABORT, 'dcb: an event never changes'); END";
        shell.execute_batch(trigger).unwrap();
        shell.close().unwrap();
        let store = open_read_only(fixture.path(), true);
        let error = store.read_all(ReadRequest::default(), &CallOptions::default()).unwrap_err();
        assert_eq!(error.status, Status::Corrupt, "{change}");
        assert!(error.message.contains("position 200 "), "{change}: {error}");
        store.close();
    }
}

#[test]
fn an_adopted_file_of_format_1_keeps_its_own_number() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("theirs.db");
    let shell = rusqlite::Connection::open(&path).unwrap();
    shell.execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 1").unwrap();
    shell.close().unwrap();
    let options = Options { adopt: true, ..Options::default() };
    let store = SqliteStore::open(Location::File(path.clone()), &options).unwrap();
    append(&store, vec![event("A", &[])], None).unwrap();
    store.close();
    make_old(&path);
    open(path.clone()).close();
    assert_eq!(numbers(&path), [2, 1, 0]);
}
