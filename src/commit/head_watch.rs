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
    /// the count. The same holds for the alerts. All of these accesses are sequentially consistent, so at least one sees the
    /// other.
    waiters: AtomicUsize,
    /// How often callers that poll were told to look again.
    alerts: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

/// How long a caller waits that polls another source in between.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    /// Its length, if there is no alert.
    pub length: Duration,
    /// The number of alerts before the last poll.
    pub alerts: usize,
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

    /// Returns how many alerts there were, for a caller that then polls another source and waits.
    pub fn alerts(&self) -> usize {
        self.alerts.load(SeqCst)
    }

    /// Makes callers that poll another source look again now.
    pub fn alert(&self) {
        self.alerts.fetch_add(1, SeqCst);
        self.wake();
    }

    /// Waits until the head is above `after`, and returns it. The errors are `timeout`, `cancelled`
    /// and `closed`. Returns `None` at the end of `pause`, for a caller that polls another source in
    /// between.
    pub fn wait_above(
        &self,
        after: Position,
        deadline: &Deadline,
        pause: Option<Pause>,
    ) -> Result<Option<Position>> {
        let pause_end = pause.and_then(|pause| Instant::now().checked_add(pause.length));
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
            let rest = pause_end.map(|end| end.saturating_duration_since(Instant::now()));
            let is_alerted = pause.is_some_and(|pause| pause.alerts != self.alerts());
            if is_alerted || rest.is_some_and(|rest| rest.is_zero()) {
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
            while watch.waiters.load(SeqCst) == 0 && !waiter.is_finished() {
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
        let pause = Some(Pause { length: Duration::from_millis(2), alerts: 0 });
        assert_eq!(watch.wait_above(at(3), &deadline(Timeout::Never, None), pause), Ok(None));
    }

    #[test]
    fn an_alert_ends_a_pause_and_no_other_wait() {
        let watch = HeadWatch::new(at(3));
        let never = || deadline(Timeout::Never, None);
        let pause = Some(Pause { length: Duration::from_secs(3_600), alerts: watch.alerts() });
        thread::scope(|scope| {
            let polls = scope.spawn(|| watch.wait_above(at(3), &never(), pause));
            let waits = scope.spawn(|| watch.wait_above(at(3), &never(), None));
            let is_over = || polls.is_finished() || waits.is_finished();
            while watch.waiters.load(SeqCst) < 2 && !is_over() {
                thread::yield_now();
            }
            watch.alert();
            assert_eq!(polls.join().unwrap(), Ok(None));
            watch.publish(at(4));
            assert_eq!(waits.join().unwrap(), Ok(Some(at(4))));
        });
        // One that came before the wait is not missed.
        assert_eq!(watch.wait_above(at(4), &never(), pause), Ok(None));
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
