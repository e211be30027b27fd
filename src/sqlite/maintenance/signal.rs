//! What the maintenance thread sleeps on.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What maintenance sleeps on.
#[derive(Debug, Default)]
pub struct Chores {
    state: Mutex<ChoresState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ChoresState {
    due: bool,
    ended: bool,
}

/// Why maintenance woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waking {
    /// There is work.
    Due,
    /// Nothing happened for as long as was asked.
    Idle,
    /// The store closes.
    Ended,
}

impl Chores {
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
    pub fn sleep(&self, idle: Duration) -> Waking {
        let state = self.state();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, idle, |state| !state.due && !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            Waking::Ended
        } else if std::mem::take(&mut state.due) {
            Waking::Due
        } else {
            Waking::Idle
        }
    }

    fn state(&self) -> MutexGuard<'_, ChoresState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_sleeps_until_there_is_work_or_the_end() {
        const LONG: Duration = Duration::from_secs(600);
        let chores = Chores::default();
        assert_eq!(chores.sleep(Duration::from_millis(1)), Waking::Idle);
        for _ in 0..2 {
            chores.wake();
            chores.wake();
            assert_eq!(chores.sleep(LONG), Waking::Due);
            assert_eq!(chores.sleep(Duration::ZERO), Waking::Idle);
        }
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| chores.sleep(LONG));
            std::thread::sleep(Duration::from_millis(5));
            chores.wake();
            assert_eq!(sleeper.join().unwrap(), Waking::Due);
            let sleeper = scope.spawn(|| chores.sleep(LONG));
            std::thread::sleep(Duration::from_millis(5));
            assert!(!chores.ended());
            chores.end();
            assert_eq!(sleeper.join().unwrap(), Waking::Ended);
        });
        chores.wake();
        assert_eq!((chores.sleep(LONG), chores.ended()), (Waking::Ended, true));
    }
}
