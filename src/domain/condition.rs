//! What guards an append.

use super::{EventView, Query};

/// The append fails if an event that matches `query` has a position above `after`.
#[derive(Debug, Clone)]
pub struct Condition {
    query: Query,
    after: i64,
}

impl Condition {
    /// `after`: 0 or -1 counts every event; less is an error.
    pub fn new(query: Query, after: i64) -> crate::Result<Self> {
        if after < -1 {
            return Err(crate::Error::invalid("after: must be -1 or more"));
        }
        Ok(Condition { query, after: after.max(0) })
    }

    /// The events that the append must not meet.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The position up to which the caller knows the events; 0 or more.
    pub fn after(&self) -> i64 {
        self.after
    }

    /// Whether `event` makes the append fail.
    pub fn fails_on(&self, event: &EventView<'_>) -> bool {
        event.position > self.after && self.query.matches(event)
    }
}
