//! Timeouts, deadlines and cancellation of calls that wait.

use std::time::Duration;

use crate::error::{Error, Result, Status};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Condvar, Instant, MutexGuard, PoisonError};

/// How long a call may wait for a lock or for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timeout {
    /// The store's default: `busy_timeout_ms` for a lock, and no limit for an event.
    #[default]
    Default,
    /// The call waits without a limit.
    Never,
    /// The call waits this long. With zero it does not wait at all.
    After(Duration),
}

/// A token that cancels the calls that were given it. Once triggered, it stays triggered.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Returns a token that is not triggered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels every call that was or will be given this token.
    pub fn trigger(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Returns whether the token has been triggered.
    pub fn is_triggered(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The options of one call: how long it may wait, and what may cancel it.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// How long the call may wait.
    pub timeout: Timeout,
    /// The token that cancels the call, if any.
    pub cancel: Option<CancelToken>,
}

impl CallOptions {
    /// Starts the clock and returns the call's deadline. `default` is the time that
    /// [`Timeout::Default`] stands for, or `None` for no limit.
    pub fn start(&self, default: Option<Duration>) -> Deadline {
        let limit = match self.timeout {
            Timeout::Default => default,
            Timeout::Never => None,
            Timeout::After(limit) => Some(limit),
        };
        Deadline {
            // A deadline that the clock cannot represent is never reached.
            deadline: limit.and_then(|limit| Instant::now().checked_add(limit)),
            cancel: self.cancel.clone(),
        }
    }
}

/// The deadline of a running call, with the token that cancels it earlier.
#[derive(Debug, Clone)]
pub struct Deadline {
    deadline: Option<Instant>,
    cancel: Option<CancelToken>,
}

impl Deadline {
    /// The interval at which a waiting call checks its token, and so a bound on how late a
    /// cancelled call returns.
    pub const CANCEL_POLL: Duration = Duration::from_millis(20);

    /// The same patience, ending after `limit` from now at the latest.
    pub fn at_most(&self, limit: Duration) -> Self {
        let limit = Instant::now().checked_add(limit);
        let deadline = [self.deadline, limit].into_iter().flatten().min();
        Deadline { deadline, cancel: self.cancel.clone() }
    }

    /// The same patience, ending after `limit` from now at the earliest.
    pub fn at_least(&self, limit: Duration) -> Self {
        // A deadline that the clock cannot represent is never reached.
        let limit = Instant::now().checked_add(limit);
        let deadline = self.deadline.zip(limit).map(|(own, limit)| own.max(limit));
        Deadline { deadline, cancel: self.cancel.clone() }
    }

    /// The same deadline, for a step that a cancellation must not interrupt.
    pub fn uncancellable(&self) -> Self {
        Deadline { deadline: self.deadline, cancel: None }
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

    /// Returns whether the deadline has passed.
    pub fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns the time left, or `None` if there is no deadline.
    pub fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns how long to sleep before checking again, or `None` to sleep until woken. That is at
    /// most `slice`, the time left, and [`Self::CANCEL_POLL`] if there is a token to check.
    pub fn nap(&self, slice: Option<Duration>) -> Option<Duration> {
        let until_deadline =
            self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let until_poll = self.cancel.as_ref().map(|_| Self::CANCEL_POLL);
        [slice, until_deadline, until_poll].into_iter().flatten().min()
    }

    /// Sleeps on `changed` until woken, or until it is time to check again (see [`Self::nap`]).
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
