use crate::domain::{AppendCondition, AppendRequest, Event, EventType, QueryItem, Tag};
use crate::json::parse_append;
use crate::json::tests::assert_invalid;

fn parsed(request: &str) -> AppendRequest {
    parse_append(request.as_bytes()).unwrap()
}

fn only_event(event: &str) -> Event {
    let request = parsed(&format!("{{\"events\":[{event}]}}"));
    assert_eq!(request.events().len(), 1);
    request.into_parts().0.remove(0)
}

fn item(types: &[&str], tags: &[&str]) -> QueryItem {
    let mut item = QueryItem::new();
    types.iter().for_each(|name| item.or_type(EventType::new(name).unwrap()).unwrap());
    tags.iter().for_each(|name| item.and_tag(Tag::new(name).unwrap()).unwrap());
    item
}

fn conditions(condition: &str) -> Vec<(Option<Vec<QueryItem>>, i64)> {
    let parts = |condition: &AppendCondition| {
        (condition.query().items().map(<[QueryItem]>::to_vec), condition.after().get())
    };
    let request = parsed(&format!(r#"{{"condition": {condition}, "events": [{{"type":"A"}}]}}"#));
    request.conditions().iter().map(parts).collect()
}

#[test]
fn an_event_is_parsed_with_all_its_keys() {
    let event = only_event(
        r#" {"metadata": {"by": "me"}, "id": "e1", "data": [1, 2], "tags": ["a:1", "b", "a:1"], "type": "T"} "#,
    );
    assert_eq!(event.event_type(), "T");
    assert_eq!(event.tags().iter().collect::<Vec<_>>(), ["a:1", "b"]);
    assert_eq!(event.data(), "[1, 2]");
    assert_eq!(event.id(), Some("e1"));
    assert_eq!(event.metadata(), Some(r#"{"by": "me"}"#));
}

#[test]
fn a_missing_key_null_and_an_empty_list_are_the_same() {
    let bare = only_event(r#"{"type": "T"}"#);
    assert_eq!((bare.data(), bare.id(), bare.metadata()), ("null", None, None));
    assert!(bare.tags().is_empty());
    for same in [
        r#"{"type": "T", "tags": null, "data": null, "id": null, "metadata": null}"#,
        r#"{"type": "T", "tags": []}"#,
    ] {
        assert_eq!(only_event(same), bare);
    }
    assert!(parsed(r#"{"events": [{"type":"A"}]}"#).conditions().is_empty());
    for none in ["null", "[]"] {
        assert_eq!(conditions(none), []);
    }
}

#[test]
fn data_and_metadata_are_kept_byte_for_byte() {
    for data in [
        "null",
        "1e400",
        "-0",
        "-0.0",
        "9223372036854775808",
        "123456789012345678901234567890",
        r#""\ud800 \udc00\ud800 lone""#,
        r#"{ "b" : 1 , "a" : [ ] ,"b":2}"#,
        "[1,\n\t2 , {\"\\u0000\": \"\u{7f}\u{e9}\u{1f600}\"}]",
        r#""\/\b\f\n\r\t\"\\""#,
        r#"{"$serde_json::private::RawValue": 1}"#,
    ] {
        let event = only_event(&format!(r#"{{"type":"T","data": {data} }}"#));
        assert_eq!(event.data(), data);
        let metadata = format!("{{ \"x\" :{data}}}");
        let event = only_event(&format!(r#"{{"metadata":{metadata},"type":"T"}}"#));
        assert_eq!(event.metadata(), Some(&*metadata));
    }
}

#[test]
fn names_and_keys_are_unescaped() {
    let event = only_event(
        r#"{"t\u0079pe": "\u00e9\ud83d\ude00\/", "tags": ["a\u003ab", "\"\\\n"], "\u0069d": "\t"}"#,
    );
    assert_eq!(event.event_type(), "\u{e9}\u{1f600}/");
    assert_eq!(event.tags().iter().collect::<Vec<_>>(), ["a:b", "\"\\\n"]);
    assert_eq!(event.id(), Some("\t"));
}

#[test]
fn each_condition_has_its_own_query_and_after() {
    let a = r#"{"failIfEventsMatch": {"items": [{"types": ["A"], "tags": ["x:1", "y"]}, {}]}, "after": 7}"#;
    let b = r#"{"after": null, "failIfEventsMatch": null}"#;
    let expected_a = (Some(vec![item(&["A"], &["x:1", "y"]), item(&[], &[])]), 7);
    assert_eq!(conditions(a), std::slice::from_ref(&expected_a));
    assert_eq!(conditions(&format!("[{a}, {b}]")), [expected_a, (None, 0)]);
    for (after, expected) in
        [("-1", 0), ("0", 0), ("-0", 0), ("9223372036854775807", i64::MAX), ("null", 0)]
    {
        let condition = format!(r#"{{"failIfEventsMatch": null, "after": {after}}}"#);
        assert_eq!(conditions(&condition), [(None, expected)]);
    }
    let empty_lists = r#"{"failIfEventsMatch": {"items": [{"types": null, "tags": null}, {"types": [], "tags": []}]}}"#;
    assert_eq!(conditions(empty_lists), [(Some(vec![QueryItem::new(), QueryItem::new()]), 0)]);
}

#[test]
fn an_error_of_an_append_names_the_json_path() {
    for (request, message) in [
        ("[]", "request: must be an object"),
        ("null", "request: must be an object"),
        (r#"[[{"type":"A"}]]"#, "request: must be an object"),
        ("{}", "events: is missing"),
        (r#"{"events": null}"#, "events: must be a list of objects"),
        (r#"{"events": {"type":"A"}}"#, "events: must be a list of objects"),
        (r#"{"events": []}"#, "events: an append needs at least one event"),
        (
            r#"{"events": [], "condition": {"failIfEventsMatch": null}}"#,
            "events: an append needs at least one event",
        ),
        (r#"{"events": [null]}"#, "events[0]: must be an object"),
        (r#"{"events": [["A"]]}"#, "events[0]: must be an object"),
        (r#"{"events": [{}]}"#, "events[0].type: is missing"),
        (r#"{"events": [{"type": null}]}"#, "events[0].type: must be a string"),
        (r#"{"events": [{"type": ["A"]}]}"#, "events[0].type: must be a string"),
        (r#"{"events": [{"type": 1}]}"#, "events[0].type: must be a string"),
        (r#"{"events": [{"type": -1}]}"#, "events[0].type: must be a string"),
        (r#"{"events": [{"type": 1.5}]}"#, "events[0].type: must be a string"),
        (r#"{"events": [{"type": {"a":"b"}}]}"#, "events[0].type: must be a string"),
        (r#"{"events": [{"type": true}]}"#, "events[0].type: must be a string"),
        (r#"{"events": [{"type": ""}]}"#, "events[0].type: a type must not be empty"),
        (r#"{"events": [{"type": "a\u0000"}]}"#, "events[0].type: a type must not contain a NUL"),
        (
            r#"{"events": [{"type":"A"},{"type":"A"},{"type":"A", "tags": [""]}]}"#,
            "events[2].tags[0]: a tag must not be empty",
        ),
        (
            r#"{"events": [{"type":"A", "tags": ["a", "b:", "c"]}]}"#,
            "events[0].tags[1]: a tag with a colon needs a value after it",
        ),
        (
            r#"{"events": [{"type":"A", "tags": ["a", "\u0000"]}]}"#,
            "events[0].tags[1]: a tag must not contain a NUL",
        ),
        (r#"{"events": [{"type":"A", "tags": "a"}]}"#, "events[0].tags: must be a list of strings"),
        (r#"{"events": [{"type":"A", "tags": {}}]}"#, "events[0].tags: must be a list of strings"),
        (r#"{"events": [{"type":"A", "tags": [null]}]}"#, "events[0].tags[0]: must be a string"),
        (r#"{"events": [{"type":"A", "tags": [["a"]]}]}"#, "events[0].tags[0]: must be a string"),
        (r#"{"events": [{"type":"A", "id": 7}]}"#, "events[0].id: must be a string or null"),
        (r#"{"events": [{"type":"A", "id": ""}]}"#, "events[0].id: an id must not be empty"),
        (
            r#"{"events": [{"type":"A", "id": "\u0000"}]}"#,
            "events[0].id: an id must not contain a NUL",
        ),
        (
            r#"{"events": [{"type":"A", "metadata": []}]}"#,
            "events[0].metadata: must be an object or null",
        ),
        (
            r#"{"events": [{"type":"A", "metadata": "{}"}]}"#,
            "events[0].metadata: must be an object or null",
        ),
        (
            r#"{"events": [{"type":"A"}, {"type":"A", "id":"x"}]}"#,
            "events: either every event of an append must have an id, or none",
        ),
        (
            r#"{"events": [{"type":"A", "id":"x"}, {"type":"A", "id":"x"}]}"#,
            "events[1].id: the same id as events[0]",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": {}}"#,
            "condition.failIfEventsMatch: is missing (null matches every event)",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": [{"failIfEventsMatch": null}, {"after": 3}]}"#,
            "condition[1].failIfEventsMatch: is missing (null matches every event)",
        ),
        (r#"{"events": [{"type":"A"}], "condition": [null]}"#, "condition[0]: must be an object"),
        (
            r#"{"events": [{"type":"A"}], "condition": 3}"#,
            "condition: must be an object, a list of objects, or null",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": {"failIfEventsMatch": []}}"#,
            "condition.failIfEventsMatch: must be an object, or null to match every event",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": {"failIfEventsMatch": {}}}"#,
            "condition.failIfEventsMatch.items: is missing (a null query matches every event)",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": {"failIfEventsMatch": {"items": null}}}"#,
            "condition.failIfEventsMatch.items: must be a list of objects (a null query matches every event)",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": {"failIfEventsMatch": {"items": []}}}"#,
            "condition.failIfEventsMatch.items: must not be empty (a null query matches every event)",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": [{"failIfEventsMatch": null},
                {"failIfEventsMatch": {"items": [{"types": "A"}]}}]}"#,
            "condition[1].failIfEventsMatch.items[0].types: must be a list of strings",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": {"failIfEventsMatch": {"items": [{}, {"types": ["A", ""]}]}}}"#,
            "condition.failIfEventsMatch.items[1].types[1]: a type must not be empty",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": {"failIfEventsMatch": {"items": [{"tags": [":v"]}]}}}"#,
            "condition.failIfEventsMatch.items[0].tags[0]: a tag with a colon needs a key before it",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": {"failIfEventsMatch": null, "after": -2}}"#,
            "condition.after: must be -1 or more",
        ),
        (
            r#"{"events": [{"type":"A"}], "condition": [{"failIfEventsMatch": null, "after": 1.0}]}"#,
            "condition[0].after: must be an integer",
        ),
    ] {
        assert_invalid(parse_append(request.as_bytes()), message);
    }
}

#[test]
fn an_event_is_a_document_by_itself() {
    let json =
        r#" {"metadata": {"by": "me"}, "id": "e1", "data": [1, 2], "tags": ["a:1"], "type": "T"} "#;
    assert_eq!(Event::from_json(json), Ok(only_event(json)));
    assert_eq!(Event::from_json(r#"{"type":"T"}"#), Ok(only_event(r#"{"type":"T"}"#)));
    assert_invalid(
        Event::from_json(r#"{"type": "T", "tags": ["a", ""]}"#),
        "tags[1]: a tag must not be empty",
    );
    for wrong in ["", "null", "[]", "{}", r#"{"type":"T","x":1}"#, r#"{"type":"T"}{"type":"T"}"#] {
        assert!(Event::from_json(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_event_may_have_a_timestamp() {
    let given = |event: &str| only_event(event).given_timestamp_us();
    assert_eq!(given(r#"{"type":"A","timestamp":"1970-01-01T00:00:01.000002Z"}"#), Some(1_000_002));
    assert_eq!(given(r#"{"type":"A","timestamp":"1970\u002d01-01T00:00:00.000000Z"}"#), Some(0));
    assert_eq!(given(r#"{"type":"A","timestamp":null}"#), None);
    assert_eq!(given(r#"{"type":"A"}"#), None);
    let message =
        "events[0].timestamp: must be a time in UTC such as \"2026-11-23T04:12:17.123456Z\"";
    for wrong in [r#""""#, r#""2026-11-23T04:12:17Z""#, r#""2026-02-30T00:00:00.000000Z""#] {
        let request = format!(r#"{{"events":[{{"type":"A","timestamp":{wrong}}}]}}"#);
        assert_invalid(parse_append(request.as_bytes()), message);
    }
    let request = r#"{"events":[{"type":"A","timestamp":1}]}"#;
    assert_invalid(
        parse_append(request.as_bytes()),
        "events[0].timestamp: must be a string or null",
    );
}
