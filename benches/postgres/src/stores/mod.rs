//! The stores that this program drives itself.

mod bare;
mod libdcb;
mod plain;

use crate::load::Event;

pub use bare::Bare;
pub use libdcb::Libdcb;
pub use plain::Plain;

/// A condition: no event with this tag lies above this position.
pub type Condition<'a> = Option<(&'a str, u64)>;

/// A store under measurement.
pub trait Subject: Send + Sync {
    /// Appends durably. Returns whether the condition held.
    fn append(&self, events: &[Event], condition: Condition<'_>) -> bool;

    /// Reads the events above a position that have a tag, or all of them. Returns how many there
    /// are and the position up to which they are complete.
    fn read(&self, tag: Option<&str>, after: u64) -> (u64, u64);

    /// Waits until there is an event above a position.
    fn wait(&self, after: u64);
}
