//! How much a search may do before it stops.

use std::cell::Cell;
use std::time::Instant;

/// The limits of a search. Once one is reached, the search stops and says how far it came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limit<'a> {
    /// The time at which it stops.
    pub until: Option<Instant>,
    /// The work that it may do, together with other searches.
    pub work: Option<&'a Work>,
}

impl Limit<'_> {
    /// Returns whether a limit is reached.
    pub fn is_reached(&self) -> bool {
        self.work.is_some_and(|work| work.left.get() == 0)
            || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Counts work that was done.
    pub fn count(&self, done: u64) {
        if let Some(work) = self.work {
            work.left.set(work.left.get().saturating_sub(done));
        }
    }
}

/// The work that is left to searches. A row that is read, a list that is looked up, and an event in
/// memory that has an id which is looked up, count 1.
///
/// It is counted and not timed, so whether it suffices does not depend on the machine.
#[derive(Debug)]
pub struct Work {
    left: Cell<u64>,
}

impl Work {
    /// Returns so much work.
    pub fn new(amount: u64) -> Self {
        Work { left: Cell::new(amount) }
    }
}
