//! An event in an append request.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, MapAccess};

use crate::domain::{Event, EventBuilder, EventId, EventType, Tag};
use crate::error::Error;
use crate::json::depth;
use crate::json::path::JsonPath;
use crate::json::timestamp;
use crate::json::visitor::{As, OptionalText, Raw, Seen, Shape, Text, Texts, keys, read_document};
use crate::limits::{MAX_EVENTS_PER_APPEND, MAX_TAGS_PER_EVENT};

keys!(Key {
    Type = "type",
    Tags = "tags",
    Data = "data",
    Id = "id",
    Metadata = "metadata",
    Timestamp = "timestamp",
});

/// The levels of nesting around the data of an event: the request, its list of events, the event.
const OUTER_LEVELS: usize = 3;

impl Event {
    /// Parses an event to append: `{"type": "CourseDefined", "tags": ["course:c1"], "data": any
    /// JSON, "id": optional, "metadata": optional object, "timestamp": optional}`. The limits are those of a request.
    pub fn from_json(json: &str) -> crate::Result<Event> {
        let no_fast_path = |_: &str| None;
        read_document("event", json.as_bytes(), no_fast_path, |path, json| {
            As(EventIn { path, index: 0, tags: &mut Vec::new() }).deserialize(json)
        })
    }
}

/// Reads the event at `index` of an append.
pub(super) struct EventIn<'t, 'de> {
    pub path: &'t mut JsonPath,
    pub index: usize,
    /// A list for the tags, whose memory is reused from event to event.
    pub tags: &'t mut Vec<Cow<'de, str>>,
}

impl<'de> Shape<'de> for EventIn<'_, 'de> {
    type Value = Event;
    const KIND: &'static str = "an object";

    fn path(&mut self) -> &mut JsonPath {
        self.path
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Event, A::Error> {
        let EventIn { path, index, tags } = self;
        if index >= MAX_EVENTS_PER_APPEND {
            return Err(path.fail(Error::too_large(format!(
                "more than {MAX_EVENTS_PER_APPEND} events in an append"
            ))));
        }
        let (mut event_type, mut id, mut data, mut metadata) = (None, None, None, None);
        let mut time = None;
        tags.clear();
        let mut seen = Seen::default();
        while let Some(key) = seen.next_key(path, &mut object)? {
            match key {
                Key::Type => event_type = Some(object.next_value_seed(Text(path))?),
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
                    object.next_value_seed(As(Texts { path, take }))?;
                }
                Key::Data => {
                    let json = object.next_value_seed(Raw)?;
                    depth::check(json, OUTER_LEVELS).map_err(|error| path.fail(error))?;
                    data = Some(json);
                }
                Key::Id => id = object.next_value_seed(OptionalText(path))?,
                Key::Timestamp => {
                    if let Some(text) = object.next_value_seed(OptionalText(path))? {
                        let Some(micros) = timestamp::parse(&text) else {
                            return Err(path.refuse(
                                "must be a time in UTC such as \"2026-11-23T04:12:17.123456Z\"",
                            ));
                        };
                        time = Some(micros);
                    }
                }
                Key::Metadata => match object.next_value_seed(Raw)? {
                    "null" => {}
                    json if json.starts_with('{') => {
                        depth::check(json, OUTER_LEVELS).map_err(|error| path.fail(error))?;
                        metadata = Some(json);
                    }
                    _ => return Err(path.refuse("must be an object or null")),
                },
            }
            path.leave();
        }
        let Some(event_type) = &event_type else {
            path.enter_key("type");
            return Err(path.refuse("is missing"));
        };

        // An error of a domain rule names the key whose value breaks it.
        let mut within = |key, error| {
            path.enter_key(key);
            path.fail(error)
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
        if let Some(micros) = time {
            event.timestamp_us(micros).map_err(|error| within("timestamp", error))?;
        }
        for (index, tag) in tags.iter().enumerate() {
            Tag::new(tag).and_then(|tag| event.tag(tag)).map_err(|error| {
                path.enter_key("tags");
                path.enter_index(index);
                path.fail::<A::Error>(error)
            })?;
        }
        event.try_build().map_err(|error| path.fail(error))
    }
}
