//! What the clients of these tests do, and what has to be true of it afterwards.
//!
//! Each append claims a slot for a token, on condition that the slot is free. So a condition that is
//! judged on too little shows as a slot with two events, an append that is stored twice as a token
//! with two events, and an append that is repeated without asking as one that is refused for its
//! own event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dcb::json::{ReadResult, parse_append, parse_read};
use dcb::{BatchLimits, CallOptions, Error, EventView, Options, ReadState, Status, Store, Timeout};
use serde_json::Value;

/// Opens the store in the schema `dcb`.
pub fn open(uri: &str) -> dcb::Result<Arc<dyn Store>> {
    dcb::open(uri, &Options::default())
}

/// What a client tried, and what the store answered.
#[derive(Debug)]
pub struct Attempt {
    pub slot: u64,
    pub token: String,
    /// The position of the event, or the error.
    pub answer: Result<i64, Error>,
}

/// Returns options for a call that outlasts whatever the server does.
pub fn patient() -> CallOptions {
    CallOptions { timeout: Timeout::After(Duration::from_secs(60)), cancel: None }
}

/// Claims a slot for a token, unless it is taken.
pub fn claim(store: &dyn Store, slot: u64, token: &str, call: &CallOptions) -> Attempt {
    let request = format!(
        r#"{{"events": [{{"type": "Claimed", "tags": ["slot:{slot}"], "data": "{token}"}}],
            "condition": {{"failIfEventsMatch": {{"items": [{{"tags": ["slot:{slot}"]}}]}}}}}}"#
    );
    let request = parse_append(request.as_bytes()).unwrap();
    let answer = store.append(request, call).map(|appended| appended.last.get());
    Attempt { slot, token: token.to_owned(), answer }
}

/// Reads what a request selects, as a JSON document.
pub fn read(store: &dyn Store, request: &str, call: &CallOptions) -> dcb::Result<Value> {
    let mut reading = ReadState::new(parse_read(request.as_bytes())?);
    let mut result = ReadResult::new();
    loop {
        let mut count = 0;
        store.read(&mut reading, BatchLimits::ALL, call, &mut |event: &EventView<'_>| {
            count += 1;
            result.event(event)
        })?;
        if count == 0 {
            let document = result.finish(reading.position())?;
            return Ok(serde_json::from_slice(&document).unwrap());
        }
    }
}

/// Returns the slot and the token of every event, in order of their positions.
pub fn events(store: &dyn Store) -> Vec<(u64, String)> {
    let document = read(store, "{}", &CallOptions::default()).unwrap();
    let events = document["events"].as_array().unwrap();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["position"], index as i64 + 1, "a gap in the positions");
    }
    assert_eq!(document["position"], events.len() as i64);
    let pair = |event: &Value| {
        let slot = event["tags"][0].as_str().unwrap().strip_prefix("slot:").unwrap();
        (slot.parse().unwrap(), event["data"].as_str().unwrap().to_owned())
    };
    events.iter().map(pair).collect()
}

/// Compares what a store holds with what it has answered. Returns how many of the attempts are
/// stored.
pub fn check(store: &dyn Store, attempts: &[Attempt]) -> usize {
    let events = events(store);
    let mut slots = HashMap::new();
    let mut tokens = HashMap::new();
    for (index, (slot, token)) in events.iter().enumerate() {
        let position = index as i64 + 1;
        if let Some(other) = slots.insert(slot, position) {
            panic!("the slot {slot} is taken twice, at {other} and {position}");
        }
        if let Some(other) = tokens.insert(token.as_str(), position) {
            panic!("{token} is stored twice, at {other} and {position}");
        }
    }
    for attempt in attempts {
        let stored = tokens.get(attempt.token.as_str()).copied();
        match &attempt.answer {
            Ok(position) => assert_eq!(stored, Some(*position), "lost: {attempt:?}"),
            Err(error) if error.status == Status::ConditionFailed => {
                assert_eq!(stored, None, "refused, but stored: {attempt:?}");
                assert_eq!(
                    slots.get(&attempt.slot),
                    Some(&error.position.get()),
                    "refused for another event: {attempt:?}"
                );
            }
            Err(error) if is_unknown(error) => {}
            Err(_) => assert_eq!(stored, None, "failed, but stored: {attempt:?}"),
        }
    }
    attempts.iter().filter(|attempt| tokens.contains_key(attempt.token.as_str())).count()
}

/// Returns whether an error leaves open what has become of an append.
pub fn is_unknown(error: &Error) -> bool {
    matches!(error.status, Status::Io | Status::Unavailable | Status::Internal)
}
