//! Damaged files. Whatever happens to the bytes of a store, opening and querying it returns either
//! the answer of the undamaged store, or a status that reports the damage. It never crashes, hangs,
//! or returns a wrong answer.
//!
//! `DCB_TEST_LONG=1` runs many times as many cases.

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
use scrutiny::{Outcome, compare};

/// Returns the number of cases for a short run or a long one.
fn times(short: usize, long: usize) -> usize {
    if std::env::var_os("DCB_TEST_LONG").is_some() { long } else { short }
}

/// The outcomes of all cases of one kind.
#[derive(Debug, Default)]
struct Tally {
    right: usize,
    reported: usize,
    wrong: Vec<String>,
}

/// Runs the cases one at a time, so that only one is in memory. With `may_lose`, the newest events
/// may be missing: the WAL is damaged, and its end may be lost as in a crash.
fn try_all(
    original: &Original,
    may_lose: bool,
    cases: impl IntoIterator<Item = (String, Files)>,
) -> Tally {
    let mut random = Random::new(Random::seed_of_this_run());
    let mut tally = Tally::default();
    for (name, files) in cases {
        match compare(&name, original, &files, may_lose, &mut random) {
            Outcome::Right => tally.right += 1,
            Outcome::Reported => tally.reported += 1,
            Outcome::Wrong(what) => tally.wrong.push(format!("{name}: {what}")),
        }
    }
    tally
}

/// Prints the outcomes, and fails if one is wrong.
fn report(what: &str, tally: &Tally) {
    println!(
        "{what}: {} right, {} reported, {} wrong",
        tally.right,
        tally.reported,
        tally.wrong.len()
    );
    assert!(tally.wrong.is_empty(), "{what}: {:#?}", tally.wrong);
    assert!(tally.right + tally.reported > 0, "{what}: no case");
}

/// Returns the undamaged files of a closed store and of a killed one.
fn both() -> [Original; 2] {
    [Original::closed(), Original::killed()]
}

#[test]
fn an_undamaged_file_returns_right_answers() {
    for original in both() {
        let tally = try_all(&original, false, [("whole".to_owned(), original.files.clone())]);
        assert_eq!((tally.right, tally.wrong.len()), (1, 0), "{tally:?}");
    }
}

#[test]
fn a_truncated_file_is_reported_or_right() {
    for original in both() {
        let len = original.files.database.len();
        // (Opening an empty file without a WAL creates a store.)
        let first = usize::from(original.files.wal.is_empty());
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
fn changed_pages_and_bits_are_reported_or_right() {
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
fn a_damaged_wal_is_reported_or_right() {
    let mut random = Random::new(Random::seed_of_this_run());
    let original = Original::killed();
    let len = original.files.wal.len();
    let frames = (0..len).step_by((PAGE + 24) * times(6, 1));
    let cuts = frames.flat_map(|frame| [frame, frame + 32, frame + 3_000]).map(|at| {
        let mut files = original.files.clone();
        files.wal.truncate(at);
        (format!("WAL cut at {at}"), files)
    });
    let bits = (0..times(60, 18_000)).map(|_| {
        let mut files = original.files.clone();
        // Damages headers of frames as often as their pages.
        let frame = random.below((len / (PAGE + 24)) as u64 + 1) as usize * (PAGE + 24);
        let within = if random.one_in(2) { 56 } else { PAGE + 24 };
        let at = (frame + random.below(within as u64) as usize).min(len - 1);
        files.wal[at] ^= 1 << random.below(8);
        (format!("a bit of the WAL at {at}"), files)
    });
    report("the WAL", &try_all(&original, true, cuts.chain(bits)));
}

#[test]
fn an_older_or_foreign_wal_gives_no_wrong_answer() {
    let (closed, killed, other) = (Original::closed(), Original::killed(), Original::other());
    let mut wrong = BTreeMap::new();
    let pairs = [
        ("closed, WAL of another store", &closed, &other.files.wal),
        ("killed, WAL of another store", &killed, &other.files.wal),
        ("closed, an older WAL", &closed, &closed.older_wal),
        ("killed, an older WAL", &killed, &killed.older_wal),
        ("another, WAL of this", &other, &killed.files.wal),
    ];
    for (name, original, wal) in pairs {
        assert!(!wal.is_empty(), "{name}");
        let files = Files { wal: wal.clone(), ..original.files.clone() };
        let tally = try_all(original, false, [(name.to_owned(), files)]);
        println!("{name}: {} right, {} reported", tally.right, tally.reported);
        if !tally.wrong.is_empty() {
            wrong.insert(name, tally.wrong);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_shared_memory_file_of_garbage_is_rebuilt() {
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
