//! An event, going in.

use std::borrow::Cow;

use serde::de::MapAccess;

use crate::domain::{Event, EventBuilder, EventId, EventType, Tag};
use crate::error::Error;
use crate::json::depth;
use crate::json::path::JsonPath;
use crate::json::visitor::{As, OptionalText, Raw, Seen, Shape, Text, Texts, keys};
use crate::limits::{MAX_EVENTS_PER_APPEND, MAX_TAGS_PER_EVENT};

keys!(Key { Type = "type", Tags = "tags", Data = "data", Id = "id", Metadata = "metadata" });

/// What the data of an event stands in: the request, its list of events, the event.
const OUTER_LEVELS: usize = 3;

/// The event at `index` of an append.
pub(super) struct EventIn<'t, 'de> {
    pub trail: &'t mut JsonPath,
    pub index: usize,
    /// Room for the tags, used again from event to event.
    pub tags: &'t mut Vec<Cow<'de, str>>,
}

impl<'de> Shape<'de> for EventIn<'_, 'de> {
    type Value = Event;
    const KIND: &'static str = "an object";

    fn trail(&mut self) -> &mut JsonPath {
        self.trail
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Event, A::Error> {
        let EventIn { trail, index, tags } = self;
        if index >= MAX_EVENTS_PER_APPEND {
            return Err(trail.fail(Error::too_large(format!(
                "more than {MAX_EVENTS_PER_APPEND} events in an append"
            ))));
        }
        let (mut event_type, mut id, mut data, mut metadata) = (None, None, None, None);
        tags.clear();
        let mut seen = Seen::default();
        while let Some(key) = seen.next_key(trail, &mut object)? {
            match key {
                Key::Type => event_type = Some(object.next_value_seed(Text(trail))?),
                Key::Tags => {
                    let take = |tag| {
                        if tags.len() == MAX_TAGS_PER_EVENT {
                            return Err(Error::too_large(format!(
                                "more than {MAX_TAGS_PER_EVENT} tags on an event"
                            )));
                        }
                        tags.push(tag);
                        Ok(())
                    };
                    object.next_value_seed(As(Texts { trail, take }))?;
                }
                Key::Data => {
                    let json = object.next_value_seed(Raw)?;
                    depth::check(json, OUTER_LEVELS).map_err(|error| trail.fail(error))?;
                    data = Some(json);
                }
                Key::Id => id = object.next_value_seed(OptionalText(trail))?,
                Key::Metadata => match object.next_value_seed(Raw)? {
                    "null" => {}
                    json if json.starts_with('{') => {
                        depth::check(json, OUTER_LEVELS).map_err(|error| trail.fail(error))?;
                        metadata = Some(json);
                    }
                    _ => return Err(trail.refuse("must be an object or null")),
                },
            }
            trail.leave();
        }
        let Some(event_type) = &event_type else {
            trail.enter_key("type");
            return Err(trail.refuse("is missing"));
        };

        // The rules of the domain, each named with the place that breaks it.
        let mut within = |key, error| {
            trail.enter_key(key);
            trail.fail(error)
        };
        let event_type = EventType::new(event_type).map_err(|error| within("type", error))?;
        let mut event = EventBuilder::new(event_type);
        if let Some(data) = data {
            event.data(data).map_err(|error| within("data", error))?;
        }
        if let Some(id) = &id {
            event.id(EventId::new(id).map_err(|error| within("id", error))?);
        }
        if let Some(metadata) = metadata {
            event.metadata(metadata).map_err(|error| within("metadata", error))?;
        }
        for (index, tag) in tags.iter().enumerate() {
            Tag::new(tag).and_then(|tag| event.tag(tag)).map_err(|error| {
                trail.enter_key("tags");
                trail.enter_index(index);
                trail.fail::<A::Error>(error)
            })?;
        }
        event.try_build().map_err(|error| trail.fail(error))
    }
}
