//! The signal on which the maintenance thread sleeps.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Wakes the maintenance thread for work, or for the end of the store.
#[derive(Debug, Default)]
pub struct MaintenanceSignal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    due: bool,
    ended: bool,
    /// Whether anything was done since the last sleep began.
    touched: bool,
    /// How often nothing was, one time after the other.
    quiet: u32,
}

/// How long maintenance sleeps when nobody wakes it and the store was used recently.
const IDLE: Duration = Duration::from_millis(500);
/// How many times as long maintenance sleeps at most when nobody uses the store, so that an idle store
/// costs next to nothing.
const LONGEST: u32 = 8;

/// Why maintenance woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeReason {
    /// Work is due.
    Due,
    /// Nothing happened during the idle time.
    Idle,
    /// The store is being closed.
    Ended,
}

impl MaintenanceSignal {
    /// Signals that work is due.
    pub fn wake(&self) {
        let mut state = self.state();
        if !state.due {
            state.due = true;
            self.changed.notify_all();
        }
    }

    /// Something is being done, which may leave work for an idle moment.
    pub fn touch(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.touched, true) && state.quiet > 0 {
            // It sleeps for longer than it should by now.
            state.quiet = 0;
            self.changed.notify_all();
        }
    }

    /// The store closes.
    pub fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Returns whether the store is being closed.
    pub fn ended(&self) -> bool {
        self.state().ended
    }

    /// Sleeps until there is work, or for half a second; up to eight times as long if nobody has used
    /// the store meanwhile.
    pub fn sleep(&self) -> WakeReason {
        self.sleep_for(IDLE)
    }

    /// The same with another unit than half a second.
    pub fn sleep_for(&self, idle: Duration) -> WakeReason {
        let mut state = self.state();
        state.quiet = if std::mem::take(&mut state.touched) { 0 } else { state.quiet + 1 };
        loop {
            let was_quiet = state.quiet > 0;
            let nap = idle * state.quiet.clamp(1, LONGEST);
            let is_awake =
                |state: &mut SignalState| state.due || state.ended || was_quiet && state.quiet == 0;
            (state, _) = self
                .changed
                .wait_timeout_while(state, nap, |state| !is_awake(state))
                .unwrap_or_else(PoisonError::into_inner);
            if state.ended {
                return WakeReason::Ended;
            }
            if std::mem::take(&mut state.due) {
                return WakeReason::Due;
            }
            if !was_quiet || state.quiet > 0 {
                return WakeReason::Idle;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, SignalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_sleeps_until_work_is_due_or_the_store_closes() {
        const LONG: Duration = Duration::from_secs(600);
        let signal = MaintenanceSignal::default();
        assert_eq!(signal.sleep_for(Duration::from_millis(1)), WakeReason::Idle);
        for _ in 0..2 {
            signal.wake();
            signal.wake();
            assert_eq!(signal.sleep_for(LONG), WakeReason::Due);
            assert_eq!(signal.sleep_for(Duration::ZERO), WakeReason::Idle);
        }
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| signal.sleep_for(LONG));
            std::thread::sleep(Duration::from_millis(5));
            signal.wake();
            assert_eq!(sleeper.join().unwrap(), WakeReason::Due);
            let sleeper = scope.spawn(|| signal.sleep_for(LONG));
            std::thread::sleep(Duration::from_millis(5));
            assert!(!signal.ended());
            signal.end();
            assert_eq!(sleeper.join().unwrap(), WakeReason::Ended);
        });
        signal.wake();
        assert_eq!((signal.sleep_for(LONG), signal.ended()), (WakeReason::Ended, true));
    }

    #[test]
    fn maintenance_of_an_idle_store_sleeps_longer_until_it_is_used() {
        let (signal, unit) = (MaintenanceSignal::default(), Duration::from_millis(20));
        let nap = || {
            let begun = std::time::Instant::now();
            assert_eq!(signal.sleep_for(unit), WakeReason::Idle);
            begun.elapsed()
        };
        for times in [1, 2, 3, 4, 5, 6, 7, 8, 8, 8] {
            assert!(nap() >= unit * times);
        }
        signal.touch();
        let used = nap();
        assert!(unit <= used && used < unit * 7, "{used:?}");
        // A use of the store ends a long sleep.
        for _ in 0..8 {
            nap();
        }
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| signal.sleep_for(Duration::from_millis(300)));
            std::thread::sleep(Duration::from_millis(50));
            let begun = std::time::Instant::now();
            signal.touch();
            assert_eq!(sleeper.join().unwrap(), WakeReason::Idle);
            assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
        });
    }
}
