use crate::domain::{EventView, Tags};
use crate::json::ReadResult;
use crate::position::at;

fn view() -> EventView<'static> {
    EventView {
        position: at(41),
        timestamp_us: 1_795_407_137_123_456,
        event_type: "T",
        tags: Tags::listed(&["a:1", "b"]),
        data: "{ \"x\" : 1e400 }",
        id: None,
        metadata: None,
        packed: None,
    }
}

fn text(events: &[EventView<'_>], position: i64) -> String {
    let mut result = ReadResult::new();
    events.iter().for_each(|event| result.event(event).unwrap());
    String::from_utf8(result.finish(at(position)).unwrap()).unwrap()
}

#[test]
fn a_result_may_have_no_events() {
    assert_eq!(text(&[], 0), r#"{"events":[],"position":0}"#);
    assert_eq!(text(&[], i64::MAX), r#"{"events":[],"position":9223372036854775807}"#);
}

#[test]
fn a_result_has_the_given_keys_in_order() {
    let full = EventView {
        position: at(42),
        tags: Tags::listed(&[]),
        id: Some("e"),
        metadata: Some("{ }"),
        ..view()
    };
    assert_eq!(
        text(&[view(), full], 42),
        concat!(
            r#"{"events":[{"position":41,"type":"T","tags":["a:1","b"],"data":{ "x" : 1e400 },"#,
            r#""timestamp":"2026-11-23T04:12:17.123456Z"},"#,
            r#"{"position":42,"type":"T","tags":[],"data":{ "x" : 1e400 },"id":"e","metadata":{ },"#,
            r#""timestamp":"2026-11-23T04:12:17.123456Z"}],"position":42}"#,
        )
    );
}

#[test]
fn a_result_has_only_the_escapes_that_json_requires() {
    let every_ascii: String = (0..=0x7f_u8).map(char::from).collect();
    for name in [every_ascii.as_str(), "\"", "\\", "a\nb\tc", "\u{e9}\u{2028}\u{1f600}\u{7f}/"] {
        let tags = [name];
        let view =
            EventView { event_type: name, tags: Tags::listed(&tags), id: Some(name), ..view() };
        let text = text(&[view], 41);
        let escaped = serde_json::to_string(name).unwrap();
        assert_eq!(text.matches(&escaped).count(), 3, "{text}");
    }
}
