//! What is known of an append's ids before its group runs.

use crate::position::Position;

/// The first ids of an append as snapshots have them.
#[derive(Debug, Default)]
pub struct KnownIds {
    /// The lowest head of the snapshots, up to which every id was looked up.
    pub through: Position,
    /// The highest head of the snapshots.
    pub head: Position,
    /// For each event, the position at which its id is stored in a snapshot, and whether the event
    /// there is the same.
    pub found: Vec<Option<(Position, bool)>>,
}

impl KnownIds {
    /// Adds what a snapshot with this head has of the next ids.
    pub fn add(&mut self, head: Position, found: Vec<Option<(Position, bool)>>) {
        self.through = if self.found.is_empty() { head } else { self.through.min(head) };
        self.head = self.head.max(head);
        self.found.extend(found);
    }
}
