//! An append request, and the rules that span several of its events.

use smallvec::SmallVec;

use crate::domain::{AppendCondition, Event};

/// An append request: the events to store, and the conditions that guard them.
///
/// [`AppendRequest::new`] checks the rules that span several events, so a request always holds
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRequest {
    events: SmallVec<[Event; 1]>,
    conditions: SmallVec<[AppendCondition; 1]>,
}

impl AppendRequest {
    /// Returns a request for at least one event. Either all events have an id or none has, and no
    /// two ids are the same.
    pub fn new(events: Vec<Event>, conditions: Vec<AppendCondition>) -> crate::Result<Self> {
        Self::of(events.into(), conditions.into())
    }

    /// Does what [`AppendRequest::new`] does, with lists that hold one element without an
    /// allocation.
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
                    "events: either every event of an append must have an id, or none",
                ));
            }
            let mut seen = std::collections::HashMap::new();
            seen.try_reserve(with_id).map_err(|_| Error::no_memory("the ids of the events"))?;
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

    /// Refuses events with a timestamp for a store that sets all of them itself.
    pub(crate) fn expect_no_timestamps(&self) -> crate::Result<()> {
        let timed = |event: &Event| event.given_timestamp_us().is_some();
        match self.events.iter().position(timed) {
            None => Ok(()),
            Some(index) => Err(crate::Error::invalid(format!(
                "events[{index}].timestamp: the store sets the time of an event, unless it is opened \
                 with the option import"
            ))),
        }
    }

    /// Returns the events in order. There is at least one.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Returns the conditions, all of which have to hold.
    pub fn conditions(&self) -> &[AppendCondition] {
        &self.conditions
    }

    /// Returns the events and the conditions, for a store that keeps the events.
    pub fn into_parts(self) -> (SmallVec<[Event; 1]>, SmallVec<[AppendCondition; 1]>) {
        (self.events, self.conditions)
    }
}
