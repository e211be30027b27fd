//! Simulated power failures: a write that was not synced may be on the disk, or not, or in part.
//!
//! A run is recorded call by call. For random points of the recording, an image of the files that a
//! power failure may leave is built, opened, and compared with the results returned before that
//! point.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use dcb::capi::status::{DCB_BUSY, DCB_CONDITION_FAILED, DCB_IO};
use dcb::failpoints::SeededBug;
use tempfile::TempDir;

use crate::check::{Known, check};
use crate::client::{Answer, Store};
use crate::disk::{self, Call, Fault, Step};
use crate::ends::Ends;
use crate::host::{Pool, Settings};
use crate::image::{Disk, UnsyncedWrites};
use crate::random::Random;
use crate::roles::{Part, open};
use crate::times;
use crate::work::Append;

const THREADS: u64 = 4;
const RECORDING_IMAGES: u64 = 100;

/// What happens to the store's own syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syncs {
    Working,
    /// A sync fails now and then.
    Failing,
    /// Syncs do nothing and report success.
    Missing,
}

/// The settings of a program that has the file open with its own SQLite.
const SETTINGS: [Settings; 3] = [
    Settings { journal_mode: "WAL", synchronous: "NORMAL" },
    Settings { journal_mode: "WAL", synchronous: "FULL" },
    Settings { journal_mode: "DELETE", synchronous: "FULL" },
];

const SYNCS: [Syncs; 3] = [Syncs::Working, Syncs::Failing, Syncs::Missing];

/// Opens the store; if there are settings of a host, on a pool of connections with them.
fn open_as(path: &Path, host: Option<Settings>) -> Answer<(Store, Option<Arc<Pool>>)> {
    let Some(settings) = host else { return Ok((open(path)?, None)) };
    loop {
        let pool = Pool::new(path, settings);
        match Store::open_host(&pool.functions(), Box::new(Arc::clone(&pool))) {
            Err(failure) if failure.status == DCB_BUSY => {}
            other => return Ok((other?, Some(pool))),
        }
    }
}

/// Appends from several threads to one file that is open twice, while other threads read, and
/// returns the recorded steps.
fn run(syncs: Syncs, host: Option<Settings>, seed: u64) -> Vec<Step> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.db");
    let mut random = Random::new(seed);
    disk::watch(folder.path());
    disk::record(syncs == Syncs::Missing);
    for round in 0..3 {
        // One sync may fail, of the store or of SQLite. Then the file is reopened.
        let own = round == 0 || random.one_in(2);
        let fault = Fault {
            call: if own { Call::WalSync } else { Call::Sync },
            nth: 1 + random.below(if own { 80 } else { 20 }),
            for_good: false,
            errno: libc::EIO,
            short: false,
        };
        disk::fail(Some(fault).filter(|_| syncs == Syncs::Failing && round < 2));
        let stores = [(); 2].map(|()| {
            loop {
                match open_as(&path, host) {
                    Ok(store) => break store,
                    Err(failure) => assert_eq!(failure.status, DCB_IO, "{failure}"),
                }
            }
        });
        let over = AtomicBool::new(false);
        let appends = 10 + random.below(30);
        std::thread::scope(|scope| {
            let _ends = Ends(&over);
            for (store, _) in &stores {
                scope.spawn(|| {
                    while !over.load(SeqCst) {
                        let seen = store.head().expect("the head");
                        disk::note(format!("seen 0 {seen}"));
                        let read = store.read(r#"{"backwards":true,"limit":1}"#).expect("a read");
                        disk::note(format!("seen 0 {}", read.position));
                        std::thread::sleep(std::time::Duration::from_micros(100));
                    }
                });
            }
            let writers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (store, pool) = &stores[thread as usize % stores.len()];
                    // The other threads append in transactions of the program.
                    let pool = pool.as_deref().filter(|_| thread >= THREADS / 2);
                    let writer = seed % (1 << 20) * THREADS + thread;
                    scope.spawn(move || {
                        for number in (0..appends).map(|number| round * 1_000 + number) {
                            append(store, pool, writer, number);
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
        });
    }
    disk::recorded()
}

fn append(store: &Store, pool: Option<&Pool>, writer: u64, number: u64) {
    disk::note(format!("{writer} sends {number}"));
    let request = Append::new(writer, number).request();
    let answer = match pool {
        None => Some(store.append(&request)),
        // The append is as durable as the program's commit.
        Some(pool) => pool
            .transaction(|connection| store.append_within(connection, &request))
            .filter(|answer| answer.is_err() || pool.syncs_commits()),
    };
    let Some(answer) = answer else { return };
    let answer = match answer {
        Ok(last) => format!("stored {number} {last}"),
        Err(failure) if failure.status == DCB_CONDITION_FAILED => {
            format!("refused {number} {}", failure.position)
        }
        Err(failure) if failure.status == DCB_BUSY => format!("busy {number} 0"),
        // The append may be stored or not.
        Err(failure) if failure.status == DCB_IO => format!("ended {number} 0"),
        Err(failure) => format!("broken {number} 0 {failure}"),
    };
    disk::note(format!("{writer} {answer}"));
}

/// The results of the writers, and the highest head that any reader has seen.
#[derive(Default)]
struct Observed {
    known: Known,
    seen: i64,
}

impl Observed {
    fn note(&mut self, text: &str) {
        if let Some(seen) = text.strip_prefix("seen 0 ") {
            self.seen = self.seen.max(seen.parse().unwrap());
        } else if let Some((writer, line)) = text.split_once(' ') {
            self.known.note(writer.parse().unwrap(), line);
        }
    }
}

fn check_image(
    folder: &Path,
    observed: &Observed,
    host: Option<Settings>,
    random: &mut Random,
) -> Result<(), String> {
    let path = folder.join("x.db");
    // If the power failed before the store was created, this creates it.
    let (store, _) = open_as(&path, host).map_err(|failure| format!("opening: {failure}"))?;
    let head = store.head().map_err(|failure| format!("the head: {failure}"))?;
    if head < observed.seen {
        return Err(format!("the head is {head}, but a reader has seen {}", observed.seen));
    }
    check(&store, &observed.known, 3, random)
}

/// Lists the files of an image and their lengths.
fn list(folder: &Path) -> String {
    let entries = folder.read_dir().unwrap().map(Result::unwrap);
    let files = entries.map(|entry| {
        let len = entry.metadata().unwrap().len();
        format!("{} {len}", entry.file_name().display())
    });
    files.collect::<Vec<_>>().join(", ")
}

/// Checks this many images of a recording, spread over it.
fn images(
    steps: &[Step],
    host: Option<Settings>,
    count: u64,
    random: &mut Random,
) -> Result<u64, (u64, String)> {
    let mut cuts: Vec<usize> =
        (0..count).map(|_| random.below(steps.len() as u64 + 1) as usize).collect();
    cuts.sort_unstable();
    let (mut disk, mut observed) = (Disk::new(steps), Observed::default());
    for (image, cut) in cuts.into_iter().enumerate() {
        disk.advance(cut, |text| observed.note(text));
        let folder = TempDir::new().unwrap();
        let unsynced = UnsyncedWrites::any(random);
        disk.write(folder.path(), unsynced, random);
        let files = list(folder.path());
        // In WAL mode, a native store can recover the files of a host and the other way round. In
        // rollback mode, only the host's SQLite rolls its journal back.
        let host = host.filter(|host| host.journal_mode != "WAL" || random.one_in(2));
        check_image(folder.path(), &observed, host, random).map_err(|wrong| {
            let steps = steps.len();
            let by = host.map_or(String::new(), |host| format!(" by {host:?}"));
            (
                image as u64,
                format!("after step {cut} of {steps}, {unsynced:?}, {files}{by}: {wrong}"),
            )
        })?;
    }
    Ok(count)
}

/// The role of a process that checks images until one is wrong or all of `part.first` are right.
pub fn play(part: &Part) {
    let host =
        part.role.strip_prefix(HOSTED).map(|index| SETTINGS[index.parse::<usize>().unwrap()]);
    let count = part.first;
    let mut random = Random::new(part.writer);
    let mut done = 0;
    while done < count {
        let seed = random.next();
        let steps = run(SYNCS[part.threads as usize], host, seed);
        let some = RECORDING_IMAGES.min(count - done);
        match images(&steps, host, some, &mut random) {
            Ok(images) => done += images,
            Err((images, wrong)) => {
                done += images;
                std::fs::write(&part.witness, format!("{done}\n{wrong}")).unwrap();
                return;
            }
        }
    }
    std::fs::write(&part.witness, format!("{done}\n")).unwrap();
}

/// The role of a process that uses the library's own connections.
const NATIVE: &str = "power";
/// The role of a process on a host's connections; the number of its settings follows.
const HOSTED: &str = "power of a host, ";

/// Checks this many images in a separate process, whose file calls are recorded. Returns how many
/// it checked, and what was wrong with the last one.
fn cut_power(
    role: &str,
    count: u64,
    syncs: Syncs,
    flaw: Option<SeededBug>,
) -> (u64, Option<String>) {
    let folder = TempDir::new().unwrap();
    let part = Part {
        role: role.into(),
        witness: folder.path().join("outcome"),
        writer: Random::seed_of_this_run(),
        threads: SYNCS.iter().position(|own| *own == syncs).unwrap_or_default() as u64,
        first: count,
        flaw,
        ..Part::default()
    };
    let (done, wrong) = part.outcome();
    (done.parse().unwrap(), wrong)
}

#[test]
fn nothing_acknowledged_is_lost_to_power_failures() {
    let (images, wrong) = cut_power(NATIVE, times(2_000, 200_000), Syncs::Working, None);
    println!("{images} images");
    assert_eq!(wrong, None);
}

/// A sync that fails may permanently lose any part of what it had to write.
#[test]
fn a_power_failure_after_a_failed_sync_loses_nothing() {
    let (images, wrong) = cut_power(NATIVE, times(1_000, 100_000), Syncs::Failing, None);
    println!("{images} images");
    assert_eq!(wrong, None);
}

/// Validates the tests above: without the store's syncs, they must find lost events.
#[test]
fn without_the_store_s_sync_power_failures_lose_events() {
    let (images, wrong) = cut_power(NATIVE, 2_000, Syncs::Missing, None);
    println!("noticed after {images} images: {}", wrong.expect("nothing was lost"));
}

#[test]
fn trusting_the_wal_after_a_failed_sync_is_noticed() {
    let (images, wrong) = cut_power(NATIVE, 4_000, Syncs::Failing, Some(SeededBug::BelieveLog));
    println!("noticed after {images} images: {}", wrong.expect("nothing was lost"));
}

#[test]
fn answers_and_reads_before_the_sync_are_noticed() {
    for flaw in [SeededBug::AnswerBeforeSync, SeededBug::ShowUnsynced] {
        let (images, wrong) = cut_power(NATIVE, 2_000, Syncs::Working, Some(flaw));
        println!("{flaw:?}: noticed after {images} images: {}", wrong.expect("nothing was lost"));
    }
}

#[test]
fn power_failures_lose_nothing_on_a_host_s_connections() {
    for (index, settings) in SETTINGS.iter().enumerate() {
        let role = format!("{HOSTED}{index}");
        let (images, wrong) = cut_power(&role, times(120, 12_000), Syncs::Working, None);
        println!("{settings:?}: {images} images");
        assert_eq!(wrong, None, "{settings:?}");
    }
}

/// If the host does not sync its commits, only the store's own sync makes them durable.
#[test]
fn without_the_store_s_sync_a_host_s_events_are_lost() {
    let role = format!("{HOSTED}0");
    let flaws = [SeededBug::AnswerBeforeSync, SeededBug::ShowUnsynced];
    let ways = [(Syncs::Missing, None)].into_iter();
    for (syncs, flaw) in ways.chain(flaws.map(|flaw| (Syncs::Working, Some(flaw)))) {
        let (images, wrong) = cut_power(&role, 2_000, syncs, flaw);
        let wrong = wrong.expect("nothing was lost");
        println!("{syncs:?}, {flaw:?}: noticed after {images} images: {wrong}");
    }
}
