//! Events as CloudEvents 1.0 in JSON.
//!
//! The attributes of an event of a store that CloudEvents does not have are extensions:
//! `dcbposition`, `dcbtags` and `dcbmetadata`, which are JSON in a string, and `dcbnoid`, which is
//! true if the event has no id. Its position then stands for the id that CloudEvents requires.

use dcb::EventView;

use crate::json;
use crate::time;

/// The source of every CloudEvent, which the specification requires.
const SOURCE: &str = "urn:dcb";

/// Adds an event as a CloudEvent.
pub fn write(text: &mut Vec<u8>, event: &EventView<'_>) {
    let position = event.position.to_string();
    text.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":");
    json::string(text, event.id.unwrap_or(&position));
    text.extend_from_slice(b",\"source\":");
    json::string(text, SOURCE);
    text.extend_from_slice(b",\"type\":");
    json::string(text, event.event_type);
    text.extend_from_slice(b",\"time\":");
    json::string(text, &time::utc(event.timestamp_us));
    text.extend_from_slice(b",\"datacontenttype\":\"application/json\",\"dcbposition\":");
    json::string(text, &position);
    text.extend_from_slice(b",\"dcbtags\":");
    let mut tags = Vec::new();
    json::tags(&mut tags, event);
    json::string(text, &String::from_utf8_lossy(&tags));
    if let Some(metadata) = event.metadata {
        text.extend_from_slice(b",\"dcbmetadata\":");
        json::string(text, metadata);
    }
    if event.id.is_none() {
        text.extend_from_slice(b",\"dcbnoid\":true");
    }
    text.extend_from_slice(b",\"data\":");
    json::value(text, event.data);
    text.push(b'}');
}
