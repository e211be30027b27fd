//! Who writes next: one append at a time, in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::call::Patience;
use crate::error::{Error, Result, Status};

/// A lock that is handed on in order, and waited for no longer than a call's patience lasts.
#[derive(Debug, Default)]
pub struct Turn {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: bool,
    /// The tickets of those who wait, the first to come in front.
    waiting: VecDeque<u64>,
    last_ticket: u64,
}

/// The turn, until it is dropped.
#[derive(Debug)]
pub struct TurnGuard<'a>(&'a Turn);

impl Turn {
    /// The turn, as soon as those who came before have had theirs.
    pub fn take(&self, patience: &Patience) -> Result<TurnGuard<'_>> {
        let mut state = self.state();
        if !state.taken && state.waiting.is_empty() {
            state.taken = true;
            return Ok(TurnGuard(self));
        }
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        state.waiting.push_back(ticket);
        let outcome = loop {
            if !state.taken && state.waiting.front() == Some(&ticket) {
                state.taken = true;
                break Ok(TurnGuard(self));
            }
            if let Err(error) = patience.check_cancel() {
                break Err(error);
            }
            if patience.is_over() {
                break Err(Error::new(
                    Status::Busy,
                    "other appends were before this one for longer than the time given",
                ));
            }
            state = patience.sleep_on(&self.changed, state, None);
        };
        state.waiting.retain(|own| *own != ticket);
        let others_wait = !state.waiting.is_empty();
        drop(state);
        if others_wait && outcome.is_err() {
            self.changed.notify_all();
        }
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.0.state().taken = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::call::{Call, Timeout};

    #[test]
    fn turns_are_had_in_order_and_given_up_in_time() {
        let turn = Turn::default();
        let first = turn.take(&Call::default().start(None)).unwrap();
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for n in 0..3 {
                let (turn, order) = (&turn, &order);
                scope.spawn(move || {
                    let _own = turn.take(&Call::default().start(None)).unwrap();
                    order.lock().unwrap().push(n);
                });
                while turn.state().waiting.len() <= n {
                    thread::yield_now();
                }
            }
            let short = Timeout::After(Duration::from_millis(5));
            let late = Call { timeout: short, cancel: None }.start(None);
            assert_eq!(turn.take(&late).unwrap_err().status, Status::Busy);
            drop(first);
        });
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        assert!(turn.state().waiting.is_empty());
    }
}
