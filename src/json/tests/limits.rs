use crate::domain::AppendRequest;
use crate::json::{parse_append, parse_options, parse_read};
use crate::limits::{
    MAX_CONDITIONS_PER_APPEND, MAX_DATA_BYTES, MAX_EVENTS_PER_APPEND, MAX_ITEMS_PER_QUERY,
    MAX_JSON_DEPTH, MAX_NAMES_PER_QUERY, MAX_REQUEST_BYTES, MAX_TAGS_PER_EVENT,
};
use crate::{Error, Status};

/// Asserts that `result` is the error `too_large` with this message.
#[track_caller]
fn assert_too_large<T: std::fmt::Debug>(result: crate::Result<T>, message: &str) {
    assert_eq!(result.unwrap_err(), Error::too_large(message.to_owned()));
}

/// Returns a list that repeats `element` `count` times.
fn list_of(element: &str, count: usize) -> String {
    format!("[{}]", vec![element; count].join(","))
}

#[test]
fn the_events_of_an_append_are_limited() {
    let request = |count| format!("{{\"events\":{}}}", list_of(r#"{"type":"A"}"#, count));
    let most = parse_append(request(MAX_EVENTS_PER_APPEND).as_bytes()).unwrap();
    assert_eq!(most.events().len(), MAX_EVENTS_PER_APPEND);
    assert_too_large(
        parse_append(request(MAX_EVENTS_PER_APPEND + 1).as_bytes()),
        "events[100000]: more than 100000 events in an append",
    );
}

#[test]
fn the_tags_of_an_event_are_limited() {
    let request =
        |count| format!("{{\"events\":[{{\"type\":\"A\",\"tags\":{}}}]}}", list_of("\"t\"", count));
    let most = parse_append(request(MAX_TAGS_PER_EVENT).as_bytes()).unwrap();
    assert_eq!(most.events()[0].tags().len(), 1);
    assert_too_large(
        parse_append(request(MAX_TAGS_PER_EVENT + 1).as_bytes()),
        "events[0].tags[256]: more than 256 tags on an event",
    );
}

#[test]
fn the_items_of_a_query_are_limited() {
    let request = |count| format!("{{\"query\":{{\"items\":{}}}}}", list_of("{}", count));
    assert!(parse_read(request(MAX_ITEMS_PER_QUERY).as_bytes()).is_ok());
    assert_too_large(
        parse_read(request(MAX_ITEMS_PER_QUERY + 1).as_bytes()),
        "query.items[10000]: more than 10000 items in a query",
    );
}

#[test]
fn the_types_and_tags_of_a_query_are_limited() {
    let request = |count: usize| {
        let half = count / 2;
        let (types, tags) = (list_of("\"A\"", half), list_of("\"t\"", count - half));
        format!("{{\"query\":{{\"items\":[{{\"types\":{types}}},{{\"tags\":{tags}}}]}}}}")
    };
    assert!(parse_read(request(MAX_NAMES_PER_QUERY).as_bytes()).is_ok());
    assert_too_large(
        parse_read(request(MAX_NAMES_PER_QUERY + 1).as_bytes()),
        "query.items: more than 100000 types and tags in a query",
    );
}

#[test]
fn the_conditions_of_an_append_are_limited() {
    let request = |count| {
        let conditions = list_of("{\"failIfEventsMatch\":null,\"after\":9}", count);
        format!("{{\"events\":[{{\"type\":\"A\"}}],\"condition\":{conditions}}}")
    };
    let most = parse_append(request(MAX_CONDITIONS_PER_APPEND).as_bytes()).unwrap();
    assert_eq!(most.conditions().len(), MAX_CONDITIONS_PER_APPEND);
    assert_too_large(
        parse_append(request(MAX_CONDITIONS_PER_APPEND + 1).as_bytes()),
        "condition[1000]: more than 1000 conditions in an append",
    );
    let [event] = most.events() else { panic!("one event") };
    let too_many = [most.conditions(), &most.conditions()[..1]].concat();
    assert_too_large(
        AppendRequest::new(vec![event.clone()], too_many),
        "condition: more than 1000 conditions in an append",
    );
}

#[test]
fn the_bytes_of_a_name_are_limited() {
    let longest = "n".repeat(255);
    let request = |name: &str| {
        format!(r#"{{"events":[{{"type":"{name}","tags":["{name}"],"id":"{name}"}}]}}"#)
    };
    assert!(parse_append(request(&longest).as_bytes()).is_ok());
    for (request, message) in [
        (
            format!(r#"{{"events":[{{"type":"{longest}n"}}]}}"#),
            "events[0].type: a type of 256 bytes exceeds the limit of 255",
        ),
        (
            format!(r#"{{"events":[{{"type":"A","tags":["{longest}n"]}}]}}"#),
            "events[0].tags[0]: a tag of 256 bytes exceeds the limit of 255",
        ),
        (
            format!(r#"{{"events":[{{"type":"A","id":"{longest}n"}}]}}"#),
            "events[0].id: an id of 256 bytes exceeds the limit of 255",
        ),
        (
            format!(
                r#"{{"condition":{{"failIfEventsMatch":{{"items":[{{"types":["{longest}n"]}}]}}}}}}"#
            ),
            "condition.failIfEventsMatch.items[0].types[0]: a type of 256 bytes exceeds the limit of 255",
        ),
    ] {
        assert_too_large(parse_append(request.as_bytes()), message);
    }
}

#[test]
fn the_bytes_of_data_and_metadata_are_limited() {
    let data = |bytes: usize| format!("\"{}\"", "d".repeat(bytes - 2));
    let request = |key: &str, value: &str| {
        parse_append(format!(r#"{{"events":[{{"type":"A","{key}":{value}}}]}}"#).as_bytes())
    };
    assert!(request("data", &data(MAX_DATA_BYTES)).is_ok());
    assert_too_large(
        request("data", &data(MAX_DATA_BYTES + 1)),
        "events[0].data: 16777217 bytes exceed the limit of 16777216",
    );
    let metadata = |bytes: usize| format!("{{\"m\":{}}}", data(bytes - 6));
    assert!(request("metadata", &metadata(MAX_DATA_BYTES)).is_ok());
    assert_too_large(
        request("metadata", &metadata(MAX_DATA_BYTES + 1)),
        "events[0].metadata: 16777217 bytes exceed the limit of 16777216",
    );
}

#[test]
fn the_bytes_of_a_request_are_limited() {
    // The longest request passes the check of its length, and then fails at its first byte.
    let longest = vec![b'\xff'; MAX_REQUEST_BYTES];
    let error = parse_read(&longest).unwrap_err();
    assert!(error.message.contains("not valid UTF-8 at byte 0"), "{error}");
    let longer = vec![b' '; MAX_REQUEST_BYTES + 1];
    let message = "request: 268435457 bytes exceed the limit of 268435456";
    assert_too_large(parse_read(&longer), message);
    assert_too_large(parse_append(&longer), message);
}

#[test]
fn the_depth_includes_data_and_metadata() {
    // The request, its list of events and the event are three levels.
    let data = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let request = |key: &str, value: &str| {
        parse_append(format!(r#"{{"events":[{{"type":"A","{key}":{value}}}]}}"#).as_bytes())
    };
    let deepest = MAX_JSON_DEPTH - 3;
    assert!(request("data", &data(deepest)).is_ok());
    assert_too_large(
        request("data", &data(deepest + 1)),
        "events[0].data: more than 512 levels of nested arrays and objects",
    );
    let metadata = |depth: usize| format!("{{\"m\":{}}}", data(depth - 1));
    assert!(request("metadata", &metadata(deepest)).is_ok());
    assert_too_large(
        request("metadata", &metadata(deepest + 1)),
        "events[0].metadata: more than 512 levels of nested arrays and objects",
    );
}

#[test]
fn the_depth_takes_precedence_over_other_rules() {
    for request in [
        "[".repeat(MAX_JSON_DEPTH + 1),
        "[".repeat(1_000_000),
        "{\"a\":".repeat(1_000_000),
        "{\"events\":[{\"type\":\"A\",\"data\":".to_owned() + &"[".repeat(600_000),
        "{\"query\":".to_owned() + &"[".repeat(600_000),
    ] {
        for result in [
            parse_append(request.as_bytes()).map(drop),
            parse_read(request.as_bytes()).map(drop),
            parse_options(request.as_bytes()).map(drop),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.status, Status::TooLarge);
            assert!(error.message.contains("more than 512 levels"), "{error}");
        }
    }
}
