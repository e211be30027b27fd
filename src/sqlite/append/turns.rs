//! Fairness between processes: nobody holds SQLite's write lock all the time.

use std::time::{Duration, Instant};

/// Keeps one process from holding SQLite's lock all the time.
///
/// The lock has no queue: who waits for it looks now and then. Who has used it for a while
/// therefore leaves it alone for longer than the others' looks are apart.
#[derive(Debug)]
pub struct Turns {
    /// Since when groups have run back to back.
    busy_since: Instant,
    last_end: Instant,
    /// When events of another process were last seen.
    others_seen: Option<Instant>,
}

/// How long a process with work keeps the lock, alone and where others write too.
const TURN_ALONE: Duration = Duration::from_millis(100);
const TURN_SHARED: Duration = Duration::from_millis(4);
/// How long it leaves the lock alone then: above the pollers' interval.
const PAUSE: Duration = Duration::from_millis(1);
/// How long after their last event others are taken to be still writing.
const OTHERS_LINGER: Duration = Duration::from_secs(1);

impl Turns {
    /// Of who has not written yet.
    pub fn new() -> Self {
        let now = Instant::now();
        Turns { busy_since: now, last_end: now, others_seen: None }
    }

    /// Called before the lock is asked for.
    pub fn begin(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.last_end) >= PAUSE {
            self.busy_since = now;
        }
        let shared = self.others_seen.is_some_and(|at| now.duration_since(at) < OTHERS_LINGER);
        let turn = if shared { TURN_SHARED } else { TURN_ALONE };
        if now.duration_since(self.busy_since) >= turn {
            std::thread::sleep(PAUSE);
            self.busy_since = Instant::now();
        }
    }

    /// Events of another process were seen.
    pub fn note_others(&mut self) {
        self.others_seen = Some(Instant::now());
    }

    /// Called when the lock is free again.
    pub fn end(&mut self) {
        self.last_end = Instant::now();
    }
}
