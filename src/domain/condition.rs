//! The condition that guards an append.

use crate::domain::{EventView, Query};
use crate::position::Position;

/// A condition under which an append fails: a stored event above `after` matches `query`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendCondition {
    query: Query,
    after: Position,
}

impl AppendCondition {
    /// Returns a condition on the events above the position `after`, which is every event if it is
    /// [`Position::START`].
    pub fn new(query: Query, after: Position) -> Self {
        AppendCondition { query, after }
    }

    /// Returns the query that no event above [`AppendCondition::after`] may match.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Returns the position up to which the caller knows the events.
    pub fn after(&self) -> Position {
        self.after
    }

    /// Raises [`AppendCondition::after`] to `position`, up to which no event is known to match. A
    /// lower position changes nothing.
    pub(crate) fn raise_after(&mut self, position: Position) {
        self.after = self.after.max(position);
    }

    /// Returns whether `event` makes the append fail.
    pub fn fails_on(&self, event: &EventView<'_>) -> bool {
        event.position > self.after && self.query.matches(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventBuilder, EventType, QueryItem};
    use crate::position::at;

    #[test]
    fn only_a_matching_event_above_after_fails_an_append() {
        let mut item = QueryItem::new();
        item.or_type(EventType::new("A").unwrap()).unwrap();
        let condition = AppendCondition::new(Query::of(vec![item]).unwrap(), at(4));
        let fails_on = |event_type: &str, position| {
            let event = EventBuilder::new(EventType::new(event_type).unwrap()).build();
            condition.fails_on(&event.view(position, 0))
        };
        assert!(fails_on("A", at(5)));
        assert!(!fails_on("A", at(4)));
        assert!(!fails_on("B", at(5)));
    }
}
