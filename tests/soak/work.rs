//! The work of one process: it appends, reads and follows, in a thread each, and reopens the store
//! now and then.

use std::io::BufRead as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use dcb::capi::status::{DCB_BUSY, DCB_CONDITION_FAILED, DCB_TIMEOUT};

use crate::client::{Answer, Failure, Store};
use crate::random::Random;
use crate::table::Latencies;

/// The pause between two appends, and between two reads, of a process.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a store stays open.
const OPEN: Duration = Duration::from_secs(20);
/// How many entities are in use at a time.
const ENTITIES: u64 = 2_000;
/// How many appends a process makes before it moves on to other entities. So the set of entities in
/// use has the same size all day, and only the file grows.
const GENERATION: u64 = 4_000;

#[derive(Default)]
struct Stats {
    appends: Mutex<Latencies>,
    reads: Mutex<Latencies>,
    /// Bytes that were still allocated after the store was closed.
    kept: AtomicU64,
}

/// Returns how many bytes the allocator has handed out.
fn in_use() -> u64 {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it takes no argument and returns numbers.
        let info = unsafe { libc::mallinfo2() };
        (info.uordblks + info.hblkhd) as u64
    }
    #[cfg(not(target_env = "gnu"))]
    0
}

fn timed<T>(latencies: &Mutex<Latencies>, call: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let value = call();
    latencies.lock().unwrap().note(begin.elapsed());
    value
}

/// Works until the end of the input, and reports whenever a line asks for it.
pub fn work(path: &Path, number: u64) {
    let (stats, ended) = (Stats::default(), AtomicBool::new(false));
    let (stats, ended) = (&stats, &ended);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in std::io::stdin().lock().lines() {
                let appends = std::mem::take(&mut *stats.appends.lock().unwrap());
                let reads = std::mem::take(&mut *stats.reads.lock().unwrap());
                let kept = stats.kept.load(Relaxed);
                println!("stats {} | {} | {kept}", appends.to_text(), reads.to_text());
            }
            ended.store(true, Relaxed);
        });
        while !ended.load(Relaxed) {
            let store = loop {
                match Store::open(path) {
                    Err(failure) if failure.status == DCB_BUSY => {}
                    other => break other.expect("a store"),
                }
            };
            let until = Instant::now() + OPEN;
            let goes_on = || !ended.load(Relaxed) && Instant::now() < until;
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while goes_on() {
                        append(&store, stats, number, next.fetch_add(1, Relaxed));
                        std::thread::sleep(PAUSE);
                    }
                });
                scope.spawn(|| {
                    let mut random = Random::new(Random::seed_of_this_run());
                    while goes_on() {
                        read(&store, stats, next.load(Relaxed), &mut random);
                        std::thread::sleep(PAUSE);
                    }
                });
                scope.spawn(|| {
                    let mut seen = store.head().expect("the head");
                    while goes_on() {
                        seen = follow(&store, seen);
                    }
                });
            });
            drop(store);
            stats.kept.store(in_use(), Relaxed);
        }
    });
}

/// Appends once: mostly an event or two with a condition, now and then many or large ones.
fn append(store: &Store, stats: &Stats, process: u64, number: u64) {
    let mut random = Random::new(process << 40 ^ number);
    let count = match random.below(500) {
        0 => 2_000,
        1..=20 => 30,
        _ => 1 + random.below(2),
    };
    let size = if random.one_in(200) { 50_000 } else { 100 + random.below(200) };
    let entity = pick_entity(&mut random, number);
    let events = (0..count).map(|index| {
        let other = pick_entity(&mut random, number);
        let data = "x".repeat(size as usize / count as usize + 40);
        format!(
            r#"{{"type":"Kind{}","tags":["entity:{entity}","other:{other}"],"data":"{data}","id":"{process}-{number}-{index}"}}"#,
            index % 5
        )
    });
    let events = events.collect::<Vec<_>>().join(",");
    let query = format!(r#"{{"items":[{{"tags":["entity:{entity}"]}}]}}"#);
    let asked = store.read(&format!(r#"{{"query":{query},"backwards":true,"limit":1}}"#));
    let after = asked.expect("a read").position;
    let condition = format!(r#"{{"failIfEventsMatch":{query},"after":{after}}}"#);
    let request = format!(r#"{{"events":[{events}],"condition":{condition}}}"#);
    let answer = timed(&stats.appends, || store.append(&request));
    expect(answer, &[DCB_CONDITION_FAILED, DCB_BUSY]);
    if number % 100 == 7 {
        // Appends again, like a caller that lost the answer.
        expect(store.append(&request), &[DCB_CONDITION_FAILED, DCB_BUSY]);
    }
}

/// Returns an entity that is in use at the time of an append.
fn pick_entity(random: &mut Random, number: u64) -> u64 {
    number / GENERATION * ENTITIES + random.below(ENTITIES)
}

/// Reads once: mostly an entity that is in use, now and then one of any time.
fn read(store: &Store, stats: &Stats, number: u64, random: &mut Random) {
    let time = if random.one_in(8) { random.below(number + 1) } else { number };
    let entity = pick_entity(random, time);
    let request = match random.below(10) {
        0 => r#"{"backwards":true,"limit":20}"#.to_owned(),
        1 => format!(
            r#"{{"query":{{"items":[{{"types":["Kind1"],"tags":["entity:{entity}","other:{}"]}}]}}}}"#,
            pick_entity(random, time)
        ),
        _ => format!(
            r#"{{"query":{{"items":[{{"tags":["entity:{entity}"]}}]}},"backwards":true,"limit":50}}"#
        ),
    };
    timed(&stats.reads, || store.read(&request)).expect("a read");
}

/// Reads the events above `seen`, and returns the position up to which it read.
fn follow(store: &Store, seen: i64) -> i64 {
    if expect(store.wait(seen, 200), &[DCB_TIMEOUT]).is_none() {
        return seen;
    }
    let read = store.read(&format!(r#"{{"after":{seen}}}"#)).expect("a read");
    let positions: Vec<i64> = read.positions();
    assert!(positions.iter().copied().eq(seen + 1..=read.position), "a hole above {seen}");
    read.position
}

fn expect<T>(answer: Answer<T>, allowed: &[i32]) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(Failure { status, .. }) if allowed.contains(&status) => None,
        Err(failure) => panic!("{failure}"),
    }
}
