//! Killing processes while they append.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dcb::failpoints::SeededBug;
use tempfile::TempDir;

use crate::check::{Known, check, check_next};
use crate::random::Random;
use crate::roles::{FILE_CALL, Part, Witness, open};
use crate::times;
use crate::work::Append;

const CRASH_POINTS: [&str; 8] = [
    "before commit",
    "after commit",
    "after sync",
    "in a segment",
    "between slices",
    "in a checkpoint",
    FILE_CALL,
    FILE_CALL,
];
const PROCESSES: u64 = 3;
const THREADS: u64 = 3;

/// One file, and the processes that write to it and are killed again and again.
struct Scene {
    folder: TempDir,
    /// The folder of the writers' records, outside of the store's folder.
    witness: TempDir,
    random: Random,
    rounds: u64,
    flaw: Option<SeededBug>,
}

impl Scene {
    fn new(seed: u64, flaw: Option<SeededBug>) -> Scene {
        Scene {
            folder: TempDir::new().unwrap(),
            witness: TempDir::new().unwrap(),
            random: Random::new(seed),
            rounds: 0,
            flaw,
        }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("a store.db")
    }

    fn next_writer(&self) -> u64 {
        self.rounds * (PROCESSES + 1) * THREADS
    }

    /// Starts writers, kills each at a random time or at a crash point, and checks the store.
    /// Returns how many were killed.
    fn round(&mut self) -> Result<u64, String> {
        let first = self.rounds * 1_000;
        let mut running = Vec::new();
        for process in 0..PROCESSES {
            let point = CRASH_POINTS[self.random.below(CRASH_POINTS.len() as u64) as usize];
            let nth = 1 + self.random.below(if point == FILE_CALL { 400 } else { 12 });
            let part = Part {
                role: "writer".into(),
                store: self.store(),
                witness: self.witness.path().to_owned(),
                writer: self.next_writer() + process * THREADS,
                threads: THREADS,
                first,
                end_at: self.random.one_in(2).then(|| (point.to_owned(), nth as u32)),
                flaw: self.flaw,
            };
            let end = Instant::now() + Duration::from_millis(20 + self.random.below(180));
            running.push((end, part.start()));
        }
        running.sort_by_key(|(end, _)| *end);
        for (end, child) in &mut running {
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            // A process is killed by the test, or has aborted at its crash point.
            if status.code().is_some_and(|code| code != 0) {
                return Err(format!("a writer ended with {status}"));
            }
        }
        self.check()?;
        Ok(PROCESSES)
    }

    fn check(&mut self) -> Result<(), String> {
        let known = Known::read(self.witness.path());
        let store = open(&self.store()).map_err(|failure| format!("opening: {failure}"))?;
        check(&store, &known, 40, &mut self.random)?;
        // The next append is recorded too, for the following rounds.
        let writer = self.next_writer() + PROCESSES * THREADS;
        let mut appends = (0..).map(|number| Append::new(writer, number));
        let next = appends.find(|append| append.subject.is_none()).expect("there are many");
        let path = Witness::path(self.witness.path(), writer);
        std::fs::write(path, format!("sends {}\n", next.number)).unwrap();
        check_next(&store, &next)?;
        self.rounds += 1;
        Ok(())
    }
}

/// Kills this many processes. An error has the number of kills so far, and the first thing that is
/// wrong.
pub fn kill(kills: u64, flaw: Option<SeededBug>) -> Result<u64, (u64, String)> {
    let mut seeds = Random::new(Random::seed_of_this_run());
    let mut done = 0;
    while done < kills {
        let seed = seeds.next();
        let mut scene = Scene::new(seed, flaw);
        while done < kills && scene.rounds < 12 {
            match scene.round() {
                Ok(killed) => done += killed,
                Err(wrong) => {
                    let mut text = format!("seed {seed}, round {}: {wrong}", scene.rounds);
                    if flaw.is_none() {
                        let (store, witness) = (scene.folder.keep(), scene.witness.keep());
                        text += &format!(" (kept: {}, {})", store.display(), witness.display());
                    }
                    return Err((done, text));
                }
            }
        }
    }
    Ok(done)
}

#[test]
fn nothing_acknowledged_is_lost_to_kills() {
    let done = kill(times(300, 10_000), None);
    println!("{done:?} kills");
    assert!(done.is_ok(), "{done:?}");
}

/// A few kills, and the checks after them, reveal these bugs.
#[test]
fn kills_reveal_bugs_of_the_index_and_the_conditions() {
    for flaw in [
        SeededBug::SkipCatchUp,
        SeededBug::ForgetGroup,
        SeededBug::MarkTooEarly,
        SeededBug::LoseLastBlock,
    ] {
        let (kills, wrong) = kill(300, Some(flaw)).expect_err("the bug was not noticed");
        println!("{flaw:?}: noticed after {kills} kills: {wrong}");
    }
}
