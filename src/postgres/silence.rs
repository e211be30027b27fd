//! Which hosts of a store were silent, so that not every connection waits for them first.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::postgres::failure::Failure;

/// How long a host that was silent is tried after the others.
const MEMORY: Duration = Duration::from_secs(60);
/// How long a host may take to answer before it counts as silent. A call with less time says nothing.
const PATIENCE: Duration = Duration::from_millis(200);

/// Which hosts were silent.
#[derive(Debug)]
pub struct Silence {
    /// When each host was last found silent, if it has not answered since.
    found: Mutex<Vec<Option<Instant>>>,
}

impl Silence {
    /// Returns the memory of this many hosts, of which none was silent.
    pub fn new(hosts: usize) -> Self {
        Silence { found: Mutex::new(vec![None; hosts]) }
    }

    /// Returns the order in which the hosts are tried at a time: the given one, but with those last
    /// that were silent in the minute before.
    pub fn order(&self, now: Instant) -> Vec<usize> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let is_silent = |&host: &usize| {
            found[host].is_some_and(|then| now.saturating_duration_since(then) < MEMORY)
        };
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by_key(is_silent);
        order
    }

    /// Notes how a try to connect to a host, begun at a time, ended now.
    pub fn note(&self, host: usize, begun: Instant, now: Instant, failure: Option<&Failure>) {
        let is_silent = match failure {
            Some(Failure::Late | Failure::Broken(_)) => {
                if now.saturating_duration_since(begun) < PATIENCE {
                    return;
                }
                true
            }
            Some(Failure::Stopped(_)) => return,
            _ => false,
        };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found[host] = is_silent.then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_host_is_tried_last_for_a_minute_or_until_it_answers() {
        let silence = Silence::new(3);
        let begun = Instant::now();
        let after = |ms| begun + Duration::from_millis(ms);
        assert_eq!(silence.order(begun), [0, 1, 2]);
        // Too little time to tell.
        silence.note(0, begun, after(199), Some(&Failure::Late));
        assert_eq!(silence.order(after(199)), [0, 1, 2]);
        silence.note(0, begun, after(200), Some(&Failure::Late));
        assert_eq!(silence.order(after(200)), [1, 2, 0]);
        silence.note(1, begun, after(3_000), Some(&Failure::Broken("no route".to_owned())));
        assert_eq!(silence.order(after(3_000)), [2, 0, 1]);
        // A server that has another role than is asked for is there.
        silence.note(1, begun, after(4_000), Some(&Failure::Unsuitable(String::new())));
        assert_eq!(silence.order(after(4_000)), [1, 2, 0]);
        assert_eq!(silence.order(after(60_199)), [1, 2, 0]);
        assert_eq!(silence.order(after(60_200)), [0, 1, 2]);
        silence.note(2, begun, after(61_000), Some(&Failure::Late));
        silence.note(2, begun, after(62_000), None);
        assert_eq!(silence.order(after(62_000)), [0, 1, 2]);
    }
}
