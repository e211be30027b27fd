//! A backup beside threads that append as fast as they can: how long it takes, how much they are
//! slowed down, and how far the log grows. A small store by default; the figures in
//! `docs/operations.md` are from
//!
//!     BACKUP_MIB=200 cargo test --release --test backup -- --nocapture
//!
//! which also prints those of `VACUUM INTO` by the `sqlite3` program, for comparison.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::time::{Duration, Instant};

use dcb::domain::{AppendRequest, Event, EventBuilder, EventType, Tag};
use dcb::{CallOptions, Options, Store};

fn event(number: usize) -> Event {
    let (tag, data) = (format!("number:{number}"), format!("\"{}\"", "x".repeat(1_000)));
    let mut event = EventBuilder::new(EventType::new("Measured").unwrap());
    event.tag(Tag::new(&tag).unwrap()).unwrap();
    event.data(&data).unwrap();
    event.build()
}

fn append(store: &dyn Store, events: Vec<Event>) -> i64 {
    let request = AppendRequest::new(events, Vec::new()).unwrap();
    store.append(request, &CallOptions::default()).unwrap().last
}

fn open(path: &Path) -> std::sync::Arc<dyn Store> {
    let uri = format!("sqlite:{}", path.display());
    dcb::open(&uri, &Options::default()).unwrap()
}

/// What one way to copy did.
struct Figures {
    took: Duration,
    /// Events appended in a second, without the copy and beside it.
    rates: [f64; 2],
    log_growth: u64,
}

fn measure(folder: &Path, store: &dyn Store, threads: usize, copy: impl FnOnce()) -> Figures {
    let (ended, appended) = (AtomicBool::new(false), AtomicI64::new(0));
    let log = folder.join("events.db-wal");
    let log_len = || std::fs::metadata(&log).map_or(0, |log| log.len());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (ended, appended) = (&ended, &appended);
            scope.spawn(move || {
                while !ended.load(Relaxed) {
                    append(store, vec![event(thread)]);
                    appended.fetch_add(1, Relaxed);
                }
            });
        }
        let rate = |work: &mut dyn FnMut()| {
            let (before, start) = (appended.load(Relaxed), Instant::now());
            work();
            let took = start.elapsed();
            (took, (appended.load(Relaxed) - before) as f64 / took.as_secs_f64())
        };
        std::thread::sleep(Duration::from_millis(200));
        let (_, without) = rate(&mut || std::thread::sleep(Duration::from_secs(3)));
        let log_before = log_len();
        let mut copy = Some(copy);
        let (took, beside) = rate(&mut || copy.take().expect("once")());
        let log_growth = log_len().saturating_sub(log_before);
        ended.store(true, Relaxed);
        Figures { took, rates: [without, beside], log_growth }
    })
}

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
                "{mib} MiB, {threads} threads, {way}: {:.2} s; {without:.0} appends/s without, \
                 {beside:.0} beside it ({:.0} %); the log grew by {:.1} MiB",
                figures.took.as_secs_f64(),
                100.0 * beside / without,
                figures.log_growth as f64 / 1_048_576.0,
            );
        };
        let path = folder.path().join("copy.db");
        let mut head = 0;
        let figures = measure(folder.path(), &*store, threads, || {
            head = store.backup(&path, &CallOptions::default(), &mut |_| Ok(())).unwrap();
        });
        report("backup", &figures);
        assert!(figures.rates[1] > 0.0);
        assert!(head > 1_000 * mib as i64 && head < store.head(&CallOptions::default()).unwrap());
        let copy = open(&path);
        assert_eq!(copy.head(&CallOptions::default()), Ok(head));
        copy.close();
        if std::env::var_os("BACKUP_MIB").is_some() {
            let figures = measure(folder.path(), &*store, threads, || {
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
