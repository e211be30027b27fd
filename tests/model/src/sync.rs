//! The locks, atomics and clock that the library takes from `std`, under the control of the
//! scheduler.
//!
//! The checker's condition variable has no timeouts, so this module adds them. Time is a number
//! that advances by a random amount when a thread reads the clock or sleeps. So a timeout may come
//! before, during or after the event that a thread waits for.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicUsize as Count;
use std::sync::atomic::Ordering::Relaxed;
pub use std::sync::{LockResult, PoisonError};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
pub use shuttle::sync::{Arc, atomic};

thread_local! {
    /// The time of the running execution, all of whose threads run on one thread of the operating
    /// system.
    static NOW_US: Cell<u64> = const { Cell::new(0) };
}

/// Returns `true` with a probability of one in `n`.
pub fn one_in(n: u32) -> bool {
    thread_rng().gen_ratio(1, n)
}

/// Lets the scheduler continue with another thread. (`yield_now` is for a thread that polls: it
/// makes the scheduler prefer all others.)
pub fn step() {
    atomic::AtomicBool::new(false).load(atomic::Ordering::SeqCst);
}

/// Resets the clock at the beginning of an execution.
pub fn restart_clock() {
    NOW_US.set(0);
}

fn pass(at_most: Duration) {
    let us = u64::try_from(at_most.as_micros()).unwrap_or(u64::MAX);
    NOW_US.set(NOW_US.get() + thread_rng().gen_range(0..=us));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Self {
        if one_in(4) {
            pass(Duration::from_millis(1));
        }
        Instant(Duration::from_micros(NOW_US.get()))
    }

    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Instant)
    }

    pub fn saturating_duration_since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

#[derive(Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.0.lock() {
            Ok(guard) => Ok(MutexGuard { mutex: self, guard }),
            Err(error) => {
                Err(PoisonError::new(MutexGuard { mutex: self, guard: error.into_inner() }))
            }
        }
    }
}

pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    guard: shuttle::sync::MutexGuard<'a, T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// A condition variable with timeouts and spurious wake-ups. A wait without a limit uses the
/// checker's own, which reports a thread that is never woken.
#[derive(Debug, Default)]
pub struct Condvar {
    asleep: shuttle::sync::Condvar,
    /// The number of threads that sleep without a limit.
    sleepers: Count,
    /// The number of threads that sleep with a limit.
    timed: Count,
    /// The number of threads with a limit that have been notified and not woken yet.
    woken: Count,
}

pub struct WaitTimeoutResult;

impl Condvar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn wait<'a, T>(&self, held: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let mutex = held.mutex;
        if one_in(8) {
            drop(held);
            step();
            return mutex.lock();
        }
        self.sleepers.fetch_add(1, Relaxed);
        let guard = self.asleep.wait(held.guard);
        self.sleepers.fetch_sub(1, Relaxed);
        match guard {
            Ok(guard) => Ok(MutexGuard { mutex, guard }),
            Err(error) => Err(PoisonError::new(MutexGuard { mutex, guard: error.into_inner() })),
        }
    }

    pub fn wait_timeout<'a, T>(
        &self,
        held: MutexGuard<'a, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let mutex = held.mutex;
        self.timed.fetch_add(1, Relaxed);
        drop(held);
        for _ in 0..thread_rng().gen_range(0..12) {
            if self.woken.load(Relaxed) > 0 {
                break;
            }
            shuttle::thread::yield_now();
        }
        if self.woken.load(Relaxed) > 0 {
            self.woken.fetch_sub(1, Relaxed);
            pass(limit);
        } else {
            self.timed.fetch_sub(1, Relaxed);
            NOW_US.set(NOW_US.get() + u64::try_from(limit.as_micros()).unwrap_or(0));
        }
        match mutex.lock() {
            Ok(guard) => Ok((guard, WaitTimeoutResult)),
            Err(error) => Err(PoisonError::new((error.into_inner(), WaitTimeoutResult))),
        }
    }

    /// Wakes any one of the sleeping threads.
    pub fn notify_one(&self) {
        let (sleepers, timed) = (self.sleepers.load(Relaxed), self.timed.load(Relaxed));
        if timed > 0 && thread_rng().gen_range(0..sleepers + timed) < timed {
            self.timed.fetch_sub(1, Relaxed);
            self.woken.fetch_add(1, Relaxed);
            step();
        } else {
            self.asleep.notify_one();
        }
    }

    pub fn notify_all(&self) {
        self.woken.fetch_add(self.timed.swap(0, Relaxed), Relaxed);
        self.asleep.notify_all();
    }
}
