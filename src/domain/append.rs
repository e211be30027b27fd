//! One append, and the rules that concern more than one event.

use smallvec::SmallVec;

use crate::domain::{AppendCondition, Event};

/// One append: its events, and the conditions that guard it.
///
/// Made by [`AppendRequest::new`], which holds the rules that concern more than one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRequest {
    events: SmallVec<[Event; 1]>,
    conditions: SmallVec<[AppendCondition; 1]>,
}

impl AppendRequest {
    /// At least one event; ids on all of them or on none, no two alike.
    pub fn new(events: Vec<Event>, conditions: Vec<AppendCondition>) -> crate::Result<Self> {
        Self::of(events.into(), conditions.into())
    }

    /// The same, of lists that need no allocation where they have one element.
    pub fn of(
        events: SmallVec<[Event; 1]>,
        conditions: SmallVec<[AppendCondition; 1]>,
    ) -> crate::Result<Self> {
        use crate::Error;
        if events.is_empty() {
            return Err(Error::invalid("events: an append needs at least one event"));
        }
        if events.len() > crate::limits::MAX_EVENTS_PER_APPEND {
            return Err(Error::too_large(format!(
                "events: more than {} events in an append",
                crate::limits::MAX_EVENTS_PER_APPEND
            )));
        }
        if conditions.len() > crate::limits::MAX_CONDITIONS_PER_APPEND {
            return Err(Error::too_large(format!(
                "condition: more than {} conditions in an append",
                crate::limits::MAX_CONDITIONS_PER_APPEND
            )));
        }
        let with_id = events.iter().filter(|event| event.id().is_some()).count();
        if with_id != 0 {
            if with_id != events.len() {
                return Err(Error::invalid(
                    "events: either every event of an append has an id, or none has",
                ));
            }
            let mut seen = std::collections::HashMap::new();
            seen.try_reserve(with_id).map_err(|_| Error::no_memory("so many ids"))?;
            for (index, event) in events.iter().enumerate() {
                if let Some(first) = seen.insert(event.id(), index) {
                    return Err(Error::invalid(format!(
                        "events[{index}].id: the same id as events[{first}]"
                    )));
                }
            }
        }
        Ok(AppendRequest { events, conditions })
    }

    /// The events, in order; never none.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The conditions; all of them have to hold.
    pub fn conditions(&self) -> &[AppendCondition] {
        &self.conditions
    }

    /// The parts, for a store that keeps the events.
    pub fn into_parts(self) -> (SmallVec<[Event; 1]>, SmallVec<[AppendCondition; 1]>) {
        (self.events, self.conditions)
    }
}
