//! The condition that guards an append.

use crate::domain::{EventView, Query};

/// A condition under which an append fails: a stored event above `after` matches `query`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendCondition {
    query: Query,
    after: i64,
}

impl AppendCondition {
    /// Returns a condition on the events above the position `after`. With 0 or -1 that is every
    /// event; a lower number is an error.
    pub fn new(query: Query, after: i64) -> crate::Result<Self> {
        if after < -1 {
            return Err(crate::Error::invalid("after: must be -1 or more"));
        }
        Ok(AppendCondition { query, after: after.max(0) })
    }

    /// Returns the query that no event above [`AppendCondition::after`] may match.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Returns the position up to which the caller knows the events. It is never negative.
    pub fn after(&self) -> i64 {
        self.after
    }

    /// Raises [`AppendCondition::after`] to `position`, up to which no event is known to match. A
    /// lower position changes nothing.
    pub(crate) fn raise_after(&mut self, position: i64) {
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
    use crate::Status;
    use crate::domain::{EventBuilder, EventType, QueryItem};

    #[test]
    fn only_a_matching_event_above_after_fails_an_append() {
        let mut item = QueryItem::new();
        item.or_type(EventType::new("A").unwrap()).unwrap();
        let condition = AppendCondition::new(Query::of(vec![item]).unwrap(), 4).unwrap();
        let fails_on = |event_type: &str, position| {
            let event = EventBuilder::new(EventType::new(event_type).unwrap()).build();
            condition.fails_on(&event.view(position, 0))
        };
        assert!(fails_on("A", 5));
        assert!(!fails_on("A", 4));
        assert!(!fails_on("B", 5));
    }

    #[test]
    fn after_is_at_least_minus_one() {
        let after =
            |after| AppendCondition::new(Query::all(), after).map(|condition| condition.after());
        assert_eq!(after(7), Ok(7));
        assert_eq!(after(0), Ok(0));
        assert_eq!(after(-1), Ok(0));
        assert_eq!(after(-2).unwrap_err().status, Status::InvalidArgument);
    }
}
