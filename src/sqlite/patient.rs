//! A lock that is waited for as long as a call may, and no longer.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::connection::busy;
use crate::call::{Call, Patience, Timeout};
use crate::error::Result;

/// A mutex; what a panic left behind in it is for its user to mind.
#[derive(Debug)]
pub struct Patient<T> {
    state: Mutex<State>,
    freed: Condvar,
    value: Mutex<T>,
}

#[derive(Debug, Default)]
struct State {
    is_held: bool,
    waiting: usize,
}

impl<T> Patient<T> {
    /// Held by nobody.
    pub fn new(value: T) -> Self {
        Patient { state: Mutex::default(), freed: Condvar::new(), value: Mutex::new(value) }
    }

    /// The lock, however long that takes.
    pub fn lock(&self) -> Guard<'_, T> {
        let endless = Call { timeout: Timeout::Never, cancel: None }.start(None);
        match self.lock_within(&endless) {
            Ok(guard) => guard,
            // Without an end and a cancel it does not fail.
            Err(_) => self.take(),
        }
    }

    /// The lock; `busy` or `cancelled` where it was not had in time.
    pub fn lock_within(&self, patience: &Patience) -> Result<Guard<'_, T>> {
        let mut state = self.state();
        while state.is_held {
            patience.check_cancel()?;
            if patience.is_over() {
                return Err(busy());
            }
            state.waiting += 1;
            state = patience.sleep_on(&self.freed, state, None);
            state.waiting -= 1;
        }
        state.is_held = true;
        drop(state);
        Ok(self.take())
    }

    /// What the lock is on, which nobody else has but for the moment of letting go.
    fn take(&self) -> Guard<'_, T> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        Guard { lock: self, value }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock, held.
pub struct Guard<'a, T> {
    lock: &'a Patient<T>,
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
        let mut state = self.lock.state();
        state.is_held = false;
        if state.waiting > 0 {
            self.lock.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::{Cancel, Status};

    #[test]
    fn one_at_a_time_has_it_and_nobody_is_forgotten() {
        let lock = Patient::new((0, false));
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
    fn it_is_waited_for_as_long_as_the_call_may() {
        let lock = Patient::new(());
        let within = |timeout, cancel: Option<&Cancel>| {
            let patience = Call { timeout, cancel: cancel.cloned() }.start(None);
            lock.lock_within(&patience).map(drop).map_err(|error| error.status)
        };
        let cancel = Cancel::new();
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
