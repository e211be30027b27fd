//! Making the log durable, apart from writing it: one sync serves every append that was
//! committed before the sync began, and nobody is answered before.

use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, has};
use crate::sync::atomic::AtomicI64;
use crate::sync::atomic::Ordering::SeqCst;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A log that committed events are written to before they are durable.
pub trait Log: std::fmt::Debug + Send + Sync {
    /// Makes durable what was written before.
    fn sync(&self) -> Result<()>;

    /// Returns an error as long as nothing may be written to the log.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Up to where the events are durable, and who is making it further.
#[derive(Debug)]
pub struct Durability {
    /// `None`: nothing is ever durable, or everything that can be read is.
    log: Option<Box<dyn Log>>,
    durable: AtomicI64,
    state: Mutex<State>,
    changed: Condvar,
    /// What the tests do to a sync.
    #[cfg(test)]
    pub tampering: Tampering,
}

/// What the tests do to a sync.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct Tampering {
    /// A sync waits for this.
    pub stall: Mutex<()>,
    /// Every sync fails.
    pub fail: crate::sync::atomic::AtomicBool,
    /// How many there were.
    pub count: crate::sync::atomic::AtomicU64,
    /// What notes the next commit panics.
    pub panic: crate::sync::atomic::AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Committed, so in the log, if perhaps not yet on the disk.
    written: i64,
    syncing: bool,
    failed: Option<Error>,
}

impl Durability {
    /// Everything up to `durable` is so already.
    pub fn new(log: Option<Box<dyn Log>>, durable: i64) -> Self {
        Durability {
            log,
            durable: AtomicI64::new(durable),
            state: Mutex::new(State { written: durable, ..State::default() }),
            changed: Condvar::new(),
            #[cfg(test)]
            tampering: Tampering::default(),
        }
    }

    /// Whether events become durable by a sync of a log. Without one nothing is ever durable, or
    /// everything that can be read is.
    pub fn has_log(&self) -> bool {
        self.log.is_some()
    }

    /// The position up to which events are known to be durable.
    pub fn durable(&self) -> i64 {
        self.durable.load(SeqCst)
    }

    /// The failure after which nothing more becomes durable, if there was one; or what keeps events
    /// from being appended for now, because they might not be found again.
    pub fn failure(&self) -> Option<Error> {
        let failed = self.state().failed.clone();
        failed.or_else(|| self.log.as_ref().and_then(|log| log.check().err()))
    }

    /// Returns when the events up to `position`, all of them committed, are durable.
    ///
    /// One of the callers syncs, for all; those who come while it does wait for the next sync,
    /// since theirs may have been written too late for this one.
    pub fn ensure(&self, position: i64) -> Result<()> {
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
            if state.syncing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.sync_for_all(state);
        }
    }

    /// Syncs the log, so that a failure to write it is not found out by a descriptor of SQLite's
    /// first: it is told to each descriptor once, and SQLite would try again, over a hole.
    pub fn check(&self) -> Result<()> {
        let mut state = self.state();
        while state.syncing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed.is_none() {
            state = self.sync_for_all(state);
        }
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// From here on nothing more becomes durable, for a reason that was met elsewhere.
    pub fn fail(&self, error: &Error) {
        self.state().failed.get_or_insert_with(|| lost(error));
        self.changed.notify_all();
    }

    /// Syncs the log for all that is committed. One sync at a time: of two at once, only one would
    /// be told of a failure.
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
                self.durable.fetch_max(target, SeqCst);
            }
            // The kernel may have dropped what it could not write and call the next sync a
            // success: from here on no sync of this store is believed.
            Err(_) if has(SeededBug::BelieveNextSync) => {}
            Err(error) => state.failed = Some(lost(&error)),
        }
        if has(SeededBug::WakeOneOfAll) {
            self.changed.notify_one();
        } else {
            self.changed.notify_all();
        }
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

    /// Notes events that are committed, so that the sync of somebody else serves them too.
    pub fn note_written(&self, position: i64) {
        #[cfg(test)]
        assert!(!self.tampering.panic.swap(false, SeqCst), "as the test asked");
        let mut state = self.state();
        state.written = state.written.max(position);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is not durable by this may be stored all the same: `io`, whatever the system says. Of a disk
/// that is full, nothing would be.
fn lost(error: &Error) -> Error {
    Error {
        status: Status::Io,
        message: format!(
            "the log could not be made durable ({}): close the store and open it again",
            error.message
        )
        .into(),
        ..error.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_makes_durable_what_was_noted() {
        let durability = Durability::new(None, 3);
        durability.note_written(5);
        assert_eq!(durability.durable(), 3);
        assert_eq!(durability.check(), Ok(()));
        assert_eq!(durability.durable(), 5);
        assert_eq!(durability.tampering.count.load(SeqCst), 1);
        assert_eq!(durability.ensure(5), Ok(()));
        assert_eq!(durability.tampering.count.load(SeqCst), 1);
    }

    #[test]
    fn a_failure_that_was_met_elsewhere_is_for_good_and_says_why() {
        let durability = Durability::new(None, 3);
        durability.fail(&Error::new(Status::Io, "the checkpoint failed"));
        durability.fail(&Error::new(Status::Full, "a later one"));
        durability.note_written(5);
        for error in [durability.failure(), durability.check().err(), durability.ensure(5).err()] {
            let error = error.unwrap();
            assert_eq!(error.status, Status::Io);
            assert!(error.message.contains("the checkpoint failed"), "{error}");
            assert!(error.message.contains("open it again"), "{error}");
        }
        assert_eq!(durability.ensure(3), Ok(()));
        assert_eq!((durability.durable(), durability.tampering.count.load(SeqCst)), (3, 0));
    }
}
