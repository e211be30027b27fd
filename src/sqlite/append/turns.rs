//! Fairness between processes: no process holds SQLite's write lock all the time.

use std::time::{Duration, Instant};

/// Limits how long this process keeps taking SQLite's write lock.
///
/// The lock has no queue: waiting processes poll it. So a process that has used it for a while
/// leaves it free for longer than the polling interval of the others.
#[derive(Debug)]
pub struct Turns {
    /// The time since which groups have run back to back.
    busy_since: Instant,
    /// When this process last released the lock.
    last_end: Instant,
    /// When events of another process were last seen.
    others_seen: Option<Instant>,
}

/// How long a process with work keeps the lock if no other process writes.
const TURN_ALONE: Duration = Duration::from_millis(100);
/// How long a process with work keeps the lock if other processes write too.
const TURN_SHARED: Duration = Duration::from_millis(4);
/// How long the process then leaves the lock free. This is above the interval at which others poll.
const PAUSE: Duration = Duration::from_millis(1);
/// How long after their last event other processes count as still writing.
const OTHERS_LINGER: Duration = Duration::from_secs(1);

impl Turns {
    /// Creates the state of a process that has not written yet.
    pub fn new() -> Self {
        let now = Instant::now();
        Turns { busy_since: now, last_end: now, others_seen: None }
    }

    /// Notes that a group starts, before it acquires the lock. Sleeps if this process's turn is
    /// over.
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

    /// Notes that events of another process were seen.
    pub fn note_others(&mut self) {
        self.others_seen = Some(Instant::now());
    }

    /// Notes that the lock was released.
    pub fn end(&mut self) {
        self.last_end = Instant::now();
    }
}
