//! An append request: `{"events": [...], "condition": one object or a list of them}`.

use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

use crate::domain::{AppendRequest, Event};
use crate::error::Error;
use crate::json::condition::ConditionsIn;
use crate::json::event::EventIn;
use crate::json::fast_path;
use crate::json::path::JsonPath;
use crate::json::visitor::{As, Seen, Shape, keys, read_document};

/// Parses an append request.
pub fn parse_append(request: &[u8]) -> crate::Result<AppendRequest> {
    read_document("request", request, fast_path::append, |path, json| {
        As(AppendIn(path)).deserialize(json)
    })
}

/// Parses an append request as [`parse_append`] does, without the fast path.
#[cfg(test)]
pub fn parse_append_slow(request: &[u8]) -> crate::Result<AppendRequest> {
    let no_fast_path = |_: &str| None;
    read_document("request", request, no_fast_path, |path, json| {
        As(AppendIn(path)).deserialize(json)
    })
}

keys!(Key { Events = "events", Condition = "condition" });

struct AppendIn<'t>(&'t mut JsonPath);

impl<'de> Shape<'de> for AppendIn<'_> {
    type Value = AppendRequest;
    const KIND: &'static str = "an object";

    fn path(&mut self) -> &mut JsonPath {
        self.0
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<AppendRequest, A::Error> {
        let path = self.0;
        let (mut events, mut conditions) = (None, Vec::new());
        let mut seen = Seen::default();
        while let Some(key) = seen.next_key(path, &mut object)? {
            match key {
                Key::Events => events = Some(object.next_value_seed(As(EventsIn(path)))?),
                Key::Condition => conditions = object.next_value_seed(As(ConditionsIn(path)))?,
            }
            path.leave();
        }
        let Some(events) = events else {
            path.enter_key("events");
            return Err(path.refuse("is missing"));
        };
        AppendRequest::new(events, conditions).map_err(|error| path.fail_within(error))
    }
}

struct EventsIn<'t>(&'t mut JsonPath);

impl<'de> Shape<'de> for EventsIn<'_> {
    type Value = Vec<Event>;
    const KIND: &'static str = "a list of objects";

    fn path(&mut self) -> &mut JsonPath {
        self.0
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Event>, A::Error> {
        let path = self.0;
        let (mut events, mut tags) = (Vec::new(), Vec::new());
        loop {
            path.enter_index(events.len());
            let event = EventIn { path, index: events.len(), tags: &mut tags };
            let Some(event) = list.next_element_seed(As(event))? else { break };
            if events.try_reserve(1).is_err() {
                return Err(path.fail(Error::no_memory("the events of the append")));
            }
            events.push(event);
            path.leave();
        }
        path.leave();
        Ok(events)
    }
}
