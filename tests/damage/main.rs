//! Damaged files: whatever is done to the bytes of a store, opening it and asking it gives a
//! status that says so, or what the whole file would have given. Never a crash, a hang, or a
//! wrong answer without a word.
//!
//! `DCB_TEST_LONG=1` does many times as much.

#[path = "../crash/client.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod client;
mod file;
mod mutate;
#[path = "../crash/random.rs"]
mod random;
mod scrutiny;

use std::collections::BTreeMap;

use file::{Files, Original};
use mutate::{Mutation, PAGE};
use random::Random;
use scrutiny::{Outcome, scrutinise};

/// The short run's number of something, or the long one's.
fn times(short: usize, long: usize) -> usize {
    if std::env::var_os("DCB_TEST_LONG").is_some() { long } else { short }
}

/// What came of all the cases of a kind.
#[derive(Debug, Default)]
struct Tally {
    right: usize,
    told: usize,
    wrong: Vec<String>,
}

/// Tells what came of each case, of which one at a time is in memory. `may_lose`: what is damaged
/// is the log, whose end a crash may have cut off as well.
fn try_all(
    original: &Original,
    may_lose: bool,
    cases: impl IntoIterator<Item = (String, Files)>,
) -> Tally {
    let mut random = Random::new(Random::seed_of_this_run());
    let mut tally = Tally::default();
    for (name, files) in cases {
        match scrutinise(&name, original, &files, may_lose, &mut random) {
            Outcome::Right => tally.right += 1,
            Outcome::Told => tally.told += 1,
            Outcome::Wrong(what) => tally.wrong.push(format!("{name}: {what}")),
        }
    }
    tally
}

fn report(what: &str, tally: &Tally) {
    println!("{what}: {} right, {} told, {} wrong", tally.right, tally.told, tally.wrong.len());
    assert!(tally.wrong.is_empty(), "{what}: {:#?}", tally.wrong);
    assert!(tally.right + tally.told > 0, "{what}: no case");
}

/// The undamaged files, as a closing and as a crash leave them.
fn both() -> [Original; 2] {
    [Original::closed(), Original::killed()]
}

#[test]
fn what_is_whole_is_right() {
    for original in both() {
        let tally = try_all(&original, false, [("whole".to_owned(), original.files.clone())]);
        assert_eq!((tally.right, tally.wrong.len()), (1, 0), "{tally:?}");
    }
}

#[test]
fn a_file_that_was_cut_off() {
    for original in both() {
        let len = original.files.database.len();
        // (Of nothing, without a log, a store is made.)
        let first = usize::from(original.files.log.is_empty());
        let pages = (first..len / PAGE).step_by(times(6, 1));
        let cuts = pages.flat_map(|page| [page * PAGE, page * PAGE + 1_234]);
        let cases = cuts.map(|cut| {
            let mut files = original.files.clone();
            files.database.truncate(cut);
            (format!("cut at {cut}"), files)
        });
        report(&format!("{}, cut off", original.name), &try_all(&original, false, cases));
    }
}

#[test]
fn pages_and_bits_that_changed() {
    let mut random = Random::new(Random::seed_of_this_run());
    for original in both() {
        for (kind, count) in [
            (Mutation::Bit, times(60, 25_000)),
            (Mutation::FileHeader, times(30, 5_000)),
            (Mutation::PageHeader, times(40, 12_500)),
            (Mutation::CellPointer, times(40, 12_500)),
            (Mutation::Cell, times(60, 25_000)),
            (Mutation::Swap, times(20, 4_000)),
            (Mutation::Copy, times(20, 4_000)),
            (Mutation::Zero, times(15, 2_000)),
        ] {
            let cases = (0..count).map(|_| {
                let mut files = original.files.clone();
                let what = kind.apply(&mut files.database, &mut random);
                (format!("{kind:?} {what}"), files)
            });
            report(&format!("{}, {kind:?}", original.name), &try_all(&original, false, cases));
        }
    }
}

#[test]
fn a_log_that_was_damaged() {
    let mut random = Random::new(Random::seed_of_this_run());
    let original = Original::killed();
    let len = original.files.log.len();
    let frames = (0..len).step_by((PAGE + 24) * times(6, 1));
    let cuts = frames.flat_map(|frame| [frame, frame + 32, frame + 3_000]).map(|at| {
        let mut files = original.files.clone();
        files.log.truncate(at);
        (format!("log cut at {at}"), files)
    });
    let bits = (0..times(60, 18_000)).map(|_| {
        let mut files = original.files.clone();
        // As often in a header as in what follows it.
        let frame = random.below((len / (PAGE + 24)) as u64 + 1) as usize * (PAGE + 24);
        let within = if random.one_in(2) { 56 } else { PAGE + 24 };
        let at = (frame + random.below(within as u64) as usize).min(len - 1);
        files.log[at] ^= 1 << random.below(8);
        (format!("a bit of the log at {at}"), files)
    });
    report("the log", &try_all(&original, true, cuts.chain(bits)));
}

#[test]
fn a_log_of_another_store_or_of_an_earlier_day() {
    let (closed, killed, other) = (Original::closed(), Original::killed(), Original::other());
    let mut wrong = BTreeMap::new();
    let pairs = [
        ("closed, log of another store", &closed, &other.files.log),
        ("killed, log of another store", &killed, &other.files.log),
        ("closed, an older log", &closed, &closed.older_log),
        ("killed, an older log", &killed, &killed.older_log),
        ("another, log of this", &other, &killed.files.log),
    ];
    for (name, original, log) in pairs {
        assert!(!log.is_empty(), "{name}");
        let files = Files { log: log.clone(), ..original.files.clone() };
        let tally = try_all(original, false, [(name.to_owned(), files)]);
        println!("{name}: {} right, {} told", tally.right, tally.told);
        if !tally.wrong.is_empty() {
            wrong.insert(name, tally.wrong);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_shared_memory_file_of_garbage() {
    let mut random = Random::new(Random::seed_of_this_run());
    for original in both() {
        let cases = (0..times(12, 1_000)).map(|number| {
            let len = [0, 1, 136, 32_768, 65_536, 100_000][number % 6];
            let shared = (0..len).map(|_| random.next() as u8).collect();
            (format!("{len} bytes"), Files { shared, ..original.files.clone() })
        });
        report(&format!("{}, shared memory", original.name), &try_all(&original, false, cases));
    }
}
