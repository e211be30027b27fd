//! A backup beside threads that append as fast as they can: how long it takes, how much they are
//! slowed down, and how far the log grows. A small store by default; the figures in
//! `docs/operations.md` are from
//!
//!     BACKUP_MIB=200 cargo test --release --test backup -- --nocapture
//!
//! which also prints those of `VACUUM INTO` by the `sqlite3` program, for comparison.

mod ends;

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::time::{Duration, Instant};

use dcb::domain::{AppendRequest, Event, EventBuilder, EventType, Tag};
use dcb::store::BackupProgress;
use dcb::{CallOptions, Options, Position, Store};

use ends::Ends;

fn event(number: usize) -> Event {
    let (tag, data) = (format!("number:{number}"), format!("\"{}\"", "x".repeat(1_000)));
    let mut event = EventBuilder::new(EventType::new("Measured").unwrap());
    event.tag(Tag::new(&tag).unwrap()).unwrap();
    event.data(&data).unwrap();
    event.build()
}

fn append(store: &dyn Store, events: Vec<Event>) -> i64 {
    let request = AppendRequest::new(events, Vec::new()).unwrap();
    store.append(request, &CallOptions::default()).unwrap().last.get()
}

fn open(path: &Path) -> std::sync::Arc<dyn Store> {
    let uri = format!("sqlite:{}", path.display());
    dcb::open(&uri, &Options::default()).unwrap()
}

/// What one way to copy did.
struct Figures {
    took: Duration,
    /// Of that, until all pages were copied.
    copied: Duration,
    /// Events appended in a second: without the copy, and beside it.
    rates: [f64; 2],
    /// The length of the log, at its longest.
    log: u64,
}

/// Copies while `threads` append; `copy` is given what notes that all pages are copied.
fn measure(
    folder: &Path,
    store: &dyn Store,
    threads: usize,
    copy: impl FnOnce(&dyn Fn()),
) -> Figures {
    let (ended, appended) = (AtomicBool::new(false), AtomicI64::new(0));
    let log = folder.join("events.db-wal");
    std::thread::scope(|scope| {
        let _ends = Ends(&ended);
        for thread in 0..threads {
            let (ended, appended) = (&ended, &appended);
            scope.spawn(move || {
                while !ended.load(Relaxed) {
                    append(store, vec![event(thread)]);
                    appended.fetch_add(1, Relaxed);
                }
            });
        }
        // Until what came before is indexed and in the database.
        std::thread::sleep(WARM_UP);
        let rate =
            |start: Instant| appended.swap(0, Relaxed) as f64 / start.elapsed().as_secs_f64();
        rate(Instant::now());
        let start = Instant::now();
        std::thread::sleep(WITHOUT);
        let without = rate(start);
        let (start, copied) = (Instant::now(), Cell::new(Duration::ZERO));
        copy(&|| copied.set(start.elapsed()));
        let (beside, took) = (rate(start), start.elapsed());
        let log = std::fs::metadata(&log).map_or(0, |log| log.len());
        Figures { took, copied: copied.get(), rates: [without, beside], log }
    })
}

const WARM_UP: Duration = Duration::from_secs(1);
const WITHOUT: Duration = Duration::from_secs(3);

#[test]
fn a_backup_ends_while_others_append_at_full_rate() {
    let mib: usize =
        std::env::var("BACKUP_MIB").map_or(8, |mib| mib.parse().expect("a number of MiB"));
    for threads in [1, 64] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("events.db"));
        for number in 0..mib {
            append(&*store, (0..1_000).map(|_| event(number)).collect());
        }
        let report = |way: &str, figures: &Figures| {
            let [without, beside] = figures.rates;
            println!(
                "{mib} MiB, {threads} threads, {way}: {:.2} s (copied after {:.2} s); \
                 {without:.0} appends/s without it, {beside:.0} beside it ({:.0} %); log {:.0} MiB",
                figures.took.as_secs_f64(),
                figures.copied.as_secs_f64(),
                100.0 * beside / without,
                figures.log as f64 / 1_048_576.0,
            );
        };
        let path = folder.path().join("copy.db");
        let mut head = Position::START;
        let figures = measure(folder.path(), &*store, threads, |copied| {
            let mut note = |now: BackupProgress| {
                if now.done_pages == now.total_pages {
                    copied();
                }
                Ok(())
            };
            head = store.backup(&path, &CallOptions::default(), &mut note).unwrap();
        });
        report("backup", &figures);
        assert!(figures.rates[1] > 0.0);
        let now = store.head(&CallOptions::default()).unwrap();
        assert!(head.get() > 1_000 * mib as i64 && head < now);
        let copy = open(&path);
        assert_eq!(copy.head(&CallOptions::default()), Ok(head));
        copy.close();
        if std::env::var_os("BACKUP_MIB").is_some() {
            let figures = measure(folder.path(), &*store, threads, |_| {
                let vacuum = format!("VACUUM INTO '{}'", folder.path().join("vacuum.db").display());
                let database = folder.path().join("events.db");
                let shell = Command::new("sqlite3").arg(database).arg(vacuum).status();
                assert!(shell.expect("the sqlite3 program").success());
            });
            report("VACUUM INTO", &figures);
        }
        store.close();
    }
}
