//! What the library takes from `std`, in the hands of the scheduler.
//!
//! The checker's own condition variable knows no time-outs, so they are made here: time is a
//! number that goes on when somebody looks at it or sleeps, by as much as chance has it. So a
//! time-out may come before, while or after what was waited for happens.

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
    /// Of the execution under way: all of its threads are steps of one thread of the system.
    static NOW_US: Cell<u64> = const { Cell::new(0) };
}

/// One in `n`, by chance.
pub fn one_in(n: u32) -> bool {
    thread_rng().gen_ratio(1, n)
}

/// A step at which the scheduler may go on with another thread. (`yield_now` is for who goes
/// round: it has the scheduler prefer all others.)
pub fn step() {
    atomic::AtomicBool::new(false).load(atomic::Ordering::SeqCst);
}

/// An execution begins.
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

/// Waits without a limit are the checker's: if they are never woken, it says so. It wakes nobody
/// without cause, so that is added too.
#[derive(Debug, Default)]
pub struct Condvar {
    asleep: shuttle::sync::Condvar,
    /// How many sleep there, how many sleep with a limit, and how many of these are to be woken.
    sleepers: Count,
    timed: Count,
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

    /// Wakes one of all that sleep, whichever.
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
