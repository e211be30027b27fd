//! The head of a store, and waits for it to rise.
//!
//! The mutex guards no data. It only orders a waiter's check of the head and its sleep against a
//! publisher's wake-up.

use std::time::Duration;

use crate::commit::deadline::Deadline;
use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, has};
use crate::position::Position;
use crate::sync::atomic::Ordering::SeqCst;
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard, PoisonError};

/// The highest position that callers may learn of, and whether the store is open. Any number of
/// threads may publish and wait.
#[derive(Debug, Default)]
pub struct HeadWatch {
    head: AtomicI64,
    closed: AtomicBool,
    /// The number of waiting threads, so that publishing without a waiter takes no lock. A waiter
    /// raises the count before it reads the head, and a publisher raises the head before it reads
    /// the count. All of these accesses are sequentially consistent, so at least one sees the
    /// other.
    waiters: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl HeadWatch {
    /// Returns the watch of an open store whose newest event is at `head`.
    pub fn new(head: Position) -> Self {
        HeadWatch { head: AtomicI64::new(head.get()), ..Self::default() }
    }

    /// Returns the highest position published.
    pub fn head(&self) -> Position {
        Position::clamped(self.head.load(SeqCst))
    }

    /// Raises the head to `head` if it is lower, and wakes the waiting threads.
    pub fn publish(&self, head: Position) {
        if self.head.fetch_max(head.get(), SeqCst) < head.get() {
            self.wake();
        }
    }

    /// Ends every wait, now and later, with the error `closed`.
    pub fn close(&self) {
        self.closed.store(true, SeqCst);
        self.wake();
    }

    /// Returns the error `closed` once the store is closed.
    pub fn check_open(&self) -> Result<()> {
        if self.closed.load(SeqCst) {
            return Err(Error::new(Status::Closed, "the store is closed"));
        }
        Ok(())
    }

    /// Waits until the head is above `after`, and returns it. The errors are `timeout`, `cancelled`
    /// and `closed`. Returns `None` after `slice`, for a caller that polls another source in
    /// between.
    pub fn wait_above(
        &self,
        after: Position,
        deadline: &Deadline,
        slice: Option<Duration>,
    ) -> Result<Option<Position>> {
        let slice_end = slice.and_then(|slice| Instant::now().checked_add(slice));
        let _waiting = Waiting::new(&self.waiters);
        let mut guard = self.lock();
        loop {
            self.check_open()?;
            deadline.check_cancel()?;
            let head = self.head();
            if head > after {
                return Ok(Some(head));
            }
            if deadline.is_over() {
                let message = format!("timed out waiting for an event after position {after}");
                return Err(Error::new(Status::Timeout, message));
            }
            let rest = slice_end.map(|end| end.saturating_duration_since(Instant::now()));
            if rest.is_some_and(|rest| rest.is_zero()) {
                return Ok(None);
            }
            guard = deadline.sleep_on(&self.changed, guard, rest);
        }
    }

    fn wake(&self) {
        if self.waiters.load(SeqCst) > 0 {
            // A waiter that has read the head and does not sleep yet holds the lock.
            if !has(SeededBug::WakeWithoutLock) {
                drop(self.lock());
            }
            self.changed.notify_all();
        }
    }

    /// Acquires the lock. It guards no data, so a panic cannot have left any half changed.
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one waiting thread until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiters: &'a AtomicUsize) -> Self {
        waiters.fetch_add(1, SeqCst);
        Waiting(waiters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::position::at;
    use crate::{CallOptions, CancelToken, Timeout};

    fn deadline(timeout: Timeout, cancel: Option<&CancelToken>) -> Deadline {
        CallOptions { timeout, cancel: cancel.cloned() }.start(None)
    }

    /// Runs `act` once `watch` has a waiter, and returns the result of the wait.
    fn while_waiting(
        watch: &HeadWatch,
        cancel: Option<&CancelToken>,
        act: impl FnOnce(),
    ) -> Result<Option<Position>> {
        thread::scope(|scope| {
            let waiter =
                scope.spawn(|| watch.wait_above(at(4), &deadline(Timeout::Never, cancel), None));
            while watch.waiters.load(SeqCst) == 0 {
                thread::yield_now();
            }
            act();
            waiter.join().unwrap()
        })
    }

    #[test]
    fn a_wait_ends_when_the_head_rises() {
        let watch = HeadWatch::new(at(3));
        let found = while_waiting(&watch, None, || {
            watch.publish(at(4));
            watch.publish(at(6));
        });
        assert_eq!(found, Ok(Some(at(6))));
        assert_eq!(watch.wait_above(at(5), &deadline(Timeout::Never, None), None), Ok(Some(at(6))));
        assert_eq!(watch.waiters.load(SeqCst), 0);
    }

    #[test]
    fn a_wait_ends_when_cancelled() {
        let cancel = CancelToken::new();
        let found = while_waiting(&HeadWatch::new(at(3)), Some(&cancel), || cancel.trigger());
        assert_eq!(found.unwrap_err().status, Status::Cancelled);
    }

    #[test]
    fn a_wait_ends_when_the_store_closes() {
        let watch = HeadWatch::new(at(3));
        let found = while_waiting(&watch, None, || watch.close());
        assert_eq!(found.unwrap_err().status, Status::Closed);
        let later = watch.wait_above(at(0), &deadline(Timeout::Never, None), None);
        assert_eq!(later.unwrap_err().status, Status::Closed);
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let watch = HeadWatch::new(at(3));
        for limit in [Duration::ZERO, Duration::from_millis(2)] {
            let found = watch.wait_above(at(3), &deadline(Timeout::After(limit), None), None);
            assert_eq!(found.unwrap_err().status, Status::Timeout);
        }
        let slice = Some(Duration::from_millis(2));
        assert_eq!(watch.wait_above(at(3), &deadline(Timeout::Never, None), slice), Ok(None));
    }

    #[test]
    fn the_head_never_falls() {
        let watch = HeadWatch::new(at(3));
        watch.publish(at(5));
        watch.publish(at(4));
        assert_eq!(watch.head(), at(5));
    }

    #[test]
    fn a_wait_may_name_the_highest_position() {
        let watch = HeadWatch::new(Position::START);
        let deadline = deadline(Timeout::After(Duration::ZERO), None);
        let found = watch.wait_above(Position::MAX, &deadline, None);
        assert_eq!(found.unwrap_err().status, Status::Timeout);
    }
}
