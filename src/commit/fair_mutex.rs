//! A lock that is had in the order in which it was asked for, and waited for as long as a call may.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::{Deref, DerefMut};

use crate::commit::deadline::Deadline;
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A mutex; what a panic left behind in it is for its user to mind.
#[derive(Debug)]
pub struct FairMutex<T> {
    state: Mutex<State>,
    changed: Condvar,
    value: Mutex<T>,
}

#[derive(Debug, Default)]
struct State {
    is_held: bool,
    /// The tickets of those who wait, the first to come in front.
    waiting: VecDeque<u64>,
    last_ticket: u64,
}

impl<T> FairMutex<T> {
    /// Held by nobody.
    pub fn new(value: T) -> Self {
        FairMutex { state: Mutex::default(), changed: Condvar::new(), value: Mutex::new(value) }
    }

    /// The lock, however long that takes.
    pub fn lock(&self) -> Guard<'_, T> {
        let Ok(guard) = self.enter(|state| {
            Ok::<_, Infallible>(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner))
        });
        guard
    }

    /// The lock; `cancelled`, or `late` where it was not had in time.
    pub fn lock_within(
        &self,
        deadline: &Deadline,
        late: impl Fn() -> Error,
    ) -> Result<Guard<'_, T>> {
        self.enter(|state| {
            deadline.check_cancel()?;
            if deadline.is_over() {
                Err(late())
            } else {
                Ok(deadline.sleep_on(&self.changed, state, None))
            }
        })
    }

    fn enter<'a, E>(
        &'a self,
        mut sleep: impl FnMut(MutexGuard<'a, State>) -> std::result::Result<MutexGuard<'a, State>, E>,
    ) -> std::result::Result<Guard<'a, T>, E> {
        let mut state = self.state();
        if state.is_held || !state.waiting.is_empty() {
            state.last_ticket += 1;
            let ticket = state.last_ticket;
            state.waiting.push_back(ticket);
            while state.is_held || state.waiting.front() != Some(&ticket) {
                state = match sleep(state) {
                    Ok(state) => state,
                    Err(error) => {
                        let mut state = self.state();
                        state.waiting.retain(|own| *own != ticket);
                        self.tell(&state);
                        return Err(error);
                    }
                };
            }
            state.waiting.pop_front();
        }
        state.is_held = true;
        drop(state);
        Ok(self.take())
    }

    /// Whoever is the first of those who wait may have the lock, or will.
    fn tell(&self, state: &State) {
        if !state.waiting.is_empty() {
            self.changed.notify_all();
        }
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
        let mut state = self.lock.state();
        state.is_held = false;
        self.lock.tell(&state);
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
    fn one_at_a_time_has_it_and_nobody_is_forgotten() {
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
    fn it_is_had_in_order_and_given_up_in_time() {
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
                while lock.state().waiting.len() <= n {
                    thread::yield_now();
                }
            }
            let short = Timeout::After(Duration::from_millis(5));
            let late = CallOptions { timeout: short, cancel: None }.start(None);
            assert_eq!(lock.lock_within(&late, busy).err().unwrap().status, Status::Busy);
            drop(first);
        });
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        assert!(lock.state().waiting.is_empty());
    }

    #[test]
    fn it_is_waited_for_as_long_as_the_call_may() {
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
