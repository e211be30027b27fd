//! What the parts of a SQLite store share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::{Duration, Instant};

use super::durability::Durability;
use super::segments::SegmentsCache;
use super::view::Tail;
use super::visible::OwnEvents;
use crate::call::{Call, Patience};
use crate::domain::Event;
use crate::error::Result;
use crate::watch::Watch;

/// The state of an open store.
#[derive(Debug)]
pub struct Shared {
    /// The recent events.
    pub tail: Tail,
    /// The list of segments, as last seen.
    pub segments: SegmentsCache,
    /// Up to where events are durable.
    pub durability: Durability,
    /// Who waits for events, and whether the store is open.
    pub watch: Watch,
    /// Which of the newest events are this process's own.
    pub own: OwnEvents,
    /// Held by every read transaction; held exclusively while the log restarts.
    pub gate: RwLock<()>,
    /// Held by who writes a segment; taken before the writer's core.
    pub segmenting: Mutex<()>,
    /// Wakes maintenance.
    pub chores: Chores,
    /// How long a call waits for a lock by default; `None`: without end.
    pub busy_timeout: Option<Duration>,
    /// Held by the one waiter that looks for the events of other processes for all.
    pub poller: Mutex<()>,
    /// About how many pages were written to the log since the last checkpoint.
    pub pages_written: AtomicU64,
    /// When the last checkpoint was.
    pub checkpointed: Mutex<Instant>,
    /// Whether the log is as long as it may become, held by a reader outside of this process.
    pub log_held: AtomicBool,
}

impl Shared {
    /// Before anything was read: the tail begins after `tail`, and what is above `own` is others'.
    pub fn new(
        durability: Durability,
        tail: i64,
        own: i64,
        busy_timeout: Option<Duration>,
    ) -> Self {
        let shared = Shared {
            tail: Tail::new(tail),
            segments: SegmentsCache::default(),
            watch: Watch::new(durability.durable()),
            durability,
            own: OwnEvents::default(),
            gate: RwLock::new(()),
            segmenting: Mutex::new(()),
            chores: Chores::default(),
            busy_timeout,
            poller: Mutex::new(()),
            pages_written: AtomicU64::new(0),
            checkpointed: Mutex::new(Instant::now()),
            log_held: AtomicBool::new(false),
        };
        shared.own.begin(own);
        shared
    }

    /// Waits for the read transactions under way and holds further ones back.
    pub fn close_gate(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a read transaction begin.
    pub fn pass_gate(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maintenance found so many pages in the log, and so many that it could not bring into the
    /// database because somebody outside of this process still reads them.
    pub fn note_log(&self, pages: i64, held: i64) {
        self.log_held.store(pages >= MAX_LOG_PAGES && held > 0, Relaxed);
    }

    /// The patience of a call that was given nothing else.
    pub fn patience(&self) -> Patience {
        Call::default().start(self.busy_timeout)
    }

    /// Makes room in the log ahead of a transaction, which has SQLite's write lock by now.
    pub fn make_room(&self) -> Result<()> {
        let pages = self.pages_written.load(Relaxed);
        match self.durability.log() {
            // What was counted since the last checkpoint is about what the log holds.
            Some(log) => log.make_room(pages * 4_120),
            None => Ok(()),
        }
    }

    /// Counts what a commit has added to the log and to the tail.
    pub fn note_commit<'a>(&self, stored: impl Iterator<Item = &'a Event>) {
        let bytes: usize = stored.map(Event::footprint).sum();
        let pages = bytes as u64 / 4096 + 2;
        let written = self.pages_written.fetch_add(pages, Relaxed) + pages;
        if self.is_checkpoint_due(written) || self.is_tail_long() {
            self.chores.wake();
        }
    }

    /// Whether so many pages in the log are worth a checkpoint. A short log is overwritten sooner,
    /// and what overwrites is synced faster; but a checkpoint has syncs of its own.
    pub fn is_checkpoint_due(&self, pages: u64) -> bool {
        let since = || self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        pages >= CHECKPOINT_PAGES || pages >= CHECKPOINT_PAGES / 4 && since() >= CHECKPOINT_PAUSE
    }

    /// How many events and bytes the segments do not cover yet.
    fn uncovered(&self) -> (i64, usize) {
        let mark = self.segments.newest().mark();
        self.tail.read(|tail| {
            let uncovered = tail.head() - mark;
            let share = uncovered as f64 / (tail.len().max(1) as f64);
            (uncovered, (tail.footprint() as f64 * share.min(1.0)) as usize)
        })
    }

    /// Whether enough events wait for a segment that it is worth writing.
    pub fn is_tail_long(&self) -> bool {
        let (events, bytes) = self.uncovered();
        events >= SEGMENT_EVENTS || bytes >= SEGMENT_BYTES
    }

    /// Whether so many wait that appends have to help.
    pub fn is_tail_too_long(&self) -> bool {
        let (events, bytes) = self.uncovered();
        events >= 2 * SEGMENT_EVENTS || bytes >= 2 * SEGMENT_BYTES
    }
}

/// Events, and bytes, that make a segment worth writing. (The tests of the crate reach with few
/// events what takes many outside of them.)
pub const SEGMENT_EVENTS: i64 = if cfg!(any(test, feature = "testing")) { 32 } else { 8_192 };
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// Pages in the log that make a checkpoint worth doing.
pub const CHECKPOINT_PAGES: u64 = if cfg!(any(test, feature = "testing")) { 64 } else { 4_096 };
/// Between two checkpoints of a log that has a quarter of that.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(250);
/// Pages in the log, 1 GiB of them, past which appends wait for the reader that holds it.
pub const MAX_LOG_PAGES: i64 = if cfg!(test) { 1_024 } else { 262_144 };

/// What maintenance sleeps on.
#[derive(Debug, Default)]
pub struct Chores {
    state: Mutex<ChoresState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ChoresState {
    due: bool,
    ended: bool,
}

/// Why maintenance woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waking {
    /// There is work.
    Due,
    /// Nothing happened for as long as was asked.
    Idle,
    /// The store closes.
    Ended,
}

impl Chores {
    /// There is work.
    pub fn wake(&self) {
        let mut state = self.state();
        if !state.due {
            state.due = true;
            self.changed.notify_all();
        }
    }

    /// The store closes.
    pub fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Whether the store closes.
    pub fn ended(&self) -> bool {
        self.state().ended
    }

    /// Sleeps until there is work, or for `idle`.
    pub fn sleep(&self, idle: Duration) -> Waking {
        let state = self.state();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, idle, |state| !state.due && !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            Waking::Ended
        } else if std::mem::take(&mut state.due) {
            Waking::Due
        } else {
            Waking::Idle
        }
    }

    fn state(&self) -> MutexGuard<'_, ChoresState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
