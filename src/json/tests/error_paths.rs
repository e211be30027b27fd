use crate::Status;
use crate::json::tests::assert_invalid;
use crate::json::{parse_append, parse_options, parse_read};
use crate::position::at;

#[test]
fn a_repeated_key_is_rejected() {
    for (request, path) in [
        (r#"{"events": [{"type":"A"}], "events": []}"#, "events"),
        (r#"{"events": [{"type":"A", "tags":[], "tags":[]}]}"#, "events[0].tags"),
        (r#"{"events": [{"type":"A", "data":1, "data":1}]}"#, "events[0].data"),
        (r#"{"events": [{"type":"A", "id":null, "id":null}]}"#, "events[0].id"),
        (r#"{"events": [{"type":"A", "metadata":null, "metadata":{}}]}"#, "events[0].metadata"),
        (r#"{"events": [{"type":"A", "typ\u0065":"A"}]}"#, "events[0].type"),
        (r#"{"condition": null, "condition": null}"#, "condition"),
        (r#"{"condition": [{"after":1,"after":1}]}"#, "condition[0].after"),
        (
            r#"{"condition": {"failIfEventsMatch":null,"failIfEventsMatch":null}}"#,
            "condition.failIfEventsMatch",
        ),
        (
            r#"{"condition": {"failIfEventsMatch":{"items":[{}],"items":[{}]}}}"#,
            "condition.failIfEventsMatch.items",
        ),
        (
            r#"{"condition": {"failIfEventsMatch":{"items":[{"types":[],"types":[]}]}}}"#,
            "condition.failIfEventsMatch.items[0].types",
        ),
    ] {
        assert_invalid(parse_append(request.as_bytes()), &format!("{path}: is given twice"));
    }
    assert_invalid(parse_read(br#"{"after":1,"\u0061fter":1}"#), "after: is given twice");
}

#[test]
fn an_unknown_key_is_rejected() {
    for (request, message) in [
        (r#"{"evnts": []}"#, "request: unknown key \"evnts\" (known: events, condition)"),
        (
            r#"{"events": [{"Type": "A"}]}"#,
            "events[0]: unknown key \"Type\" (known: type, tags, data, id, metadata, timestamp)",
        ),
        (
            r#"{"condition": {"failIfEventMatch": null}}"#,
            "condition: unknown key \"failIfEventMatch\" (known: failIfEventsMatch, after)",
        ),
        (
            r#"{"condition": {"failIfEventsMatch": {"item": []}}}"#,
            "condition.failIfEventsMatch: unknown key \"item\" (known: items)",
        ),
        (
            r#"{"condition": {"failIfEventsMatch": {"items": [{"type": []}]}}}"#,
            "condition.failIfEventsMatch.items[0]: unknown key \"type\" (known: types, tags)",
        ),
        (r#"{"": []}"#, "request: unknown key \"\" (known: events, condition)"),
        (
            r#"{"a\u0000\n\"": []}"#,
            "request: unknown key \"a\\0\\n\\\"\" (known: events, condition)",
        ),
        (
            r#"{"$serde_json::private::RawValue": "{}"}"#,
            "request: unknown key \"$serde_json::private::RawValue\" (known: events, condition)",
        ),
    ] {
        assert_invalid(parse_append(request.as_bytes()), message);
    }
}

#[test]
fn a_long_key_is_shortened_in_the_error() {
    assert_invalid(
        parse_append(format!("{{\"{}\": 1}}", "k".repeat(1_000)).as_bytes()),
        &format!("request: unknown key \"{}...\" (known: events, condition)", "k".repeat(40)),
    );
}

#[test]
fn an_unpaired_surrogate_in_a_name_is_rejected() {
    for (event, path) in [
        (r#"{"type":"\ud800"}"#, "events[0].type"),
        (r#"{"type":"\udc00"}"#, "events[0].type"),
        (r#"{"type":"A","tags":["\ud800x"]}"#, "events[0].tags[0]"),
        (r#"{"type":"A","id":"\ud800\u0041"}"#, "events[0].id"),
        (r#"{"typ\ud800":"A"}"#, "events[0]"),
    ] {
        assert_invalid(
            parse_append(format!(r#"{{"events":[{event}]}}"#).as_bytes()),
            &format!("{path}: must not contain an unpaired surrogate"),
        );
    }
}

#[test]
fn the_error_of_invalid_json_names_the_path() {
    for (request, start) in [
        ("", "request: not valid JSON: "),
        (" ", "request: not valid JSON: "),
        ("\u{feff}{}", "request: not valid JSON: "),
        ("{", "request: not valid JSON: "),
        ("{\"events\":[{\"type\":\"A\"}]} x", "request: not valid JSON: trailing"),
        ("{\"events\":[{\"type\":\"A\"}]}{}", "request: not valid JSON: trailing"),
        ("{\"events\":[{\"type\":\"A\"}],}", "request: not valid JSON: trailing comma"),
        ("{\"events\":[{\"type\":\"A\"},]}", "events[1]: not valid JSON: trailing comma"),
        ("{\"events\":[{\"type\":\"A\" \"id\":1}]}", "events[0]: not valid JSON: "),
        ("{\"events\":[{\"type\":\"A\n\"}]}", "events[0].type: not valid JSON: control"),
        ("{\"events\":[{\"type\":\"\\x\"}]}", "events[0].type: not valid JSON: "),
        ("{\"events\":[{\"type\":'A'}]}", "events[0].type: not valid JSON: "),
        ("{\"events\":[{type:\"A\"}]}", "events[0]: not valid JSON: "),
        ("{\"events\":[{\"type\":\"A\",\"data\":}]}", "events[0].data: not valid JSON: "),
        ("{\"events\":[{\"type\":\"A\",\"data\":01}]}", "events[0].data: not valid JSON: "),
        ("{\"events\":[{\"type\":\"A\",\"data\":nul}]}", "events[0].data: not valid JSON: "),
        ("{\"events\":[{\"type\":\"A\",\"data\":[1,]}]}", "events[0].data: not valid JSON: "),
        ("{\"events\":[{\"type\":\"A\",\"data\":{\"a\"}}]}", "events[0].data: not valid JSON: "),
        ("{\"events\":[{\"type\":\"A\",\"data\":\"\0\"}]}", "events[0].data: not valid JSON: "),
        ("{\"events\":[{\"type\":\"A\",\"metadata\":{]}]}", "events[0].metadata: not valid JSON: "),
    ] {
        let error = parse_append(request.as_bytes()).unwrap_err();
        assert_eq!(error.status, Status::InvalidArgument, "{request}");
        assert!(error.message.starts_with(start), "{request}: {error}");
        assert!(error.message.contains(" at line "), "{request}: {error}");
    }
}

#[test]
fn invalid_utf8_is_rejected() {
    let bad = b"{\"events\": [{\"type\": \"A\", \"data\": \"\xff\"}]}";
    assert_invalid(parse_append(bad), "request: not valid UTF-8 at byte 35");
    // An encoded surrogate and an overlong form, which some decoders accept, and UTF-16.
    for bytes in [b"\"\xed\xa0\x80\"".as_slice(), b"\"\xc0\x80\"", b"\xff\xfe{\0"] {
        assert!(parse_read(bytes).unwrap_err().message.contains("not valid UTF-8"));
        assert!(parse_options(bytes).unwrap_err().message.starts_with("options: not valid UTF-8"));
    }
}

#[test]
fn no_error_repeats_a_whole_value() {
    let long = "v".repeat(10_000);
    for request in [
        format!(r#"{{"events": "{long}"}}"#),
        format!(r#"{{"events": ["{long}"]}}"#),
        format!(r#"{{"events": [{{"type": "{long}"}}]}}"#),
        format!(r#"{{"events": [{{"type": "A", "tags": "{long}"}}]}}"#),
        format!(r#"{{"events": [{{"type": "A", "metadata": "{long}"}}]}}"#),
        format!(r#"{{"events": [{{"type": "A", "id": "{long}"}}]}}"#),
        format!(r#"{{"condition": "{long}"}}"#),
        format!(r#"{{"condition": {{"after": "{long}"}}}}"#),
        format!(r#"{{"condition": {{"failIfEventsMatch": "{long}"}}}}"#),
        format!(r#"{{"{long}": 1}}"#),
        format!(r#"{{"events": [{{"type": "A", "data": {long}}}]}}"#),
    ] {
        let message = parse_append(request.as_bytes()).unwrap_err().message;
        assert!(message.len() < 240 && !message.contains(&"v".repeat(41)), "{message}");
    }
}

#[test]
fn huge_numbers_and_strings_of_the_wrong_type_are_rejected() {
    // Long, with an escape: the parser would copy the string to unescape it.
    let long = format!(r#""\n{}""#, "x".repeat(100_000));
    for value in ["1e400", "-1e400", "1E+999", "123456789e1234", &long] {
        let invalid = |request: &str, message: &str| {
            assert_invalid(parse_append(request.replace('?', value).as_bytes()), message);
        };
        invalid("?", "request: must be an object");
        invalid(r#"{"events": ?}"#, "events: must be a list of objects");
        invalid(r#"{"events": [?]}"#, "events[0]: must be an object");
        invalid(
            r#"{"events": [{"type": "A"}, {"type": "A", "tags": ?}]}"#,
            "events[1].tags: must be a list of strings",
        );
        invalid(r#"{"condition": ?}"#, "condition: must be an object, a list of objects, or null");
        invalid(r#"{"condition": [?]}"#, "condition[0]: must be an object");
        invalid(
            r#"{"condition": {"failIfEventsMatch": ?}}"#,
            "condition.failIfEventsMatch: must be an object, or null to match every event",
        );
        invalid(
            r#"{"condition": {"failIfEventsMatch": {"items": [{}, ?]}}}"#,
            "condition.failIfEventsMatch.items[1]: must be an object",
        );
        let backwards = format!(r#"{{"backwards": {value}}}"#);
        assert_invalid(parse_read(backwards.as_bytes()), "backwards: must be true or false");
        let options = format!(r#"{{"create": {value}}}"#);
        assert_invalid(parse_options(options.as_bytes()), "create: must be true or false");
    }
    // An invalid number or string is invalid JSON.
    for value in ["1e", "01", "-", "1e400x", "\"\\x\""] {
        let request = format!(r#"{{"events": {value}}}"#);
        let error = parse_append(request.as_bytes()).unwrap_err();
        assert!(error.message.contains("not valid JSON"), "{value}: {error}");
    }
}

#[test]
fn a_request_with_long_escaped_strings_is_parsed() {
    let long = format!(r#"{{"a": "\n{}"}}"#, "x".repeat(100_000));
    let request = format!(
        r#"{{"events": [{{"type": "\u0041", "tags": ["t\u003a1"], "data": {long}, "metadata": {long}}}],
            "condition": [{{"failIfEventsMatch": {{"items": [{{"types": ["A"]}}]}}, "after": 3}}]}}"#
    );
    let (events, conditions) = parse_append(request.as_bytes()).unwrap().into_parts();
    let event = events[0].view(at(1), 0);
    assert_eq!((event.event_type, event.data, event.metadata), ("A", &*long, Some(&*long)));
    assert_eq!(event.tags.iter().collect::<Vec<_>>(), ["t:1"]);
    assert_eq!(conditions[0].after(), at(3));
    let broken = request.replace("\"after\"", "\"afte\"");
    assert_invalid(
        parse_append(broken.as_bytes()),
        "condition[0]: unknown key \"afte\" (known: failIfEventsMatch, after)",
    );
}
