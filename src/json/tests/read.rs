use crate::domain::{Direction, Query, ReadRequest, ReadState};
use crate::json::parse_read;
use crate::json::tests::assert_invalid;
use crate::position::at;

/// Asserts that a request parses to these values.
#[track_caller]
fn reads_as(request: &str, expected: (Query, i64, Option<i64>, Option<u64>, bool)) {
    let (query, after, before, limit, backwards) = expected;
    let expected = ReadRequest::new(
        query,
        at(after),
        before.map(at),
        limit,
        Direction::from_backwards(backwards),
    );
    let parsed = parse_read(request.as_bytes()).unwrap();
    assert_eq!(format!("{parsed:?}"), format!("{expected:?}"), "{request}");
}

#[test]
fn every_key_is_optional() {
    for request in [
        "",
        "{}",
        " { } ",
        r#"{"query": null, "after": null, "before": null, "limit": null, "backwards": false}"#,
        r#"{"after": 0}"#,
        r#"{"after": -1}"#,
        r#"{"after": -0}"#,
    ] {
        reads_as(request, (Query::all(), 0, None, None, false));
    }
}

#[test]
fn every_key_is_parsed() {
    reads_as(
        r#"{"backwards": true, "limit": 3, "before": 9223372036854775807, "after": 4, "query": null}"#,
        (Query::all(), 4, Some(i64::MAX), Some(3), true),
    );
    reads_as(
        r#"{"limit": -0, "before": 0, "after": 9223372036854775807}"#,
        (Query::all(), i64::MAX, Some(0), Some(0), false),
    );
    reads_as(
        r#"{"query": {"items": [{}]}}"#,
        (Query::of(vec![Default::default()]).unwrap(), 0, None, None, false),
    );
}

/// A parser whose time grows with the square of the number of names would take minutes here.
#[test]
fn an_item_may_have_many_types_and_tags() {
    let all: Vec<String> = (0..50_000).map(|n| format!(r#""n{n}""#)).collect();
    let names = |key: &str| format!(r#""{key}": [{}]"#, all.join(", "));
    let (types, tags) = (names("types"), names("tags"));
    let parse = |first: &str, second: &str| {
        let request = format!(r#"{{"query": {{"items": [{{{first}, {second}}}]}}}}"#);
        ReadState::new(parse_read(request.as_bytes()).unwrap())
    };
    let (one, other) = (parse(&types, &tags), parse(&tags, &types));
    for request in [&one, &other] {
        let [item] = request.query().items().unwrap() else { panic!("one item") };
        assert_eq!((item.types().iter().count(), item.tags().iter().count()), (50_000, 50_000));
    }
    assert!(one.query() == other.query());
}

#[test]
fn an_error_of_a_read_names_the_json_path() {
    for (request, message) in [
        ("null", "request: must be an object"),
        ("[null, 0]", "request: must be an object"),
        ("\"\"", "request: must be an object"),
        (r#"{"after": -2}"#, "after: must be -1 or more"),
        (r#"{"before": -1}"#, "before: must not be negative"),
        (r#"{"limit": -1}"#, "limit: must not be negative"),
        (r#"{"backwards": null}"#, "backwards: must be true or false"),
        (r#"{"backwards": 0}"#, "backwards: must be true or false"),
        (r#"{"backwards": "true"}"#, "backwards: must be true or false"),
        (r#"{"backwards": []}"#, "backwards: must be true or false"),
        (r#"{"query": []}"#, "query: must be an object, or null to match every event"),
        (r#"{"query": {}}"#, "query.items: is missing (a null query matches every event)"),
        (
            r#"{"query": {"items": []}}"#,
            "query.items: must not be empty (a null query matches every event)",
        ),
        (r#"{"query": {"items": [["A"]]}}"#, "query.items[0]: must be an object"),
        (r#"{"query": {"items": [null]}}"#, "query.items[0]: must be an object"),
    ] {
        assert_invalid(parse_read(request.as_bytes()), message);
    }
}

#[test]
fn only_an_integer_is_accepted_as_an_integer() {
    for key in ["after", "before", "limit"] {
        for value in ["1.0", "1e2", "1E2", "\"1\"", "true", "[1]", "{}", "-0.0", "0e0"] {
            assert_invalid(
                parse_read(format!("{{\"{key}\": {value}}}").as_bytes()),
                &format!("{key}: must be an integer"),
            );
        }
        for value in
            ["9223372036854775808", "-9223372036854775809", "100000000000000000000000000000000000"]
        {
            assert_invalid(
                parse_read(format!("{{\"{key}\": {value}}}").as_bytes()),
                &format!("{key}: is outside the range of a 64-bit integer"),
            );
        }
        for value in ["01", "+1", "1.", ".5", "0x1", "-", "--1", "NaN", "Infinity", "1_0"] {
            let error = parse_read(format!("{{\"{key}\": {value}}}").as_bytes()).unwrap_err();
            assert!(error.message.contains("not valid JSON"), "{error}");
        }
    }
}

#[test]
fn a_query_is_a_document_by_itself() {
    let json = r#"{"items": [{"types": ["A"], "tags": ["k:v"]}, {}]}"#;
    let request = parse_read(format!(r#"{{"query": {json}}}"#).as_bytes()).unwrap();
    assert_eq!(&Query::from_json(json).unwrap(), ReadState::new(request).query());
    assert_eq!(Query::from_json(" null "), Ok(Query::all()));
    assert_invalid(
        Query::from_json(r#"{"items": [{"tags": [":v"]}]}"#),
        "items[0].tags[0]: a tag with a colon needs a key before it",
    );
    for wrong in ["", "[]", "{}", r#"{"items": []}"#, r#"{"items": [{}], "x": 1}"#, "null null"] {
        assert!(Query::from_json(wrong).is_err(), "{wrong}");
    }
}
