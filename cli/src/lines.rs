//! Lines of a file as events: what `dcb export` writes, events without a position, and CloudEvents.

use std::borrow::Cow;
use std::collections::BTreeMap;

use dcb::limits::MAX_JSON_DEPTH;
use dcb::{Event, EventBuilder, EventId, EventType, Tag};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;
use crate::time;

/// An event of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The position that it had, if the line has one.
    pub position: Option<i64>,
    /// The event, with the time that it had, if the line has one.
    pub event: Event,
}

/// A line of `dcb export`. The texts are borrowed where they have no escapes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Native<'a> {
    position: Option<i64>,
    #[serde(borrow, rename = "type")]
    event_type: Text<'a>,
    #[serde(borrow, default)]
    tags: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<Text<'a>>,
}

/// A string. (serde borrows a `Cow` only where it is a field itself.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Parses a line. The error says what is wrong, and not in which line.
pub fn parse(line: &str) -> Result<Line, String> {
    match native(line) {
        Err(error) if line.contains("\"specversion\"") => {
            cloud_event(line).map_err(|of_cloud_event| match of_cloud_event {
                Some(wrong) => wrong,
                None => error,
            })
        }
        parsed => parsed,
    }
}

fn native(line: &str) -> Result<Line, String> {
    let native: Native<'_> = serde_json::from_str(line).map_err(|error| place_of(&error))?;
    let tags = native.tags.unwrap_or_default();
    Ok(Line {
        position: native.position,
        event: build(
            &native.event_type.0,
            tags.iter().map(|tag| &*tag.0),
            native.data.map(RawValue::get),
            native.id.as_ref().map(|id| &*id.0),
            native.metadata.map(RawValue::get),
            native.timestamp.as_ref().map(|text| &*text.0),
        )?,
    })
}

/// Returns an error of the parser with the column, and without the number of the line, which is
/// always 1.
fn place_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

fn build<'a>(
    event_type: &str,
    tags: impl Iterator<Item = &'a str>,
    data: Option<&str>,
    id: Option<&str>,
    metadata: Option<&str>,
    timestamp: Option<&str>,
) -> Result<Event, String> {
    let at = |place: &'static str| move |error: dcb::Error| format!("{place}: {}", error.message);
    let mut builder = EventBuilder::new(EventType::new(event_type).map_err(at("type"))?);
    for tag in tags {
        // The builder keeps each tag, and the caller has it for as long.
        Tag::new(tag).and_then(|tag| builder.tag(tag)).map_err(at("tags"))?;
    }
    if let Some(data) = data {
        check_depth(data)?;
        builder.data(data).map_err(at("data"))?;
    }
    if let Some(id) = id {
        builder.id(EventId::new(id).map_err(at("id"))?);
    }
    if let Some(metadata) = metadata.filter(|metadata| *metadata != "null") {
        if !metadata.starts_with('{') {
            return Err("metadata: must be an object or null".to_owned());
        }
        check_depth(metadata)?;
        builder.metadata(metadata).map_err(at("metadata"))?;
    }
    if let Some(text) = timestamp {
        let micros = time::parse_moment(text)
            .ok_or("timestamp: must be a time such as 2026-11-23T04:12:17.123456Z")?;
        builder.timestamp_us(micros).map_err(at("timestamp"))?;
    }
    builder.try_build().map_err(|error| error.message.into_owned())
}

/// The levels of a request around the data of an event, which count towards the limit.
const OUTER_LEVELS: usize = 3;

/// Refuses what an append with this data would refuse for its depth.
fn check_depth(json: &str) -> Result<(), String> {
    let most = MAX_JSON_DEPTH - OUTER_LEVELS;
    if json.len() <= most || json.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count() <= most
    {
        return Ok(());
    }
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if std::mem::take(&mut is_escaped) => {}
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'{' | b'[' if !is_string => {
                depth += 1;
                if depth > most {
                    return Err(format!("nested more than {MAX_JSON_DEPTH} levels deep"));
                }
            }
            b'}' | b']' if !is_string => depth -= 1,
            _ => {}
        }
    }
    Ok(())
}

/// Parses a CloudEvent. Returns no error of its own if the line is no object with a `specversion`.
fn cloud_event(line: &str) -> Result<Line, Option<String>> {
    let mut members: BTreeMap<Text<'_>, &RawValue> =
        serde_json::from_str(line).map_err(|_| None)?;
    let mut take = |key: &'static str| members.remove(&Text(Cow::Borrowed(key)));
    let text = |key: &str, value: Option<&RawValue>| match value {
        None => Ok(None),
        Some(value) => serde_json::from_str::<String>(value.get())
            .map(Some)
            .map_err(|_| Some(format!("{key}: must be a string"))),
    };
    let version = text("specversion", take("specversion"))?.ok_or(None)?;
    if version != "1.0" {
        return Err(Some(format!("specversion: {version:?} is not supported, only 1.0 is")));
    }
    let event_type =
        text("type", take("type"))?.ok_or_else(|| Some("type: is missing".to_owned()))?;
    let id = text("id", take("id"))?;
    let time = text("time", take("time"))?;
    let data = take("data").map(RawValue::get);
    let position = text("dcbposition", take("dcbposition"))?;
    let tags = text("dcbtags", take("dcbtags"))?;
    let own_metadata = text("dcbmetadata", take("dcbmetadata"))?;
    let has_no_id = take("dcbnoid").is_some_and(|value| value.get() == "true");
    let source = take("source");
    take("datacontenttype");
    if take("data_base64").is_some() {
        return Err(Some("data_base64: only data that is JSON can be imported".to_owned()));
    }
    let position = match position {
        None => None,
        Some(text) => Some(
            text.parse::<i64>()
                .map_err(|_| Some("dcbposition: must be a number in a string".to_owned()))?,
        ),
    };
    let tags: Vec<String> = match &tags {
        None => Vec::new(),
        Some(text) => serde_json::from_str(text)
            .map_err(|_| Some("dcbtags: must be a JSON list of strings in a string".to_owned()))?,
    };
    let mut metadata = own_metadata;
    if let Some(own) = &metadata {
        serde_json::from_str::<&RawValue>(own)
            .map_err(|_| Some("dcbmetadata: must be a JSON object in a string".to_owned()))?;
    } else if position.is_none() {
        // Of an event of another system, what an event has no place for.
        let mut text = Vec::new();
        let others = members.iter().map(|(key, value)| (&*key.0, *value));
        for (key, value) in source.into_iter().map(|source| ("source", source)).chain(others) {
            text.push(if text.is_empty() { b'{' } else { b',' });
            json::string(&mut text, key);
            text.push(b':');
            text.extend_from_slice(value.get().as_bytes());
        }
        if !text.is_empty() {
            text.push(b'}');
            metadata = Some(String::from_utf8_lossy(&text).into_owned());
        }
    }
    let event = build(
        &event_type,
        tags.iter().map(String::as_str),
        data,
        id.as_deref().filter(|_| !has_no_id),
        metadata.as_deref(),
        time.as_deref(),
    )
    .map_err(Some)?;
    Ok(Line { position, event })
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudevents;
    use crate::output::Field;

    fn event() -> Event {
        let mut builder = EventBuilder::new(EventType::new("A\"b").unwrap());
        builder.tag(Tag::new("k:v").unwrap()).unwrap();
        builder.tag(Tag::new("b\\").unwrap()).unwrap();
        builder.data(r#"{"n": 1e400, "s": "\ud800"}"#).unwrap();
        builder.id(EventId::new("i").unwrap());
        builder.metadata(r#"{"m":  1}"#).unwrap();
        builder.timestamp_us(1_795_407_137_123_456).unwrap();
        builder.build()
    }

    #[test]
    fn what_is_exported_is_parsed_to_the_same() {
        let plain = {
            let mut builder = EventBuilder::new(EventType::new("A").unwrap());
            builder.timestamp_us(-1).unwrap();
            builder.build()
        };
        for event in [event(), plain] {
            let view = event.view(dcb::Position::from(7), event.given_timestamp_us().unwrap());
            let (mut native, mut cloud) = (Vec::new(), Vec::new());
            json::event(&mut native, &view, &Field::ALL);
            cloudevents::write(&mut cloud, &view);
            for line in [native, cloud] {
                let line = String::from_utf8(line).unwrap();
                let parsed = parse(&line).unwrap();
                assert_eq!(parsed.position, Some(7), "{line}");
                assert_eq!(parsed.event, event, "{line}");
            }
        }
    }

    #[test]
    fn an_event_of_another_system_keeps_its_attributes_as_metadata() {
        let line = r#"{"specversion":"1.0","id":"9","source":"/shop","type":"Sold","time":"2026-11-23T05:12:17+01:00","subject":"s","data":{"n":1}}"#;
        let parsed = parse(line).unwrap();
        assert_eq!(parsed.position, None);
        assert_eq!(parsed.event.id(), Some("9"));
        assert_eq!(parsed.event.data(), r#"{"n":1}"#);
        assert_eq!(parsed.event.metadata(), Some(r#"{"source":"/shop","subject":"s"}"#));
        assert_eq!(parsed.event.given_timestamp_us(), Some(1_795_407_137_000_000));
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        let deep = |levels: usize| {
            format!(r#"{{"type":"A","data":{}{}}}"#, "[".repeat(levels), "]".repeat(levels))
        };
        for (line, part) in [
            ("", "EOF"),
            ("[]", "column"),
            (r#"{"type":"A","x":1}"#, "unknown field `x`"),
            (r#"{"type":"A","type":"A"}"#, "duplicate field"),
            (r#"{"tags":[]}"#, "missing field `type`"),
            (r#"{"type":""}"#, "type: a type must not be empty"),
            (r#"{"type":"A","tags":[":x"]}"#, "tags: a tag with a colon"),
            (r#"{"type":"A","metadata":[]}"#, "metadata: must be an object"),
            (r#"{"type":"A","timestamp":"now"}"#, "timestamp: must be"),
            (r#"{"type":"A","position":1.5}"#, "column"),
            (r#"{"type":"A"} {"#, "trailing"),
            (&deep(510), "nested"),
            (r#"{"specversion":"0.3","type":"A"}"#, "specversion"),
            (r#"{"specversion":"1.0","id":"1"}"#, "type: is missing"),
            (r#"{"specversion":"1.0","type":"A","data_base64":"aGk="}"#, "data_base64"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(parse(&deep(509)).is_ok());
    }
}
