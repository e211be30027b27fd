//! libdcb, with requests as JSON, as the programs of every language hand them over.

use std::sync::Arc;
use std::time::Duration;

use dcb::json::{parse_append, parse_read};
use dcb::{
    BatchLimits, CallOptions, EventView, Options, Position, ReadState, Status, Store, Timeout,
};

use super::{Condition, Subject};
use crate::load::Event;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many events a read takes from the store at once.
const BATCH: BatchLimits = BatchLimits { max_events: 1024, max_bytes: usize::MAX };

pub struct Libdcb(Arc<dyn Store>);

impl Libdcb {
    pub fn open(uri: &str) -> Self {
        Libdcb(dcb::open(uri, &Options::default()).expect("the store to open"))
    }
}

fn call() -> CallOptions {
    CallOptions { timeout: Timeout::After(PATIENCE), cancel: None }
}

fn position(position: u64) -> Position {
    Position::new(position.cast_signed()).expect("a position")
}

impl Subject for Libdcb {
    fn append(&self, events: &[Event], condition: Condition<'_>) -> bool {
        let request = append_request(events, condition);
        let request = parse_append(request.as_bytes()).expect("a request");
        match self.0.append(request, &call()) {
            Ok(_) => true,
            Err(error) if error.status == Status::ConditionFailed => false,
            Err(error) => panic!("libdcb: {error}"),
        }
    }

    fn read(&self, tag: Option<&str>, after: u64) -> (u64, u64) {
        let query = tag.map_or_else(String::new, |tag| {
            format!("\"query\":{{\"items\":[{{\"tags\":[\"{tag}\"]}}]}},")
        });
        let request = format!("{{{query}\"after\":{after}}}");
        let mut reading = ReadState::new(parse_read(request.as_bytes()).expect("a request"));
        let (mut events, mut bytes) = (0, 0);
        while !reading.has_begun() || reading.span().is_some() {
            let mut look = |event: &EventView<'_>| {
                events += 1;
                bytes += std::hint::black_box(event.data).len();
                Ok(())
            };
            self.0.read(&mut reading, BATCH, &call(), &mut look).expect("a read");
        }
        std::hint::black_box(bytes);
        (events, reading.position().get().cast_unsigned())
    }

    fn wait(&self, after: u64) {
        self.0.wait(position(after), &call()).expect("an event to wait for");
    }
}

/// The JSON of an append. Nothing in the load needs escaping.
fn append_request(events: &[Event], condition: Condition<'_>) -> String {
    let mut json = String::with_capacity(160 + events.len() * 400);
    json.push_str("{\"events\":[");
    for (index, event) in events.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let tags = event.tags.join("\",\"");
        let (event_type, data) = (event.event_type, event.data);
        json +=
            &format!("{comma}{{\"type\":\"{event_type}\",\"tags\":[\"{tags}\"],\"data\":{data}}}");
    }
    json.push(']');
    if let Some((tag, after)) = condition {
        json += &format!(
            ",\"condition\":{{\"failIfEventsMatch\":{{\"items\":[{{\"tags\":[\"{tag}\"]}}]}},\
             \"after\":{after}}}"
        );
    }
    json.push('}');
    json
}
