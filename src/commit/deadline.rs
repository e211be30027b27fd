//! How long a call may wait, and how another thread ends that.

use std::time::Duration;

use crate::error::{Error, Result, Status};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Condvar, Instant, MutexGuard, PoisonError};

/// How long a call may wait for a lock, or a wait for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timeout {
    /// What the store does by default: `busy_timeout_ms` for locks, without end for a wait.
    #[default]
    Default,
    /// Without end.
    Never,
    /// That long; zero is no waiting at all.
    After(Duration),
}

/// A switch that ends the calls that hold it. Sticky: once triggered, it stays so.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A switch that nobody has triggered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the calls that hold this switch, now and later.
    pub fn trigger(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has been triggered.
    pub fn is_triggered(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What one call was given beside its request.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// How long it may wait.
    pub timeout: Timeout,
    /// Who may end it early.
    pub cancel: Option<CancelToken>,
}

impl CallOptions {
    /// Starts the clock; `default` stands in for [`Timeout::Default`] (`None`: without end).
    pub fn start(&self, default: Option<Duration>) -> Deadline {
        let limit = match self.timeout {
            Timeout::Default => default,
            Timeout::Never => None,
            Timeout::After(limit) => Some(limit),
        };
        Deadline {
            // A limit too far away for the clock is no limit.
            deadline: limit.and_then(|limit| Instant::now().checked_add(limit)),
            cancel: self.cancel.clone(),
        }
    }
}

/// A call's patience, running: when it ends by itself, and who may end it.
#[derive(Debug, Clone)]
pub struct Deadline {
    deadline: Option<Instant>,
    cancel: Option<CancelToken>,
}

impl Deadline {
    /// Between two looks at a cancel; it bounds how late a cancelled call ends.
    pub const CANCEL_POLL: Duration = Duration::from_millis(20);

    /// The same patience, ending after `limit` from now at the latest.
    pub fn at_most(&self, limit: Duration) -> Self {
        let limit = Instant::now().checked_add(limit);
        let deadline = [self.deadline, limit].into_iter().flatten().min();
        Deadline { deadline, cancel: self.cancel.clone() }
    }

    /// `cancelled` once the cancel was triggered.
    pub fn check_cancel(&self) -> Result<()> {
        match &self.cancel {
            Some(cancel) if cancel.is_triggered() => {
                Err(Error::new(Status::Cancelled, "the call was cancelled"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the time is used up.
    pub fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// How much time is left; `None`: it does not end.
    pub fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// How long to sleep before looking again: `slice` at most, shorter where the time runs out
    /// or a cancel is to be looked at. `None`: sleep until woken.
    pub fn nap(&self, slice: Option<Duration>) -> Option<Duration> {
        let until_deadline =
            self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let until_poll = self.cancel.as_ref().map(|_| Self::CANCEL_POLL);
        [slice, until_deadline, until_poll].into_iter().flatten().min()
    }

    /// Sleeps on `changed` until woken, or until it is time to look again (see [`Self::nap`]).
    pub fn sleep_on<'a, T>(
        &self,
        changed: &Condvar,
        held: MutexGuard<'a, T>,
        slice: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        match self.nap(slice) {
            None => changed.wait(held).unwrap_or_else(PoisonError::into_inner),
            Some(nap) => {
                let woken = changed.wait_timeout(held, nap);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}
