//! The state of an open SQLite store, shared by its callers, its writer and its maintenance.
//!
//! Lock order: `poller` (which is only tried), `segmenting`, the writer's connection, `gate`, and
//! then the locks inside the fields, which are held for memory work only.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::commit::durability::{Durability, Log};
use crate::commit::head_watch::HeadWatch;
use crate::commit::visibility::OwnCommits;
use crate::error::Result;
use crate::position::Position;
use crate::sqlite::connection::transaction::{rollback, try_begin_immediate, wait_for_lock};
use crate::sqlite::index::segment_list::SegmentsCache;
use crate::sqlite::index::tail::{TAIL_EVENTS, Tail};
use crate::sqlite::signal::MaintenanceSignal;
use crate::sqlite::snapshot_cache::SnapshotCache;
use crate::sqlite::wal::wal_file::Wal;
use crate::sqlite::wal::wal_index::used_bytes;

/// The state of an open store.
#[derive(Debug)]
pub struct StoreState {
    /// What is known of the events without asking SQLite.
    pub index: IndexState,
    /// Which commits are durable, and which may be seen.
    pub commits: Commits,
    /// The WAL, and what decides when it is checkpointed.
    pub checkpoints: Checkpoints,
    /// The newest known snapshot of a database in WAL mode.
    pub snapshots: Arc<SnapshotCache>,
    /// Wakes the maintenance thread.
    pub maintenance_signal: MaintenanceSignal,
    /// How long a call waits for a lock by default; `None` for no limit.
    pub busy_timeout: Option<Duration>,
    /// Whether events keep the timestamps that they are appended with.
    pub import: bool,
}

impl StoreState {
    /// Creates the state of a store that writes, in which the newest event is at `head`. Events up to
    /// `durable` are durable.
    ///
    /// Returns whether the index is missing or far behind. If it is, the caller writes segments up to
    /// the head before the store answers anything. Otherwise it reads the events above the segments
    /// into the tail.
    pub fn for_writing(
        wal: Option<Wal>,
        durable: Position,
        head: Position,
        segments: SegmentsCache,
        busy_timeout: Option<Duration>,
    ) -> (Self, bool) {
        let indexed = segments.newest().indexed();
        let is_far_behind = head - indexed > TAIL_EVENTS as i64;
        let tail = if is_far_behind { head } else { indexed };
        let mut state = StoreState::new(wal, durable, tail, head, busy_timeout);
        state.index.segments = segments;
        (state, is_far_behind)
    }

    /// Creates the state of a store from which nothing was read yet. Events up to `durable` are
    /// durable, the tail starts after `tail`, and events above `own` are of other processes.
    pub fn new(
        wal: Option<Wal>,
        durable: Position,
        tail: Position,
        own: Position,
        busy_timeout: Option<Duration>,
    ) -> Self {
        let wal = wal.map(Arc::new);
        StoreState {
            index: IndexState::new(tail),
            commits: Commits::new(wal.clone(), durable, own),
            checkpoints: Checkpoints::new(wal),
            snapshots: Arc::default(),
            maintenance_signal: MaintenanceSignal::default(),
            busy_timeout,
            import: false,
        }
    }

    /// Starts the default deadline of a call that was given none.
    pub fn deadline(&self) -> Deadline {
        CallOptions::default().start(self.busy_timeout)
    }

    /// Counts what a commit has added to the WAL and to the tail: events of so many bytes.
    pub fn note_commit(&self, bytes: usize) {
        let written = self.checkpoints.add_pages(bytes as u64 / 4096 + 2);
        let is_tail_long = self.index.is_tail_long();
        self.index.was_tail_long.store(is_tail_long, Relaxed);
        if self.checkpoints.is_due(written) || is_tail_long {
            self.maintenance_signal.wake();
        }
    }
}

/// The index: the recent events in memory, and the segments on disk.
#[derive(Debug)]
pub struct IndexState {
    /// The recent events in memory.
    pub tail: Tail,
    /// The newest list of segments that was read.
    pub segments: SegmentsCache,
    /// Held while a segment is written. Lock order: before the writer's connection.
    segmenting: Mutex<()>,
    /// Whether a segment was worth writing at this process's last commit, so that an append which
    /// sees that none was takes no lock to look.
    was_tail_long: AtomicBool,
}

impl IndexState {
    fn new(tail: Position) -> Self {
        IndexState {
            tail: Tail::new(tail),
            segments: SegmentsCache::default(),
            segmenting: Mutex::new(()),
            was_tail_long: AtomicBool::new(false),
        }
    }

    /// Waits until no other thread writes a segment, and keeps others from it. Fails with `busy` or
    /// `cancelled`.
    pub fn begin_segment(&self, deadline: &Deadline) -> Result<MutexGuard<'_, ()>> {
        loop {
            match self.segmenting.try_lock() {
                Ok(turn) => return Ok(turn),
                Err(TryLockError::Poisoned(turn)) => return Ok(turn.into_inner()),
                Err(TryLockError::WouldBlock) => wait_for_lock(deadline)?,
            }
        }
    }

    /// Returns how many events and bytes the segments do not cover yet.
    fn uncovered(&self) -> (i64, usize) {
        let indexed = self.segments.newest().indexed();
        self.tail.read(|tail| {
            let uncovered = tail.head() - indexed;
            let share = uncovered as f64 / (tail.len().max(1) as f64);
            (uncovered, (tail.footprint() as f64 * share.min(1.0)) as usize)
        })
    }

    /// Returns whether enough events are not in segments that one is worth writing.
    pub fn is_tail_long(&self) -> bool {
        let (events, bytes) = self.uncovered();
        events >= SEGMENT_EVENTS || bytes >= SEGMENT_BYTES
    }

    /// Returns whether an append has to help, after its own commit.
    pub fn needs_help(&self) -> bool {
        self.was_tail_long.load(Relaxed) && self.is_tail_too_long()
    }

    /// Returns whether so many events are not in segments that appends have to help.
    pub fn is_tail_too_long(&self) -> bool {
        let (events, bytes) = self.uncovered();
        events >= 2 * SEGMENT_EVENTS || bytes >= 2 * SEGMENT_BYTES
    }
}

/// Which commits are durable, which a reader may see, and who waits for more.
#[derive(Debug)]
pub struct Commits {
    /// The position up to which events are durable.
    pub durability: Durability,
    /// The visible head, for calls that wait for events, and whether the store is open.
    pub watch: HeadWatch,
    /// Which of the newest events this process committed itself.
    pub own: OwnCommits,
    /// Held by the one waiter that polls for events of other processes, on behalf of all.
    poller: Mutex<()>,
}

impl Commits {
    fn new(wal: Option<Arc<Wal>>, durable: Position, own: Position) -> Self {
        let log = wal.map(|wal| Box::new(wal) as Box<dyn Log>);
        let durability = Durability::new(log, durable);
        let commits = Commits {
            watch: HeadWatch::new(durability.durable()),
            durability,
            own: OwnCommits::default(),
            poller: Mutex::new(()),
        };
        commits.own.begin(own);
        commits
    }

    /// Makes the caller the one waiter that polls, unless another one is.
    pub fn try_poll(&self) -> Option<MutexGuard<'_, ()>> {
        match self.poller.try_lock() {
            Ok(polls) => Some(polls),
            // Another waiter panicked while it polled.
            Err(TryLockError::Poisoned(polls)) => Some(polls.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The WAL, and what decides when it is checkpointed and reset.
#[derive(Debug)]
pub struct Checkpoints {
    /// The WAL that commits are synced to; `None` for a store that syncs nothing.
    pub wal: Option<Arc<Wal>>,
    /// Held shared by every read transaction, and exclusively while the WAL is reset.
    gate: RwLock<()>,
    /// About how many pages were written to the WAL since the last checkpoint.
    pages_written: AtomicU64,
    /// How many pages the last checkpoint left in a WAL that it could not reset.
    pages_left: AtomicU64,
    /// When the last checkpoint ran.
    checkpointed: Mutex<Instant>,
    /// Whether the WAL is as long as it may become: readers outside of this process keep it from
    /// being reset, or no checkpoint has come round to it yet.
    log_held: AtomicBool,
}

impl Checkpoints {
    fn new(wal: Option<Arc<Wal>>) -> Self {
        Checkpoints {
            wal,
            gate: RwLock::new(()),
            pages_written: AtomicU64::new(0),
            pages_left: AtomicU64::new(0),
            checkpointed: Mutex::new(Instant::now()),
            log_held: AtomicBool::new(false),
        }
    }

    /// Closes the gate: waits for the read transactions in progress and keeps new ones from
    /// starting.
    pub fn close_gate(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a read transaction may begin. Fails with `busy` or `cancelled`.
    pub fn pass_gate(&self, deadline: &Deadline) -> Result<RwLockReadGuard<'_, ()>> {
        loop {
            match self.gate.try_read() {
                Ok(passed) => return Ok(passed),
                Err(TryLockError::Poisoned(passed)) => return Ok(passed.into_inner()),
                Err(TryLockError::WouldBlock) => wait_for_lock(deadline)?,
            }
        }
    }

    /// Counts pages that were written to the WAL. Returns how many there are since the last
    /// checkpoint.
    ///
    /// If the WAL is too long by that count, appends wait for the next checkpoint, which measures
    /// it. Otherwise they could outrun a maintenance thread that gets no processor time.
    pub fn add_pages(&self, pages: u64) -> u64 {
        let written = self.pages_written.fetch_add(pages, Relaxed) + pages;
        let is_checkpointed_here = matches!(self.wal.as_deref(), Some(Wal::Own(_)));
        if is_checkpointed_here
            && self.pages_left.load(Relaxed) + written >= MAX_WAL_PAGES.unsigned_abs()
        {
            self.log_held.store(true, Relaxed);
        }
        written
    }

    /// Returns about how many pages were written to the WAL since the last checkpoint.
    pub fn pages_written(&self) -> u64 {
        self.pages_written.load(Relaxed)
    }

    /// Notes that a checkpoint begins.
    pub fn begin(&self) {
        self.pages_written.store(0, Relaxed);
        *self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Notes that a checkpoint found so many pages in the WAL, and whether the next commit resets
    /// the WAL.
    ///
    /// It is not enough that all pages were checkpointed: as long as a reader uses the WAL, the next
    /// commit appends to it, and readers that overlap would let it grow without bound.
    pub fn end(&self, pages: i64, is_reset: bool) {
        let left = if is_reset { 0 } else { pages };
        self.pages_left.store(left.unsigned_abs(), Relaxed);
        self.log_held.store(left >= MAX_WAL_PAGES, Relaxed);
    }

    /// Returns whether the WAL is as long as it may become, so that appends wait.
    pub fn is_log_held(&self) -> bool {
        self.log_held.load(Relaxed)
    }

    /// Returns whether a WAL of `pages` pages is worth a checkpoint. A short WAL is reused sooner,
    /// and overwriting is faster to sync than growing. But a checkpoint has syncs of its own.
    pub fn is_due(&self, pages: u64) -> bool {
        let since = || self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        pages >= CHECKPOINT_PAGES || pages >= CHECKPOINT_PAGES / 4 && since() >= CHECKPOINT_PAUSE
    }

    /// Preallocates space in the WAL for a transaction that holds SQLite's write lock.
    pub fn make_room(&self) -> Result<()> {
        match &self.wal {
            // The pages counted since the last checkpoint are about what the WAL holds. A WAL frame
            // is a page and its header.
            Some(wal) => wal.make_room(self.pages_written() * 4_120),
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
}

/// A segment is worth writing from this many events on. (Tests use a low number, to reach with few
/// events what otherwise takes many.)
pub const SEGMENT_EVENTS: i64 = if cfg!(any(test, feature = "testing")) { 32 } else { 8_192 };
/// A segment is worth writing from about this many bytes on, whatever the number of events.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// A checkpoint is worth running from this many pages in the WAL on.
pub const CHECKPOINT_PAGES: u64 = if cfg!(any(test, feature = "testing")) { 64 } else { 4_096 };
/// The shortest pause between two checkpoints of a WAL with a quarter of [`CHECKPOINT_PAGES`].
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(250);
/// At this many pages in the WAL (1 GiB), appends wait for the reader that keeps it from being
/// reset.
pub const MAX_WAL_PAGES: i64 = if cfg!(test) { 1_024 } else { 262_144 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventBuilder, EventType};
    use crate::sqlite::signal::WakeReason;

    /// Returns the state of a store without a disk, in which this many events have no segment.
    fn shared(events: i64) -> StoreState {
        let head = Position::new(events).unwrap();
        StoreState::new(None, Position::START, head, head, None)
    }

    fn set_checkpointed(shared: &StoreState, when: Option<Instant>) {
        *shared.checkpoints.checkpointed.lock().unwrap() = when.unwrap();
    }

    #[test]
    fn a_segment_is_due_before_appends_have_to_help() {
        let lengths = [SEGMENT_EVENTS - 1, SEGMENT_EVENTS, 2 * SEGMENT_EVENTS - 1];
        for events in lengths {
            assert_eq!(shared(events).index.is_tail_long(), events >= SEGMENT_EVENTS);
            assert!(!shared(events).index.is_tail_too_long());
        }
        let longer = shared(2 * SEGMENT_EVENTS);
        assert!(longer.index.is_tail_long() && longer.index.is_tail_too_long());
        longer.note_commit(0);
        assert!(longer.index.needs_help());
    }

    #[test]
    fn a_checkpoint_is_due_at_its_size_or_later_at_a_quarter() {
        let shared = shared(0);
        let due = |pages: [u64; 4]| pages.map(|pages| shared.checkpoints.is_due(pages));
        let quarter = CHECKPOINT_PAGES / 4;
        let pages = [quarter - 1, quarter, CHECKPOINT_PAGES - 1, CHECKPOINT_PAGES];
        set_checkpointed(&shared, Instant::now().checked_add(CHECKPOINT_PAUSE * 1_000));
        assert_eq!(due(pages), [false, false, false, true]);
        set_checkpointed(&shared, Instant::now().checked_sub(CHECKPOINT_PAUSE));
        assert_eq!(due(pages), [false, true, true, true]);
    }

    #[test]
    fn the_wal_is_held_if_it_is_long_and_has_a_reader() {
        let shared = shared(0);
        for (pages, is_reset, is_held) in [
            (MAX_WAL_PAGES, false, true),
            (MAX_WAL_PAGES, true, false),
            (MAX_WAL_PAGES + 1, false, true),
            (MAX_WAL_PAGES - 1, false, false),
        ] {
            shared.checkpoints.end(pages, is_reset);
            assert_eq!(shared.checkpoints.is_log_held(), is_held, "{pages}, {is_reset}");
        }
    }

    #[test]
    fn commits_are_counted_in_pages_and_wake_the_checkpoint() {
        let shared = shared(0);
        set_checkpointed(&shared, Instant::now().checked_add(CHECKPOINT_PAUSE * 1_000));
        let event = EventBuilder::new(EventType::new("A").unwrap()).build();
        let mut pages = 0;
        for count in [0, 1, 300] {
            shared.note_commit(count * event.footprint());
            pages += (count * event.footprint()) as u64 / 4096 + 2;
            assert_eq!(shared.checkpoints.pages_written(), pages);
        }
        for (pages, waking) in
            [(CHECKPOINT_PAGES - 3, WakeReason::Idle), (CHECKPOINT_PAGES - 2, WakeReason::Due)]
        {
            shared.checkpoints.pages_written.store(pages, Relaxed);
            shared.maintenance_signal.sleep_for(Duration::ZERO);
            shared.note_commit(0);
            assert_eq!(shared.maintenance_signal.sleep_for(Duration::ZERO), waking);
        }
    }

    #[test]
    fn a_commit_wakes_the_segment_writer() {
        for (events, waking) in
            [(SEGMENT_EVENTS - 1, WakeReason::Idle), (SEGMENT_EVENTS, WakeReason::Due)]
        {
            let shared = shared(events);
            shared.note_commit(0);
            assert_eq!(shared.maintenance_signal.sleep_for(Duration::ZERO), waking);
        }
    }
}
