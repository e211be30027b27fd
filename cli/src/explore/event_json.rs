//! Events as the page gets them.

use dcb::EventView;
use serde::Serialize;

/// How many bytes of the data a list shows.
const PREVIEW_BYTES: usize = 240;
/// How many tags of an event a list shows.
const PREVIEW_TAGS: usize = 24;
/// How many bytes of the data, and of the metadata, the details of an event show.
const SHOWN_BYTES: usize = 256 << 10;

/// An event in a list: its data and its tags may be cut.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub position: i64,
    pub timestamp_us: i64,
    #[serde(rename = "type")]
    event_type: String,
    tags: Vec<String>,
    more_tags: usize,
    /// The beginning of the JSON text of the data.
    data: String,
    data_bytes: usize,
}

impl Summary {
    /// Returns the summary of an event.
    pub fn of(event: &EventView<'_>) -> Self {
        Summary {
            position: event.position.get(),
            timestamp_us: event.timestamp_us,
            event_type: event.event_type.to_owned(),
            tags: event.tags.iter().take(PREVIEW_TAGS).map(str::to_owned).collect(),
            more_tags: event.tags.len().saturating_sub(PREVIEW_TAGS),
            data: beginning(event.data, PREVIEW_BYTES).to_owned(),
            data_bytes: event.data.len(),
        }
    }
}

/// An event with all its tags. Long data is cut; it can be downloaded.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    position: i64,
    pub timestamp_us: i64,
    #[serde(rename = "type")]
    event_type: String,
    tags: Vec<String>,
    id: Option<String>,
    data: String,
    data_bytes: usize,
    metadata: Option<String>,
    metadata_bytes: usize,
}

impl Details {
    /// Returns the details of an event.
    pub fn of(event: &EventView<'_>) -> Self {
        Details {
            position: event.position.get(),
            timestamp_us: event.timestamp_us,
            event_type: event.event_type.to_owned(),
            tags: event.tags.iter().map(str::to_owned).collect(),
            id: event.id.map(str::to_owned),
            data: beginning(event.data, SHOWN_BYTES).to_owned(),
            data_bytes: event.data.len(),
            metadata: event.metadata.map(|text| beginning(text, SHOWN_BYTES).to_owned()),
            metadata_bytes: event.metadata.map_or(0, str::len),
        }
    }
}

/// Returns the beginning of `text`, at most `bytes` long, without half a character.
fn beginning(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use dcb::Tags;

    #[test]
    fn a_summary_is_bounded_and_cuts_no_character() {
        let data = format!("\"{}\"", "ä".repeat(1_000));
        let names: Vec<String> = (0..100).map(|index| format!("tag:{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let view = EventView {
            position: dcb::Position::from(7),
            timestamp_us: 9,
            event_type: "A",
            tags: Tags::listed(&names),
            data: &data,
            id: None,
            metadata: None,
            packed: None,
        };
        let summary = Summary::of(&view);
        assert_eq!((summary.data.len(), summary.data_bytes), (239, 2_002));
        assert_eq!((summary.tags.len(), summary.more_tags), (24, 76));
        assert_eq!(Details::of(&view).tags.len(), 100);
    }
}
