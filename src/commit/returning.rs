//! Callers that were answered and come back with their next appends.
//!
//! The callers of a group wake together. If the first one that came back ran a group at once, it
//! would be alone in it, and the others would wait for its sync, as well as for their own. So a
//! leader waits as long as they come back one soon after the other. That takes processor time from
//! nobody, and costs little where they do not come: a pause ends it, and after a wait in vain the
//! next groups do not wait.

use std::time::Duration;

use crate::sync::Instant;

/// The longest pause between two callers that come back.
const MAX_PAUSE: Duration = Duration::from_micros(50);
/// The longest wait of a group.
const MAX_WAIT: Duration = Duration::from_millis(1);
/// After this many waits in vain, the number of groups that do not wait stops doubling.
const MAX_FAILURES: u32 = 6;

/// How many callers are to come back.
#[derive(Debug)]
pub struct Returning {
    max_pause: Duration,
    max_wait: Duration,
    left: usize,
    /// When they were answered.
    answered: Option<Instant>,
    /// How many waits in a row were in vain.
    failures: u32,
    /// How many of the next groups do not wait.
    skips: u32,
}

/// A leader's wait.
#[derive(Debug)]
pub struct Wait {
    begun: Instant,
    /// When the last caller came.
    last: Instant,
    /// How many callers were away when it began, and then.
    first_left: usize,
    left: usize,
}

impl Default for Returning {
    fn default() -> Self {
        Returning {
            max_pause: MAX_PAUSE,
            max_wait: MAX_WAIT,
            left: 0,
            answered: None,
            failures: 0,
            skips: 0,
        }
    }
}

impl Returning {
    /// Returns callers for whom a test has the leader wait until they come.
    #[cfg(test)]
    pub fn certain(callers: usize) -> Self {
        let long = Duration::from_secs(3_600);
        let mut returning = Returning { max_pause: long, max_wait: long, ..Returning::default() };
        returning.answer(callers);
        returning
    }

    /// Notes that so many callers are about to be answered.
    pub fn answer(&mut self, callers: usize) {
        (self.left, self.answered) = (callers, Some(Instant::now()));
    }

    /// Notes that a caller has come.
    pub fn join(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Begins the wait of a leader. Returns `None` if it does not pay to wait.
    pub fn begin(&mut self) -> Option<Wait> {
        let (left, answered) = (self.left, self.answered?);
        if left == 0 {
            return None;
        }
        let begun = Instant::now();
        if self.skips > 0 || begun.saturating_duration_since(answered) > self.max_wait {
            self.skips = self.skips.saturating_sub(1);
            self.left = 0;
            return None;
        }
        Some(Wait { begun, last: begun, first_left: left, left })
    }

    /// Returns whether the wait is over, because all callers have come or because of a pause.
    pub fn is_over(&mut self, wait: &mut Wait) -> bool {
        if self.left > 0 {
            let now = Instant::now();
            if self.left != wait.left {
                (wait.left, wait.last) = (self.left, now);
            }
            if now.saturating_duration_since(wait.last) < self.max_pause
                && now.saturating_duration_since(wait.begun) < self.max_wait
            {
                return false;
            }
        }
        let is_in_vain = 2 * self.left > wait.first_left;
        self.failures = if is_in_vain { (self.failures + 1).min(MAX_FAILURES) } else { 0 };
        self.skips = (1 << self.failures) - 1;
        self.left = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_waits_for_those_who_were_answered() {
        assert!(Returning::default().begin().is_none());
        let mut returning = Returning::certain(1);
        returning.join();
        assert!(returning.begin().is_none(), "it was alone");
        returning.answer(3);
        returning.join();
        let mut wait = returning.begin().unwrap();
        assert!(!returning.is_over(&mut wait));
        returning.join();
        assert!(!returning.is_over(&mut wait));
        returning.join();
        assert!(returning.is_over(&mut wait));
        assert!(returning.begin().is_none());
    }

    #[test]
    fn after_waits_in_vain_ever_more_groups_do_not_wait() {
        let mut returning = Returning::certain(0);
        let mut skipped = Vec::new();
        for _ in 0..8 {
            let mut skips = 0;
            let mut wait = loop {
                returning.answer(3);
                returning.join();
                match returning.begin() {
                    Some(wait) => break wait,
                    None => skips += 1,
                }
            };
            skipped.push(skips);
            returning.max_wait = Duration::ZERO;
            assert!(returning.is_over(&mut wait));
            returning.max_wait = returning.max_pause;
        }
        assert_eq!(skipped, [0, 1, 3, 7, 15, 31, 63, 63]);
        returning.skips = 0;
        // Of two callers one comes: that was worth it.
        returning.answer(3);
        returning.join();
        let mut wait = returning.begin().unwrap();
        returning.join();
        returning.max_wait = Duration::ZERO;
        assert!(returning.is_over(&mut wait));
        assert_eq!((returning.failures, returning.skips), (0, 0));
    }
}
