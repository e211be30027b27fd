//! A fair mutex: threads acquire it in the order in which they asked for it, within a deadline.

use std::ops::{Deref, DerefMut};

use crate::commit::deadline::Deadline;
use crate::commit::fair_queue::{FairQueue, Stock};
use crate::error::{Error, Result};
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// A first-in, first-out mutex with deadlines. It is not poisoned by a panic: its user has to
/// handle a value that a panic left half changed.
#[derive(Debug)]
pub struct FairMutex<T> {
    queue: FairQueue<Lock>,
    value: Mutex<T>,
}

/// The one lock that there is to take.
#[derive(Debug)]
struct Lock {
    is_free: bool,
}

impl Stock for Lock {
    type Item = ();

    fn take(&mut self) -> Option<()> {
        std::mem::replace(&mut self.is_free, false).then_some(())
    }
}

impl<T> FairMutex<T> {
    /// Returns an unlocked mutex.
    pub fn new(value: T) -> Self {
        FairMutex { queue: FairQueue::new(Lock { is_free: true }), value: Mutex::new(value) }
    }

    /// Acquires the lock, however long that takes.
    pub fn lock(&self) -> Guard<'_, T> {
        self.queue.take();
        self.guard()
    }

    /// Acquires the lock before the deadline. Otherwise returns `cancelled`, or the error of `late`
    /// when the deadline has passed.
    pub fn lock_within(
        &self,
        deadline: &Deadline,
        late: impl Fn() -> Error,
    ) -> Result<Guard<'_, T>> {
        self.queue.take_within(deadline, late)?;
        Ok(self.guard())
    }

    /// Returns the guard of the value. The inner mutex is free, except for the moment in which the
    /// last holder releases it.
    fn guard(&self) -> Guard<'_, T> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        Guard { lock: self, value }
    }
}

/// A guard that holds the lock until it is dropped.
pub struct Guard<'a, T> {
    lock: &'a FairMutex<T>,
    value: MutexGuard<'a, T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.queue.change(|lock| lock.is_free = true);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::sqlite::connection::error::busy;
    use crate::{CallOptions, CancelToken, Status, Timeout};

    #[test]
    fn the_lock_is_exclusive_and_every_waiter_acquires_it() {
        let lock = FairMutex::new((0, false));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let mut guard = lock.lock();
                        assert!(!std::mem::replace(&mut guard.1, true));
                        guard.0 += 1;
                        guard.1 = false;
                    }
                });
            }
        });
        assert_eq!(lock.lock().0, 8_000);
    }

    #[test]
    fn the_lock_is_acquired_in_order_and_within_a_deadline() {
        let lock = FairMutex::new(());
        let first = lock.lock();
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for n in 0..3 {
                let (lock, order) = (&lock, &order);
                scope.spawn(move || {
                    let _own = lock.lock_within(&CallOptions::default().start(None), busy).unwrap();
                    order.lock().unwrap().push(n);
                });
                while lock.queue.waiting() <= n {
                    thread::yield_now();
                }
            }
            let short = Timeout::After(Duration::from_millis(5));
            let late = CallOptions { timeout: short, cancel: None }.start(None);
            assert_eq!(lock.lock_within(&late, busy).err().unwrap().status, Status::Busy);
            drop(first);
        });
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        assert_eq!(lock.queue.waiting(), 0);
    }

    #[test]
    fn a_waiter_stops_at_its_deadline_or_when_cancelled() {
        let lock = FairMutex::new(());
        let within = |timeout, cancel: Option<&CancelToken>| {
            let deadline = CallOptions { timeout, cancel: cancel.cloned() }.start(None);
            lock.lock_within(&deadline, busy).map(drop).map_err(|error| error.status)
        };
        let cancel = CancelToken::new();
        let held = lock.lock();
        for limit in [Duration::ZERO, Duration::from_millis(5)] {
            assert_eq!(within(Timeout::After(limit), None), Err(Status::Busy));
        }
        thread::scope(|scope| {
            let waiter = scope.spawn(|| within(Timeout::Never, Some(&cancel)));
            thread::sleep(Duration::from_millis(5));
            cancel.trigger();
            assert_eq!(waiter.join().unwrap(), Err(Status::Cancelled));
            let waiter = scope.spawn(|| within(Timeout::Never, None));
            thread::sleep(Duration::from_millis(5));
            drop(held);
            assert_eq!(waiter.join().unwrap(), Ok(()));
        });
        assert_eq!(within(Timeout::After(Duration::ZERO), None), Ok(()));
    }
}
