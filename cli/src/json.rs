//! Events as JSON text.

use std::io::Write;

use dcb::EventView;

use crate::output::Field;
use crate::time;

/// Adds the event to `json` as an object with these fields, in this order. A field that the event
/// does not have is left out.
pub fn event(json: &mut Vec<u8>, event: &EventView<'_>, fields: &[Field]) {
    json.push(b'{');
    let mut is_first = true;
    for field in fields {
        let has_field = match field {
            Field::Id => event.id.is_some(),
            Field::Metadata => event.metadata.is_some(),
            _ => true,
        };
        if !has_field {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            json.push(b',');
        }
        json.push(b'"');
        json.extend_from_slice(field.name().as_bytes());
        json.extend_from_slice(b"\":");
        match field {
            Field::Position => {
                // Memory cannot fail.
                let _ = write!(json, "{}", event.position);
            }
            Field::Type => string(json, event.event_type),
            Field::Tags => tags(json, event),
            Field::Data => value(json, event.data),
            Field::Id => string(json, event.id.unwrap_or_default()),
            Field::Metadata => value(json, event.metadata.unwrap_or_default()),
            Field::Timestamp => {
                json.push(b'"');
                time::add_utc(json, event.timestamp_us);
                json.push(b'"');
            }
        }
    }
    json.push(b'}');
}

/// Adds the event's tags as a list.
pub fn tags(json: &mut Vec<u8>, event: &EventView<'_>) {
    json.push(b'[');
    for (index, tag) in event.tags.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        string(json, tag);
    }
    json.push(b']');
}

/// Adds a string with its quotes and escapes.
pub fn string(json: &mut Vec<u8>, text: &str) {
    // Neither a string nor memory can fail.
    let _ = serde_json::to_writer(json, text);
}

/// Adds a JSON text on one line. Line breaks can only be white space between its parts, and become
/// blanks.
pub fn value(json: &mut Vec<u8>, text: &str) {
    let start = json.len();
    json.extend_from_slice(text.as_bytes());
    for byte in &mut json[start..] {
        // Without a branch, so that it is done for many bytes at once.
        *byte = if matches!(*byte, b'\n' | b'\r') { b' ' } else { *byte };
    }
}

#[cfg(test)]
mod tests {
    use dcb::{EventBuilder, EventId, EventType, Position, Tag};

    use super::*;

    #[test]
    fn an_event_is_one_line_with_its_keys_in_order() {
        let mut builder = EventBuilder::new(EventType::new("A\n\"").unwrap());
        builder.tag(Tag::new("k:v").unwrap()).unwrap();
        builder.tag(Tag::new("b").unwrap()).unwrap();
        builder.data("{\n \"a\": 1e400\r}").unwrap();
        let plain = builder.build();
        builder.id(EventId::new("i").unwrap());
        builder.metadata("{}").unwrap();
        let full = builder.build();
        let text = |event: &EventView<'_>| {
            let mut json = Vec::new();
            super::event(&mut json, event, &Field::ALL);
            String::from_utf8(json).unwrap()
        };
        assert_eq!(
            text(&plain.view(Position::from(7), 1)),
            r#"{"position":7,"type":"A\n\"","tags":["k:v","b"],"data":{  "a": 1e400 },"timestamp":"1970-01-01T00:00:00.000001Z"}"#
        );
        assert_eq!(
            text(&full.view(Position::from(7), 1)),
            r#"{"position":7,"type":"A\n\"","tags":["k:v","b"],"data":{  "a": 1e400 },"id":"i","metadata":{},"timestamp":"1970-01-01T00:00:00.000001Z"}"#
        );
    }
}
