//! Events as comma-separated values (RFC 4180).

use dcb::EventView;

use crate::json;
use crate::output::Field;
use crate::time;

/// Adds the header.
pub fn header(text: &mut Vec<u8>, fields: &[Field]) {
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    text.extend_from_slice(names.join(",").as_bytes());
    text.extend_from_slice(b"\r\n");
}

/// Adds an event. Its tags are a JSON list, as a tag may have any character in it.
pub fn record(text: &mut Vec<u8>, event: &EventView<'_>, fields: &[Field]) {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        match field {
            Field::Position => text.extend_from_slice(event.position.to_string().as_bytes()),
            Field::Type => value(text, event.event_type),
            Field::Tags => {
                let mut tags = Vec::new();
                json::tags(&mut tags, event);
                value(text, &String::from_utf8_lossy(&tags));
            }
            Field::Data => value(text, event.data),
            Field::Id => value(text, event.id.unwrap_or_default()),
            Field::Metadata => value(text, event.metadata.unwrap_or_default()),
            Field::Timestamp => value(text, &time::utc(event.timestamp_us)),
        }
    }
    text.extend_from_slice(b"\r\n");
}

/// Adds a value, in quotes where that is needed.
fn value(text: &mut Vec<u8>, value: &str) {
    if !value.contains([',', '"', '\r', '\n']) {
        text.extend_from_slice(value.as_bytes());
        return;
    }
    text.push(b'"');
    text.extend_from_slice(value.replace('"', "\"\"").as_bytes());
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use dcb::{EventBuilder, EventType, Position, Tag};

    use super::*;

    #[test]
    fn what_separates_values_is_quoted() {
        let mut builder = EventBuilder::new(EventType::new("A,B").unwrap());
        builder.tag(Tag::new("k:v").unwrap()).unwrap();
        builder.data("\"x\ny\"").unwrap();
        let event = builder.build();
        let mut text = Vec::new();
        record(&mut text, &event.view(Position::from(3), 0), &Field::ALL);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "3,\"A,B\",\"[\"\"k:v\"\"]\",\"\"\"x\ny\"\"\",,,1970-01-01T00:00:00.000000Z\r\n"
        );
    }
}
