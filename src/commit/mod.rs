//! The group commit protocol: what threads queue for, what they wait on, and which commits they may
//! see. It knows neither SQL nor files.
//!
//! `tests/model` compiles this folder with its own locks and clock (`crate::sync`), and explores
//! many interleavings of its threads.

pub mod deadline;
pub mod durability;
pub mod fair_mutex;
pub mod fair_queue;
pub mod group_commit;
pub mod head_watch;
pub mod visibility;

use crate::position::Position;

/// An append that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The position of its last event.
    pub last: Position,
    /// Whether its events had been stored already, by an earlier append with the same ids.
    pub is_repeated: bool,
}

impl Appended {
    /// An append that stored its events, the last one at this position.
    pub fn new(last: Position) -> Self {
        Appended { last, is_repeated: false }
    }

    /// An append of events that were stored already, the last one at this position.
    pub fn repeated(last: Position) -> Self {
        Appended { last, is_repeated: true }
    }
}
