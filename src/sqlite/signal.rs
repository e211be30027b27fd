//! What the maintenance thread sleeps on.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What maintenance sleeps on.
#[derive(Debug, Default)]
pub struct MaintenanceSignal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    due: bool,
    ended: bool,
}

/// Why maintenance woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeReason {
    /// There is work.
    Due,
    /// Nothing happened for as long as was asked.
    Idle,
    /// The store closes.
    Ended,
}

impl MaintenanceSignal {
    /// There is work.
    pub fn wake(&self) {
        let mut state = self.state();
        if !state.due {
            state.due = true;
            self.changed.notify_all();
        }
    }

    /// The store closes.
    pub fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Whether the store closes.
    pub fn ended(&self) -> bool {
        self.state().ended
    }

    /// Sleeps until there is work, or for `idle`.
    pub fn sleep(&self, idle: Duration) -> WakeReason {
        let state = self.state();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, idle, |state| !state.due && !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            WakeReason::Ended
        } else if std::mem::take(&mut state.due) {
            WakeReason::Due
        } else {
            WakeReason::Idle
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
    fn maintenance_sleeps_until_there_is_work_or_the_end() {
        const LONG: Duration = Duration::from_secs(600);
        let maintenance_signal = MaintenanceSignal::default();
        assert_eq!(maintenance_signal.sleep(Duration::from_millis(1)), WakeReason::Idle);
        for _ in 0..2 {
            maintenance_signal.wake();
            maintenance_signal.wake();
            assert_eq!(maintenance_signal.sleep(LONG), WakeReason::Due);
            assert_eq!(maintenance_signal.sleep(Duration::ZERO), WakeReason::Idle);
        }
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| maintenance_signal.sleep(LONG));
            std::thread::sleep(Duration::from_millis(5));
            maintenance_signal.wake();
            assert_eq!(sleeper.join().unwrap(), WakeReason::Due);
            let sleeper = scope.spawn(|| maintenance_signal.sleep(LONG));
            std::thread::sleep(Duration::from_millis(5));
            assert!(!maintenance_signal.ended());
            maintenance_signal.end();
            assert_eq!(sleeper.join().unwrap(), WakeReason::Ended);
        });
        maintenance_signal.wake();
        assert_eq!(
            (maintenance_signal.sleep(LONG), maintenance_signal.ended()),
            (WakeReason::Ended, true)
        );
    }
}
