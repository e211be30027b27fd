//! Properties of the parsers, with random requests, valid and mutated.

use proptest::prelude::*;
use serde_json::Value;

use crate::Status;
use crate::domain::Query;
use crate::json::append::parse_append_slow;
use crate::json::read::parse_read_slow;
use crate::json::{ReadResult, fast_path, parse_append, parse_options, parse_read};
use crate::position::at;

/// Generates a JSON string in which some characters are escaped.
fn json_string(content: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let escapes = prop_oneof![2 => Just(0), 1 => any::<u64>()];
    (content, escapes).prop_map(|(text, escapes)| {
        let mut json = String::from('"');
        for (index, character) in text.chars().enumerate() {
            if escapes >> (index % 64) & 1 == 1 || character < ' ' || "\"\\".contains(character) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    json += &format!("\\u{unit:04x}");
                }
            } else {
                json.push(character);
            }
        }
        json + "\""
    })
}

fn name() -> impl Strategy<Value = String> {
    json_string("[a-zé\"\\\\\n😀]{1,12}(:[a-z0-9 ]{1,8})?")
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![Just("null".to_owned()), list(name(), 0..4)]
}

fn list(
    element: impl Strategy<Value = String>,
    size: std::ops::Range<usize>,
) -> impl Strategy<Value = String> {
    (prop::collection::vec(element, size), space()).prop_map(|(elements, space)| {
        format!("[{space}{}{space}]", elements.join(&space_in(&space)))
    })
}

fn space_in(space: &str) -> String {
    format!("{space},{space}")
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ \n\t\r]{0,2}"]
}

/// Generates an object with the required members and some of the optional ones, in any order.
fn object(
    required: Vec<(&'static str, BoxedStrategy<String>)>,
    optional: Vec<(&'static str, BoxedStrategy<String>)>,
) -> BoxedStrategy<String> {
    let member = |key: &'static str| move |value: String| Some(format!("\"{key}\":{value}"));
    let mut members: Vec<BoxedStrategy<Option<String>>> = Vec::new();
    for (key, value) in required {
        members.push(value.prop_map(member(key)).boxed());
    }
    for (key, value) in optional {
        members.push(prop_oneof![Just(None), value.prop_map(member(key))].boxed());
    }
    (members, space())
        .prop_map(|(members, space)| (members.into_iter().flatten().collect::<Vec<_>>(), space))
        .prop_flat_map(|(members, space)| (Just(members).prop_shuffle(), Just(space)))
        .prop_map(|(members, space)| format!("{{{space}{}}}", members.join(&space_in(&space))))
        .boxed()
}

fn data() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        json_string("[ -~é😀\n]{0,10}"),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let member =
            (json_string("[a-z]{0,2}"), inner.clone()).prop_map(|(k, v)| format!("{k}: {v}"));
        prop_oneof![
            list(inner, 0..4),
            prop::collection::vec(member, 0..4).prop_map(|all| format!("{{ {}}}", all.join(","))),
        ]
    })
    .boxed()
}

fn query() -> BoxedStrategy<String> {
    let item = object(vec![], vec![("types", names().boxed()), ("tags", names().boxed())]);
    let items = list(item, 1..4).boxed();
    prop_oneof![Just("null".to_owned()), object(vec![("items", items)], vec![])].boxed()
}

fn integer() -> BoxedStrategy<String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("-0".to_owned()),
        (0..=i64::MAX).prop_map(|number| number.to_string())
    ]
    .boxed()
}

fn append() -> BoxedStrategy<String> {
    let metadata = prop_oneof![
        Just("null".to_owned()),
        data().prop_map(|value| format!("{{\"m\" :{value} }}"))
    ];
    let time = prop_oneof![
        Just("null".to_owned()),
        Just("\"2024-02-29T04:12:17.123456Z\"".to_owned()),
        Just("\"2026-11-23T04:12:17.123456Z\"".to_owned()),
    ];
    let event = object(
        vec![("type", name().boxed())],
        vec![
            ("tags", names().boxed()),
            ("data", data()),
            ("metadata", metadata.boxed()),
            ("timestamp", time.boxed()),
        ],
    );
    let condition = object(vec![("failIfEventsMatch", query())], vec![("after", integer())]);
    let conditions = prop_oneof![Just("null".to_owned()), condition.clone(), list(condition, 0..3)];
    object(vec![("events", list(event, 1..4).boxed())], vec![("condition", conditions.boxed())])
}

fn read() -> BoxedStrategy<String> {
    let backwards = prop_oneof![Just("true".to_owned()), Just("false".to_owned())];
    object(
        vec![],
        vec![
            ("query", query()),
            ("after", integer()),
            ("before", integer()),
            ("limit", integer()),
            ("backwards", backwards.boxed()),
        ],
    )
}

/// Returns the elements of a list. `null` and a missing value have none.
fn elements(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Returns the elements of a list of names without the repeated ones.
fn names_of(value: &Value) -> Vec<Value> {
    let mut names = Vec::new();
    for name in elements(value) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn assert_same_query(query: &Query, oracle: &Value) {
    let Some(items) = query.items() else { return assert!(oracle.is_null()) };
    let oracle = elements(&oracle["items"]);
    assert_eq!(items.len(), oracle.len());
    for (item, oracle) in items.iter().zip(&oracle) {
        let types: Vec<Value> =
            item.types().iter().map(|wanted| Value::from(wanted.text())).collect();
        let tags: Vec<Value> =
            item.tags().iter().map(|wanted| Value::from(wanted.text())).collect();
        let expected = [names_of(&oracle["types"]), names_of(&oracle["tags"])];
        assert_eq!([types, tags], expected);
    }
}

/// Asserts that parsing `text` succeeds or fails with one of the expected errors.
fn assert_known_status(parse: fn(&[u8]) -> Status, text: &[u8]) {
    let status = parse(text);
    assert!(
        [Status::Ok, Status::InvalidArgument, Status::TooLarge].contains(&status),
        "{status:?}"
    );
}

/// Returns the three parsers, each reduced to its status.
fn parsers() -> [fn(&[u8]) -> Status; 3] {
    fn status<T>(result: crate::Result<T>) -> Status {
        result.map_or_else(|error| error.status, |_| Status::Ok)
    }
    [
        |text| status(parse_append(text)),
        |text| status(parse_read(text)),
        |text| status(parse_options(text)),
    ]
}

/// Mutations of a text: for each an offset, a byte, and a number for the kind.
type Mutations = Vec<(prop::sample::Index, u8, u8)>;

fn mutations() -> impl Strategy<Value = Mutations> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4)
}

/// Applies the mutations to the bytes of a request.
fn mutated(request: String, mutations: Mutations) -> Vec<u8> {
    let mut bytes = request.into_bytes();
    for (at, byte, kind) in mutations {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match kind {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, b"{}[]\",:\\0-"[usize::from(byte) % 10]),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// The fast path must parse the requests that programs usually send.
#[test]
fn common_requests_take_the_fast_path() {
    for append in [
        r#"{"events":[{"type":"A"}]}"#,
        r#" { "events" : [ { "type" : "A", "tags" : [ "a:1", "b" ], "data" : [ {}, [ ],
            { "n": [ -0.5e+3, 10, true, false, null, "\u00e9\"\\\/\b\f\n\r\t" ] } ], "id" : "i",
            "metadata" : { }, "timestamp" : "2026-11-23T04:12:17.123456Z" } ], "condition" : [ ] } "#,
        r#"{"condition":{"after":12,"failIfEventsMatch":{"items":[{"tags":["a:1"],"types":["A"]},
            {}]}},"events":[{"tags":[],"type":"é"}]}"#,
        r#"{"events":[{"type":"A"}],"condition":[{"failIfEventsMatch":{"items":[{}]}}]}"#,
    ] {
        assert!(fast_path::append(append).is_some(), "{append}");
    }
    for read in
        ["{}", r#"{"query":{"items":[{}]},"after":0,"before":9,"limit":1,"backwards":true}"#]
    {
        assert!(fast_path::read(read).is_some(), "{read}");
    }
}

/// Tries strings of every length up to 40, with each ASCII character at the end.
#[test]
fn the_fast_path_finds_the_end_of_every_string() {
    for length in 0..40 {
        let before = "é".repeat(length / 2) + &"x".repeat(length % 2);
        for byte in 0..=127_u8 {
            let string = format!("{before}{}", byte as char);
            let plain = byte >= b' ' && byte != b'"' && byte != b'\\';
            for text in [
                format!("{{\"events\":[{{\"type\":\"A\",\"data\":\"{string}\"}}]}}"),
                format!("{{\"events\":[{{\"type\":\"{string}\"}}]}}"),
            ] {
                assert_eq!(fast_path::append(&text).is_some(), plain, "{text:?}");
                let slow = parse_append_slow(text.as_bytes());
                assert_eq!(plain, slow.is_ok(), "{text:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn an_append_equals_what_serde_json_parses(request in append()) {
        let parsed = parse_append(request.as_bytes()).unwrap();
        let oracle: Value = serde_json::from_str(&request).unwrap();
        let events = elements(&oracle["events"]);
        prop_assert_eq!(parsed.events().len(), events.len());
        for (event, oracle) in parsed.events().iter().zip(&events) {
            prop_assert_eq!(event.event_type(), oracle["type"].as_str().unwrap());
            let tags: Vec<Value> = event.tags().iter().map(Value::from).collect();
            prop_assert_eq!(tags, names_of(&oracle["tags"]));
            prop_assert!(event.data() == "null" || request.contains(event.data()));
            prop_assert_eq!(&serde_json::from_str::<Value>(event.data()).unwrap(), &oracle["data"]);
            let metadata = event.metadata().unwrap_or("null");
            prop_assert!(metadata == "null" || request.contains(metadata));
            prop_assert_eq!(&serde_json::from_str::<Value>(metadata).unwrap(), &oracle["metadata"]);
        }
        let conditions = match &oracle["condition"] {
            one @ Value::Object(_) => vec![one.clone()],
            other => elements(other),
        };
        prop_assert_eq!(parsed.conditions().len(), conditions.len());
        for (condition, oracle) in parsed.conditions().iter().zip(&conditions) {
            prop_assert_eq!(condition.after().get(), oracle["after"].as_i64().unwrap_or(0));
            assert_same_query(condition.query(), &oracle["failIfEventsMatch"]);
        }
    }

    #[test]
    fn a_read_result_returns_what_was_appended(request in append()) {
        let parsed = parse_append(request.as_bytes()).unwrap();
        let mut result = ReadResult::new();
        for (event, position) in parsed.events().iter().zip(1..) {
            result.event(&event.view(at(position), 0)).unwrap();
        }
        let text = String::from_utf8(result.finish(at(9)).unwrap()).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read["position"], 9);
        let events = elements(&read["events"]);
        prop_assert_eq!(events.len(), parsed.events().len());
        for ((event, read), position) in parsed.events().iter().zip(&events).zip(1_i64..) {
            prop_assert_eq!(&read["position"], position);
            prop_assert_eq!(&read["type"], event.event_type());
            let tags: Vec<Value> = event.tags().iter().map(Value::from).collect();
            prop_assert_eq!(elements(&read["tags"]), tags);
            let data_in_text = format!("\"data\":{},", event.data());
            let data_at_end = format!("\"data\":{}", event.data());
            prop_assert!(text.contains(&data_in_text) || text.contains(&data_at_end));
            prop_assert_eq!(read.get("metadata").is_some(), event.metadata().is_some());
        }
    }

    #[test]
    fn a_read_equals_what_serde_json_parses(request in read()) {
        let parsed = parse_read(request.as_bytes()).unwrap();
        let oracle: Value = serde_json::from_str(&request).unwrap();
        let reading = crate::domain::ReadState::new(parsed);
        assert_same_query(reading.query(), &oracle["query"]);
        prop_assert_eq!(reading.direction().is_backward(), oracle["backwards"].as_bool().unwrap_or(false));
        prop_assert_eq!(reading.position().get(), oracle["after"].as_i64().unwrap_or(0));
    }

    #[test]
    fn no_parser_panics_on_a_mutated_request(
        request in prop_oneof![append(), read()],
        mutations in mutations(),
    ) {
        let bytes = mutated(request, mutations);
        parsers().into_iter().for_each(|parse| assert_known_status(parse, &bytes));
    }

    #[test]
    fn the_fast_path_equals_the_slow_path(
        request in prop_oneof![append(), read()],
        mutations in prop_oneof![Just(Vec::new()), mutations()],
    ) {
        let bytes = mutated(request, mutations);
        prop_assert_eq!(parse_append(&bytes), parse_append_slow(&bytes));
        if !bytes.is_empty() {
            prop_assert_eq!(parse_read(&bytes), parse_read_slow(&bytes));
        }
    }

    #[test]
    fn no_parser_panics_on_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        parsers().into_iter().for_each(|parse| assert_known_status(parse, &bytes));
    }

    #[test]
    fn an_additional_key_is_rejected_in_every_object(
        place in 0..6_usize,
        key in prop_oneof!["[a-zA-Z]{0,12}", Just("type".to_owned()), Just("items".to_owned())],
        first in any::<bool>(),
    ) {
        // Each object of the request has all of its keys, so an additional one is unknown or
        // repeated.
        let mut objects = [
            r#""types":[],"tags":[]"#,
            r#""type":"A","tags":[],"data":1,"id":"i","metadata":{}"#,
            r#""failIfEventsMatch":QUERY,"after":1"#,
            r#""items":[{ITEM}]"#,
            r#""events":[{EVENT}],"condition":{CONDITION}"#,
            r#""failIfEventsMatch":null,"after":1"#,
        ].map(String::from);
        let more = format!("\"{key}\":null");
        let object = &mut objects[place];
        *object = if first { format!("{more},{object}") } else { format!("{object},{more}") };
        let [item, event, condition, query, request, other] = objects;
        let request = format!("{{{request}}}")
            .replace("{CONDITION}", &format!("[{{{condition}}},{{{other}}}]"))
            .replace("{EVENT}", &format!("{{{event}}}"))
            .replace("QUERY", &format!("{{{query}}}"))
            .replace("{ITEM}", &format!("{{{item}}}"));
        let without = request.replacen(&format!("{more},"), "", 1).replacen(&format!(",{more}"), "", 1);
        prop_assert!(parse_append(without.as_bytes()).is_ok(), "{}", without);
        let error = parse_append(request.as_bytes()).unwrap_err();
        prop_assert_eq!(error.status, Status::InvalidArgument);
    }
}
