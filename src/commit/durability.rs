//! Durability of commits, separate from writing them: one sync serves every append that was
//! committed before the sync began, and no append returns before its sync has ended.
//!
//! The mutex `state` is held while state changes, never during a sync. At most one sync runs at a
//! time.

use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, has};
use crate::position::Position;
use crate::sync::atomic::AtomicI64;
use crate::sync::atomic::Ordering::SeqCst;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A log that holds committed events before they are durable.
pub trait Log: std::fmt::Debug + Send + Sync {
    /// Makes everything durable that was written before the call.
    fn sync(&self) -> Result<()>;

    /// Returns an error as long as nothing may be written to the log.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// The position up to which events are durable, and the syncs that raise it.
#[derive(Debug)]
pub struct Durability {
    /// The log to sync. Without one, either no event is ever durable or every readable event is.
    log: Option<Box<dyn Log>>,
    durable: AtomicI64,
    state: Mutex<State>,
    changed: Condvar,
    /// The faults that a test injects into syncs.
    #[cfg(test)]
    pub tampering: Tampering,
}

/// The faults that a test injects into syncs.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct Tampering {
    /// A sync waits while a test holds this lock.
    pub stall: Mutex<()>,
    /// Whether every sync fails.
    pub fail: crate::sync::atomic::AtomicBool,
    /// The number of syncs so far.
    pub count: crate::sync::atomic::AtomicU64,
    /// Whether the next [`Durability::note_written`] panics.
    pub panic: crate::sync::atomic::AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// The position up to which events are committed, and so in the log, if perhaps not on the
    /// disk.
    written: Position,
    syncing: bool,
    /// How many threads wait for a sync to end. Waking costs a system call, even of nobody.
    waiting: usize,
    failed: Option<Error>,
}

impl Durability {
    /// Returns the state of a store whose events up to `durable` are durable already.
    pub fn new(log: Option<Box<dyn Log>>, durable: Position) -> Self {
        Durability {
            log,
            durable: AtomicI64::new(durable.get()),
            state: Mutex::new(State { written: durable, ..State::default() }),
            changed: Condvar::new(),
            #[cfg(test)]
            tampering: Tampering::default(),
        }
    }

    /// Returns whether a sync of a log makes events durable. Without a log, either no event is ever
    /// durable or every readable event is.
    pub fn has_log(&self) -> bool {
        self.log.is_some()
    }

    /// Returns the position up to which events are known to be durable.
    pub fn durable(&self) -> Position {
        Position::clamped(self.durable.load(SeqCst))
    }

    /// The failure after which nothing more becomes durable, if there was one; or what keeps events
    /// from being appended for now, because they might not be found again.
    pub fn failure(&self) -> Option<Error> {
        let failed = self.state().failed.clone();
        failed.or_else(|| self.log.as_ref().and_then(|log| log.check().err()))
    }

    /// Returns once the events up to `position`, which are committed, are durable.
    ///
    /// One caller syncs on behalf of all. Callers that arrive during a sync wait for the next one,
    /// since their events may have been written too late for the current one.
    pub fn ensure(&self, position: Position) -> Result<()> {
        if position <= self.durable() {
            return Ok(());
        }
        let mut state = self.state();
        state.written = state.written.max(position);
        loop {
            if position <= self.durable() {
                return Ok(());
            }
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            state = if state.syncing { self.wait(state) } else { self.sync_for_all(state) };
        }
    }

    /// Syncs the log before a checkpoint does. The kernel reports a write error once per file
    /// descriptor; if SQLite's own descriptor got the report, SQLite would retry and checkpoint a
    /// log with a hole in it.
    pub fn check(&self) -> Result<()> {
        let mut state = self.state();
        while state.syncing {
            state = self.wait(state);
        }
        if state.failed.is_none() {
            state = self.sync_for_all(state);
        }
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// Records a failure that happened elsewhere. From here on nothing more becomes durable.
    pub fn fail(&self, error: &Error) {
        self.state().failed.get_or_insert_with(|| lost(error));
        self.changed.notify_all();
    }

    /// Syncs the log for everything that is committed. Only one sync runs at a time: of two
    /// concurrent ones, only one would report a failure.
    fn sync_for_all<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.syncing = true;
        let target = state.written;
        drop(state);
        let outcome = self.sync();
        let mut state = self.state();
        state.syncing = false;
        let target = if has(SeededBug::CoverTooMuch) { state.written } else { target };
        match outcome {
            Ok(()) => {
                self.durable.fetch_max(target.get(), SeqCst);
            }
            // The kernel may have dropped the pages that it could not write, and report success for
            // the next sync. So this store never trusts a sync again.
            Err(_) if has(SeededBug::BelieveNextSync) => {}
            Err(error) => state.failed = Some(lost(&error)),
        }
        match state.waiting {
            0 => {}
            _ if has(SeededBug::WakeOneOfAll) => self.changed.notify_one(),
            _ => self.changed.notify_all(),
        }
        state
    }

    /// Waits until something has changed.
    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    fn sync(&self) -> Result<()> {
        #[cfg(test)]
        {
            self.tampering.count.fetch_add(1, SeqCst);
            drop(self.tampering.stall.lock());
            if self.tampering.fail.load(SeqCst) {
                return Err(std::io::Error::from_raw_os_error(libc::EIO).into());
            }
        }
        if has(SeededBug::AnswerBeforeSync) {
            return Ok(());
        }
        self.log.as_ref().map_or(Ok(()), |log| log.sync())
    }

    /// Records that the events up to `position` are committed, so that any sync from now on serves
    /// them.
    pub fn note_written(&self, position: Position) {
        #[cfg(test)]
        assert!(!self.tampering.panic.swap(false, SeqCst), "as the test asked");
        let mut state = self.state();
        state.written = state.written.max(position);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the error `io` for every failed sync, whatever the system's error. The events may be
/// stored in spite of the failure, which the status `full` would deny.
fn lost(error: &Error) -> Error {
    Error {
        status: Status::Io,
        message: format!(
            "committed events could not be made durable ({}): close the store and open it again",
            error.message
        )
        .into(),
        ..error.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::at;

    #[test]
    fn a_check_makes_committed_events_durable() {
        let durability = Durability::new(None, at(3));
        durability.note_written(at(5));
        assert_eq!(durability.durable(), at(3));
        assert_eq!(durability.check(), Ok(()));
        assert_eq!(durability.durable(), at(5));
        assert_eq!(durability.tampering.count.load(SeqCst), 1);
        assert_eq!(durability.ensure(at(5)), Ok(()));
        assert_eq!(durability.tampering.count.load(SeqCst), 1);
    }

    #[test]
    fn a_failure_from_elsewhere_is_permanent_and_says_why() {
        let durability = Durability::new(None, at(3));
        durability.fail(&Error::new(Status::Io, "the checkpoint failed"));
        durability.fail(&Error::new(Status::Full, "a later one"));
        durability.note_written(at(5));
        for error in
            [durability.failure(), durability.check().err(), durability.ensure(at(5)).err()]
        {
            let error = error.unwrap();
            assert_eq!(error.status, Status::Io);
            assert!(error.message.contains("the checkpoint failed"), "{error}");
            assert!(error.message.contains("open it again"), "{error}");
        }
        assert_eq!(durability.ensure(at(3)), Ok(()));
        assert_eq!((durability.durable(), durability.tampering.count.load(SeqCst)), (at(3), 0));
    }
}
