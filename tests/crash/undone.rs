//! Transactions of a program that write pages and are then rolled back or cut off, on a file that
//! stores have open or open later. They leave whole rows in free pages, with valid checksums, at
//! positions that other events take. No read may return them, and no condition may see them.

use std::path::Path;
use std::sync::Barrier;

use dcb::capi::status::DCB_CONDITION_FAILED;
use dcb::failpoints::SeededBug;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;

use crate::client::{Store, Stored};
use crate::random::Random;
use crate::roles::Part;
use crate::times;

/// How many stores read at the same time.
const READERS: usize = 2;
/// How many threads read at the same time, so that each has a connection of its own.
const THREADS: usize = 4;

/// The expected content of the store: which attempt wrote the event at each position.
struct Model(Vec<u64>);

/// Returns the event of an attempt at a position, whose length is the same for every attempt.
fn event(position: usize, attempt: u64) -> String {
    let padding = "x".repeat(200 + position * 37 % 300);
    format!(
        r#"{{"type":"T","tags":["k:{position:08}","w:{attempt:08}","all"],"data":"{padding}"}}"#
    )
}

fn request(first: usize, count: usize, attempt: u64) -> String {
    let events: Vec<String> =
        (first..first + count).map(|position| event(position, attempt)).collect();
    format!(r#"{{"events":[{}]}}"#, events.join(","))
}

type Wrong = Result<(), String>;

impl Model {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn check(&self, what: &str, position: usize, found: &[Stored]) -> Wrong {
        let wanted = format!("w:{:08}", self.0[position - 1]);
        match found {
            [event] if event.position == position as i64 && event.tags[1] == wanted => Ok(()),
            _ => Err(format!("{what}: position {position}, not {wanted}: {found:?}")),
        }
    }

    /// Reads single events by their tag, and the newest ones in a row, in either order, once
    /// `start` releases it. Overlapping reads have connections and pages of their own.
    fn read(&self, store: &Store, random: &mut Random, start: &Barrier) -> Wrong {
        start.wait();
        let scan_first = random.one_in(2);
        if scan_first {
            self.scan(store, random)?;
        }
        for _ in 0..2 {
            let position = self.len() - random.below(self.len().min(120) as u64) as usize;
            let query = format!(r#"{{"query":{{"items":[{{"tags":["k:{position:08}"]}}]}}}}"#);
            let read = store.read(&query).map_err(|failure| format!("a read by tag: {failure}"))?;
            self.check("a read by tag", position, &read.events)?;
        }
        if scan_first { Ok(()) } else { self.scan(store, random) }
    }

    /// Scans the newest events. The pages that are read ahead are often those of the scan before,
    /// as it starts at one of few positions, and go beyond the last event.
    fn scan(&self, store: &Store, random: &mut Random) -> Wrong {
        let after = (self.len() - 1) / 50 * 50;
        let after = after.saturating_sub(50 * random.below(3) as usize);
        let read = store.read(&format!(r#"{{"after":{after}}}"#));
        let read = read.map_err(|failure| format!("a read: {failure}"))?;
        if read.position != self.len() as i64 || read.events.len() != self.len() - after {
            return Err(format!("above {after}: up to {}, not {}", read.position, self.len()));
        }
        for (index, found) in read.events.iter().enumerate() {
            self.check("a scan", after + 1 + index, std::slice::from_ref(found))?;
        }
        Ok(())
    }

    /// Makes the writer scan the newest events, so that it reads pages ahead.
    fn scan_by_writer(&self, store: &Store) -> Wrong {
        let after = self.len().saturating_sub(30);
        let guarded = format!(
            r#"{{"events":[{{"type":"Wrong"}}],"condition":{{"after":{after},"failIfEventsMatch":
                {{"items":[{{"tags":["all"]}}]}}}}}}"#
        );
        self.refused(store, &guarded, after + 1)
    }

    /// Appends with a condition that a stored event violates.
    fn append_with_violated_condition(&self, store: &Store, position: usize) -> Wrong {
        let attempt = self.0[position - 1];
        let guarded = format!(
            r#"{{"events":[{{"type":"Wrong"}}],"condition":{{"failIfEventsMatch":
                {{"items":[{{"tags":["k:{position:08}","w:{attempt:08}"]}}]}}}}}}"#
        );
        self.refused(store, &guarded, position)
    }

    fn refused(&self, store: &Store, request: &str, position: usize) -> Wrong {
        match store.append(request) {
            Err(failure)
                if failure.status == DCB_CONDITION_FAILED
                    && failure.position == position as i64 =>
            {
                Ok(())
            }
            other => Err(format!("an append that event {position} forbids: {other:?}")),
        }
    }

    /// Runs the same reads in several threads at once, after one read or none. That read tells the
    /// store the way to the leaves, so that the other connections have only these to read.
    fn read_at_once(&self, store: &Store, random: &mut Random) -> Wrong {
        if random.one_in(2) {
            self.scan(store, random)?;
        }
        let seeds: Vec<u64> = (0..THREADS).map(|_| random.next()).collect();
        let start = &Barrier::new(THREADS);
        std::thread::scope(|scope| {
            let readers: Vec<_> = seeds
                .into_iter()
                .map(|seed| scope.spawn(move || self.read(store, &mut Random::new(seed), start)))
                .collect();
            readers.into_iter().try_for_each(|reader| reader.join().unwrap())
        })
    }
}

/// Opens a connection of the program. Its cache is small, so that it writes pages before its
/// transactions end.
fn host(path: &Path) -> Connection {
    let host = Connection::open(path).unwrap();
    let settings = "PRAGMA journal_mode = delete; PRAGMA synchronous = off; PRAGMA cache_size = 5";
    host.execute_batch(settings).unwrap();
    host
}

/// Returns the rows that a store would write for the next `count` events.
fn rows(path: &Path, model: &Model, count: usize, attempt: u64) -> Vec<Vec<Value>> {
    let copy = path.with_extension("copy");
    std::fs::copy(path, &copy).unwrap();
    let store = Store::open(&copy).unwrap();
    store.append(&request(model.len() + 1, count, attempt)).unwrap();
    drop(store);
    let connection = Connection::open(&copy).unwrap();
    let mut select = connection.prepare("SELECT * FROM dcb_events WHERE position > ?1").unwrap();
    let rows = select
        .query_map([model.len() as i64], |row| (0..8).map(|column| row.get(column)).collect())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    drop(select);
    drop(connection);
    std::fs::remove_file(&copy).unwrap();
    rows
}

/// What the program does in a step. The order of the kinds is the one in which they do the most
/// harm: a rolled-back transaction leaves its rows in free pages, which readers may have read
/// ahead when another transaction writes other rows into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A table is filled and dropped, which leaves free pages.
    Junk,
    /// Events are written and rolled back.
    RollBack,
    /// Events are written and committed.
    Commit,
}

fn round(random: &mut Random) -> Wrong {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.db");
    let mut attempt = 1;
    let mut model = Model(vec![attempt; 1 + random.below(300) as usize]);
    let store = Store::open(&path).unwrap();
    store.append(&request(1, model.len(), attempt)).unwrap();
    drop(store);
    // Only readers have the file open beside the program.
    host(&path);
    let open = || Store::open_with(&path, r#"{"read_only":true}"#).unwrap();
    let readers: [Store; READERS] = std::array::from_fn(|_| open());
    let mut kind = Kind::Commit;
    for _ in 0..4 + random.below(8) {
        let host = host(&path);
        attempt += 1;
        kind = match kind {
            Kind::Junk if random.one_in(2) => Kind::RollBack,
            Kind::RollBack if random.one_in(2) => Kind::Commit,
            _ => [Kind::Junk, Kind::RollBack, Kind::Commit][random.below(3) as usize],
        };
        let count = 50 + random.below(3) as usize * 25;
        if kind == Kind::Junk {
            let most = if random.one_in(2) { 12 } else { 60 };
            let pages = 3 + random.below(most);
            host.execute_batch(&format!(
                "CREATE TABLE junk (a); INSERT INTO junk WITH RECURSIVE n(i) AS \
                 (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {pages}) \
                 SELECT zeroblob(3600) FROM n; DROP TABLE junk"
            ))
            .unwrap();
        } else {
            let rows = rows(&path, &model, count, attempt);
            host.execute_batch("BEGIN IMMEDIATE").unwrap();
            for row in rows {
                let insert = "INSERT INTO dcb_events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
                host.execute(insert, params_from_iter(row)).unwrap();
            }
            if random.one_in(2) {
                host.cache_flush().unwrap();
            }
            if kind == Kind::Commit {
                host.execute_batch("COMMIT").unwrap();
                model.0.extend(vec![attempt; count]);
            } else {
                host.execute_batch("ROLLBACK").unwrap();
            }
        }
        for reader in &readers {
            model.read_at_once(reader, random)?;
        }
    }
    drop(readers);
    // From here on the store writes. The free pages that the writer has read ahead hold events by
    // the time that it checks conditions against them.
    let store = Store::open(&path).unwrap();
    let len = model.len();
    model.scan_by_writer(&store)?;
    for _ in 0..4 + random.below(4) {
        attempt += 1;
        let count = 50 + random.below(100) as usize;
        store.append(&request(model.len() + 1, count, attempt)).unwrap();
        model.0.extend(vec![attempt; count]);
        // Gives maintenance time for checkpoints and segments, or not.
        std::thread::sleep(std::time::Duration::from_millis(random.below(15)));
        model.read_at_once(&store, random)?;
    }
    for position in (len + 1..).step_by(5).take(10) {
        model.append_with_violated_condition(&store, position)?;
        model.read_at_once(&store, random)?;
    }
    drop(store);
    model.read_at_once(&Store::open(&path).unwrap(), random)
}

/// The role of a process that plays rounds until something is wrong or there were enough.
pub fn play(part: &Part) {
    let mut random = Random::new(part.writer);
    for done in 0..part.first {
        if let Err(wrong) = round(&mut random) {
            std::fs::write(&part.witness, format!("{done}\n{wrong}")).unwrap();
            return;
        }
    }
    std::fs::write(&part.witness, format!("{}\n", part.first)).unwrap();
}

fn undo(rounds: u64, flaw: Option<SeededBug>) -> (String, Option<String>) {
    let folder = TempDir::new().unwrap();
    let part = Part {
        role: "undone".into(),
        witness: folder.path().join("outcome"),
        writer: Random::seed_of_this_run(),
        first: rounds,
        flaw,
        ..Part::default()
    };
    part.outcome()
}

#[test]
fn events_that_were_rolled_back_are_never_seen() {
    let (rounds, wrong) = undo(times(60, 6_000), None);
    println!("{rounds} rounds");
    assert_eq!(wrong, None);
}

/// It takes some 120 rounds, as a read has to find the pages that its own connection has kept: the
/// limit is far above that.
#[test]
fn using_pages_of_another_version_of_the_file_is_noticed() {
    let (rounds, wrong) = undo(6_000, Some(SeededBug::BelieveOldPages));
    println!("noticed after {rounds} rounds: {}", wrong.expect("nothing was noticed"));
}
