//! What the parts of a SQLite store share.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::durability::{Durability, Log};
use crate::commit::head_watch::HeadWatch;
use crate::commit::visibility::OwnCommits;
use crate::domain::Event;
use crate::error::Result;
use crate::sqlite::connection::transaction::{rollback, try_begin_immediate, wait_for_lock};
use crate::sqlite::index::segment_list::SegmentsCache;
use crate::sqlite::index::tail::Tail;
use crate::sqlite::signal::MaintenanceSignal;
use crate::sqlite::wal::wal_file::Wal;
use crate::sqlite::wal::wal_index::used_bytes;

/// The state of an open store.
#[derive(Debug)]
pub struct StoreState {
    /// The recent events.
    pub tail: Tail,
    /// The list of segments, as last seen.
    pub segments: SegmentsCache,
    /// What has to be synced; `None`: nothing.
    pub wal: Option<Arc<Wal>>,
    /// Up to where events are durable.
    pub durability: Durability,
    /// Who waits for events, and whether the store is open.
    pub watch: HeadWatch,
    /// Which of the newest events are this process's own.
    pub own: OwnCommits,
    /// Held by every read transaction; held exclusively while the log restarts.
    pub gate: RwLock<()>,
    /// Held by who writes a segment; taken before the writer's core.
    pub segmenting: Mutex<()>,
    /// Wakes maintenance.
    pub maintenance_signal: MaintenanceSignal,
    /// How long a call waits for a lock by default; `None`: without end.
    pub busy_timeout: Option<Duration>,
    /// Held by the one waiter that looks for the events of other processes for all.
    pub poller: Mutex<()>,
    /// About how many pages were written to the log since the last checkpoint.
    pub pages_written: AtomicU64,
    /// When the last checkpoint was.
    pub checkpointed: Mutex<Instant>,
    /// Whether the WAL is as long as it may become and could not be reset: readers outside of this
    /// process use it.
    pub log_held: AtomicBool,
}

impl StoreState {
    /// Before anything was read: everything up to `durable` is so, the tail begins after `tail`, and
    /// what is above `own` is others'.
    pub fn new(
        wal: Option<Wal>,
        durable: i64,
        tail: i64,
        own: i64,
        busy_timeout: Option<Duration>,
    ) -> Self {
        let wal = wal.map(Arc::new);
        let log = wal.clone().map(|wal| Box::new(wal) as Box<dyn Log>);
        let durability = Durability::new(log, durable);
        let shared = StoreState {
            wal,
            tail: Tail::new(tail),
            segments: SegmentsCache::default(),
            watch: HeadWatch::new(durability.durable()),
            durability,
            own: OwnCommits::default(),
            gate: RwLock::new(()),
            segmenting: Mutex::new(()),
            maintenance_signal: MaintenanceSignal::default(),
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

    /// Lets a read transaction begin; `busy` or `cancelled` where it was held back for too long.
    pub fn pass_gate(&self, deadline: &Deadline) -> Result<RwLockReadGuard<'_, ()>> {
        loop {
            match self.gate.try_read() {
                Ok(passed) => return Ok(passed),
                Err(TryLockError::Poisoned(passed)) => return Ok(passed.into_inner()),
                Err(TryLockError::WouldBlock) => wait_for_lock(deadline)?,
            }
        }
    }

    /// Notes that a checkpoint found so many pages in the WAL, and whether the next commit resets
    /// the WAL.
    ///
    /// It is not enough that all pages were checkpointed: as long as a reader uses the WAL, the next
    /// commit appends to it, and readers that overlap would let it grow without bound.
    pub fn note_log(&self, pages: i64, is_reset: bool) {
        self.log_held.store(pages >= MAX_LOG_PAGES && !is_reset, Relaxed);
    }

    /// The patience of a call that was given nothing else.
    pub fn deadline(&self) -> Deadline {
        CallOptions::default().start(self.busy_timeout)
    }

    /// Makes room in the log ahead of a transaction, which has SQLite's write lock by now.
    pub fn make_room(&self) -> Result<()> {
        let pages = self.pages_written.load(Relaxed);
        match &self.wal {
            // What was counted since the last checkpoint is about what the log holds.
            Some(log) => log.make_room(pages * 4_120),
            None => Ok(()),
        }
    }

    /// Gives the room in the WAL back to a disk that is short of space. Returns whether there was
    /// any. Waits for no lock: whoever has it needs the room, or gives it back in turn.
    pub fn give_back_room(&self, connection: &Connection) -> Result<bool> {
        let Some(log) = self.wal.as_deref() else { return Ok(false) };
        try_begin_immediate(connection)?;
        let given = match used_bytes(connection) {
            Some(used) => log.give_back_room(used),
            None => Ok(false),
        };
        rollback(connection);
        given
    }

    /// Counts what a commit has added to the log and to the tail.
    pub fn note_commit<'a>(&self, stored: impl Iterator<Item = &'a Event>) {
        let bytes: usize = stored.map(Event::footprint).sum();
        let pages = bytes as u64 / 4096 + 2;
        let written = self.pages_written.fetch_add(pages, Relaxed) + pages;
        if self.is_checkpoint_due(written) || self.is_tail_long() {
            self.maintenance_signal.wake();
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
        let indexed = self.segments.newest().indexed();
        self.tail.read(|tail| {
            let uncovered = tail.head() - indexed;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventBuilder, EventType};
    use crate::sqlite::signal::WakeReason;

    /// Nothing of it is on a disk; so many events have no segment.
    fn shared(events: i64) -> StoreState {
        StoreState::new(None, 0, events, events, None)
    }

    fn set_checkpointed(shared: &StoreState, when: Option<Instant>) {
        *shared.checkpointed.lock().unwrap() = when.unwrap();
    }

    #[test]
    fn a_segment_is_due_from_so_many_events_on_and_appends_help_from_twice_as_many_on() {
        let lengths = [SEGMENT_EVENTS - 1, SEGMENT_EVENTS, 2 * SEGMENT_EVENTS - 1];
        for events in lengths {
            assert_eq!(shared(events).is_tail_long(), events >= SEGMENT_EVENTS);
            assert!(!shared(events).is_tail_too_long());
        }
        let longer = shared(2 * SEGMENT_EVENTS);
        assert!(longer.is_tail_long() && longer.is_tail_too_long());
    }

    #[test]
    fn a_checkpoint_is_due_from_so_many_pages_on_or_a_quarter_of_them_after_a_while() {
        let shared = shared(0);
        let due = |pages: [u64; 4]| pages.map(|pages| shared.is_checkpoint_due(pages));
        let quarter = CHECKPOINT_PAGES / 4;
        let pages = [quarter - 1, quarter, CHECKPOINT_PAGES - 1, CHECKPOINT_PAGES];
        set_checkpointed(&shared, Instant::now().checked_add(CHECKPOINT_PAUSE * 1_000));
        assert_eq!(due(pages), [false, false, false, true]);
        set_checkpointed(&shared, Instant::now().checked_sub(CHECKPOINT_PAUSE));
        assert_eq!(due(pages), [false, true, true, true]);
    }

    #[test]
    fn the_log_is_held_where_it_is_long_and_somebody_reads_it() {
        let shared = shared(0);
        for (pages, is_reset, is_held) in [
            (MAX_LOG_PAGES, false, true),
            (MAX_LOG_PAGES, true, false),
            (MAX_LOG_PAGES + 1, false, true),
            (MAX_LOG_PAGES - 1, false, false),
        ] {
            shared.note_log(pages, is_reset);
            assert_eq!(shared.log_held.load(Relaxed), is_held, "{pages}, {is_reset}");
        }
    }

    #[test]
    fn commits_are_counted_in_pages_and_wake_who_checkpoints() {
        let shared = shared(0);
        set_checkpointed(&shared, Instant::now().checked_add(CHECKPOINT_PAUSE * 1_000));
        let event = EventBuilder::new(EventType::new("A").unwrap()).build();
        let mut pages = 0;
        for count in [0, 1, 300] {
            shared.note_commit(std::iter::repeat_n(&event, count));
            pages += (count * event.footprint()) as u64 / 4096 + 2;
            assert_eq!(shared.pages_written.load(Relaxed), pages);
        }
        for (pages, waking) in
            [(CHECKPOINT_PAGES - 3, WakeReason::Idle), (CHECKPOINT_PAGES - 2, WakeReason::Due)]
        {
            shared.pages_written.store(pages, Relaxed);
            shared.maintenance_signal.sleep_for(Duration::ZERO);
            shared.note_commit([].into_iter());
            assert_eq!(shared.maintenance_signal.sleep_for(Duration::ZERO), waking);
        }
    }

    #[test]
    fn a_commit_wakes_who_writes_segments() {
        for (events, waking) in
            [(SEGMENT_EVENTS - 1, WakeReason::Idle), (SEGMENT_EVENTS, WakeReason::Due)]
        {
            let shared = shared(events);
            shared.note_commit([].into_iter());
            assert_eq!(shared.maintenance_signal.sleep_for(Duration::ZERO), waking);
        }
    }
}
