//! Runs the scenes in many interleavings, then with each seeded bug until it is detected.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::failpoints::{SeededBug, seed};
use crate::play::{Scene, Tally, play};
use crate::turns;

const CALM: Scene = Scene {
    name: "calm",
    hurried: false,
    commits_fail: false,
    syncs_fail: false,
    others: false,
    panics: false,
    large: false,
    turns: false,
};

const SCENES: [Scene; 8] = [
    CALM,
    Scene { name: "large groups", large: true, ..CALM },
    Scene { name: "in a hurry", hurried: true, large: true, ..CALM },
    Scene { name: "commits fail", commits_fail: true, others: true, ..CALM },
    Scene { name: "syncs fail", syncs_fail: true, hurried: true, large: true, ..CALM },
    Scene { name: "another process", others: true, hurried: true, syncs_fail: true, ..CALM },
    Scene { name: "panics", panics: true, hurried: true, ..CALM },
    Scene { name: "turns", turns: true, ..CALM },
];

const BUGS: [SeededBug; 14] = [
    SeededBug::KeepLead,
    SeededBug::ForgetLead,
    SeededBug::TellTooEarly,
    SeededBug::LeaveForAnother,
    SeededBug::AnswerOneOfAll,
    SeededBug::PublishTooEarly,
    SeededBug::AnswerBeforeSync,
    SeededBug::CoverTooMuch,
    SeededBug::WakeOneOfAll,
    SeededBug::BelieveNextSync,
    SeededBug::WakeWithoutLock,
    SeededBug::ShowUnsynced,
    SeededBug::KeepLostEvents,
    SeededBug::DropTurn,
];

/// Far more steps than an execution takes, unless a thread polls for ever.
const MAX_STEPS: usize = 50_000;

/// Runs the scene in the interleavings of `scheduler`. Returns their number, and the first error.
fn explore(
    scene: Scene,
    bug: Option<SeededBug>,
    tally: &Arc<Tally>,
    scheduler: impl Scheduler + Send + 'static,
) -> (usize, Result<(), String>) {
    let played = Arc::new(AtomicUsize::new(0));
    let (count, tally) = (Arc::clone(&played), Arc::clone(tally));
    // On a thread of its own, since the checker keeps state of an execution that ended early.
    let outcome = std::thread::spawn(move || {
        seed(bug);
        let mut config = Config::new();
        config.silence_warnings = true;
        config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
        if bug.is_some() {
            config.failure_persistence = FailurePersistence::None;
        }
        Runner::new(scheduler, config).run(move || {
            count.fetch_add(1, Relaxed);
            if scene.turns { turns::play() } else { play(scene, &tally) }
        });
    })
    .join();
    let outcome = outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        match text {
            text if text.starts_with("deadlock") => "a thread sleeps for ever".to_owned(),
            text if text.starts_with("exceeded") => "a thread polls for ever".to_owned(),
            text => text.lines().collect::<Vec<_>>().join(" "),
        }
    });
    (played.load(Relaxed), outcome)
}

/// Runs the scene with two schedulers. One chooses a random thread at each step. The other always
/// chooses the first runnable thread of a list that changes three times.
fn explore_both(
    scene: Scene,
    bug: Option<SeededBug>,
    tally: &Arc<Tally>,
    executions: usize,
    chance: u64,
) -> (usize, Result<(), String>) {
    let half = executions.div_ceil(2);
    let any = RandomScheduler::new_from_seed(chance, half);
    let (played, outcome) = explore(scene, bug, tally, any);
    if outcome.is_err() {
        return (played, outcome);
    }
    let (more, outcome) = explore(scene, bug, tally, PctScheduler::new_from_seed(chance, 4, half));
    (played + more, outcome)
}

/// Returns whether the code without a seeded bug passes, in the named scene or in all.
fn passes(executions: usize, chance: u64, only: Option<&str>) -> bool {
    let tally = Arc::default();
    let mut total = 0;
    for scene in SCENES {
        if only.is_some_and(|only| only != scene.name) {
            continue;
        }
        let begin = Instant::now();
        let (played, outcome) = explore_both(scene, None, &tally, executions, chance);
        total += played;
        println!("{}: {played} executions in {:.1?}", scene.name, begin.elapsed());
        if let Err(message) = outcome {
            println!("{message} (seed {chance})");
            return false;
        }
    }
    let mut all_happened = total > 0;
    for (name, count) in tally.counts() {
        println!("  {name}: {count}");
        all_happened &= count > 0 || only.is_some();
    }
    println!("{total} executions, seed {chance}: {}", if all_happened { "ok" } else { "too few" });
    all_happened
}

/// Returns whether a scene detects the seeded bug.
fn is_detected(bug: SeededBug, executions: usize, chance: u64) -> bool {
    for scene in SCENES {
        let (played, outcome) = explore_both(scene, Some(bug), &Arc::default(), executions, chance);
        if let Err(message) = outcome {
            println!("{bug:?}: {}, after {played}: {message:.100}", scene.name);
            return true;
        }
    }
    println!("{bug:?}: not detected");
    false
}

pub fn main() {
    let is_long = std::env::var_os("DCB_TEST_LONG").is_some();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>().expect("a number"));
    let executions = number(0).unwrap_or(if is_long { 200_000 } else { 4_000 }) as usize;
    let chance = number(1).unwrap_or(if is_long { now } else { 1 });
    let only = arguments.get(2).map(String::as_str);
    if !passes(executions, chance, only) {
        std::process::exit(1);
    }
    if only.is_some() {
        return;
    }
    // A detected bug panics, which should print nothing from here on.
    std::panic::set_hook(Box::new(|_| {}));
    let missed = BUGS.iter().filter(|bug| !is_detected(**bug, executions, chance)).count();
    if missed > 0 {
        std::process::exit(1);
    }
}
