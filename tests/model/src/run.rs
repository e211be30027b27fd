//! Plays the scenes in many orders, then with each flaw until it is noticed.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::failpoints::{SeededBug, seed};
use crate::play::{Scene, Tally, play};

const CALM: Scene = Scene {
    name: "calm",
    hurried: false,
    commits_fail: false,
    syncs_fail: false,
    others: false,
    panics: false,
    large: false,
};

const SCENES: [Scene; 7] = [
    CALM,
    Scene { name: "large groups", large: true, ..CALM },
    Scene { name: "in a hurry", hurried: true, large: true, ..CALM },
    Scene { name: "commits fail", commits_fail: true, others: true, ..CALM },
    Scene { name: "syncs fail", syncs_fail: true, hurried: true, large: true, ..CALM },
    Scene { name: "another process", others: true, hurried: true, syncs_fail: true, ..CALM },
    Scene { name: "panics", panics: true, hurried: true, ..CALM },
];

const FLAWS: [SeededBug; 13] = [
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
];

/// Far more than an execution takes in which nobody goes round for ever.
const MAX_STEPS: usize = 50_000;

/// Plays the scene in the orders of `scheduler`; how many these were, and what was noticed.
fn explore(
    scene: Scene,
    flaw: Option<SeededBug>,
    tally: &Arc<Tally>,
    scheduler: impl Scheduler + Send + 'static,
) -> (usize, Result<(), String>) {
    let played = Arc::new(AtomicUsize::new(0));
    let (count, tally) = (Arc::clone(&played), Arc::clone(tally));
    // In a thread of its own: what the checker keeps of an execution that ended early stays there.
    let outcome = std::thread::spawn(move || {
        seed(flaw);
        let mut config = Config::new();
        config.silence_warnings = true;
        config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
        if flaw.is_some() {
            config.failure_persistence = FailurePersistence::None;
        }
        Runner::new(scheduler, config).run(move || {
            count.fetch_add(1, Relaxed);
            play(scene, &tally);
        });
    })
    .join();
    let outcome = outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        match text {
            text if text.starts_with("deadlock") => "somebody sleeps for ever".to_owned(),
            text if text.starts_with("exceeded") => "somebody waits for ever".to_owned(),
            text => text.lines().collect::<Vec<_>>().join(" "),
        }
    });
    (played.load(Relaxed), outcome)
}

/// Two ways of choosing orders: any thread at each step; and always the first of a list of the
/// threads, which is changed three times.
fn explore_both(
    scene: Scene,
    flaw: Option<SeededBug>,
    tally: &Arc<Tally>,
    executions: usize,
    chance: u64,
) -> (usize, Result<(), String>) {
    let half = executions.div_ceil(2);
    let any = RandomScheduler::new_from_seed(chance, half);
    let (played, outcome) = explore(scene, flaw, tally, any);
    if outcome.is_err() {
        return (played, outcome);
    }
    let (more, outcome) = explore(scene, flaw, tally, PctScheduler::new_from_seed(chance, 4, half));
    (played + more, outcome)
}

/// Whether the code as it is passes, in the scene of that name or in all.
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

/// Whether that would have been noticed.
fn is_noticed(flaw: SeededBug, executions: usize, chance: u64) -> bool {
    for scene in SCENES {
        let (played, outcome) =
            explore_both(scene, Some(flaw), &Arc::default(), executions, chance);
        if let Err(message) = outcome {
            println!("{flaw:?}: {}, after {played}: {message:.100}", scene.name);
            return true;
        }
    }
    println!("{flaw:?}: not noticed");
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
    // What panics prints nothing from here on.
    std::panic::set_hook(Box::new(|_| {}));
    let missed = FLAWS.iter().filter(|flaw| !is_noticed(**flaw, executions, chance)).count();
    if missed > 0 {
        std::process::exit(1);
    }
}
