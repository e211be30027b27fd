//! Runs a case on a store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};
use std::time::Duration;

use dcb::domain::{EventId, EventView, ReadState, position_of_after};
use dcb::json::{ReadResult, parse_append, parse_read};
use dcb::store::options::Options;
use dcb::store::{Appended, BatchLimits};
use dcb::{CallOptions, Error, Position, Store, Timeout};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::corpus::{Case, Step};

/// The kind of store that a case runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Memory,
    SqliteFile,
    SqliteMemory,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// The URI of the server for the cases that run on [`Target::Postgres`].
#[cfg(feature = "postgres")]
pub static SERVER: OnceLock<String> = OnceLock::new();

/// The number of schemas that cases have had so far.
#[cfg(feature = "postgres")]
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// The outcome of a step: its answer or its error.
type Outcome = Result<Answer, Error>;

#[derive(Debug)]
enum Answer {
    Appended(Appended),
    Head(i64),
    Count(i64),
    Read { events: Vec<Event>, position: i64 },
    Reopened,
}

/// An event as a read returned it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    position: i64,
    event_type: String,
    tags: Vec<String>,
    data: String,
    id: Option<String>,
    metadata: Option<String>,
    /// Microseconds since 1970.
    timestamp_us: i64,
}

/// Runs a case on a new store. The error reports the first step that fails.
pub fn play(case: &Case, target: Target) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut path = match target {
        #[cfg(feature = "postgres")]
        Target::Postgres => format!("case_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed)).into(),
        _ => folder.path().join("x.db"),
    };
    let mut store = open(target, &path, case.is_import);
    let mut result = Ok(());
    for (index, step) in case.steps.iter().enumerate() {
        let played = catch_unwind(AssertUnwindSafe(|| match step.kind.as_str() {
            "reopen" if !matches!(target, Target::Memory | Target::SqliteMemory) => {
                store.close();
                store = open(target, &path, case.is_import);
                Ok(Ok(Answer::Reopened))
            }
            "reopen" => Ok(Ok(Answer::Reopened)),
            "backup" if target == Target::SqliteFile => {
                let copy = folder.path().join(format!("copy {index}.db"));
                let copied = store.backup(&copy, &CallOptions::default(), &mut |_| Ok(()));
                if copied.is_ok() {
                    store.close();
                    path = copy;
                    store = open(target, &path, case.is_import);
                }
                Ok(copied.map(|head| Answer::Head(head.get())))
            }
            "backup" => {
                Ok(store.head(&CallOptions::default()).map(|head| Answer::Head(head.get())))
            }
            _ => act(&*store, step),
        }));
        let outcome = played.unwrap_or_else(|_| Err("the library panicked".to_owned()));
        result = outcome
            .and_then(|outcome| compare(&step.expect, outcome))
            .map_err(|what| format!("{}: {}: step {index}: {what}", case.file, case.name));
        if result.is_err() {
            break;
        }
    }
    store.close();
    result
}

fn open(target: Target, path: &Path, import: bool) -> Arc<dyn Store> {
    #[cfg_attr(not(feature = "postgres"), expect(unused_mut))]
    let mut options = Options { import, ..Options::default() };
    let uri = match target {
        Target::Memory => "memory:".to_owned(),
        Target::SqliteFile => format!("sqlite:{}", path.display()),
        Target::SqliteMemory => "sqlite::memory:".to_owned(),
        #[cfg(feature = "postgres")]
        Target::Postgres => {
            options.schema = path.to_str().map(str::to_owned);
            SERVER.get().expect("a server").clone()
        }
    };
    dcb::open(&uri, &options).unwrap_or_else(|error| panic!("{uri}: {error}"))
}

/// Runs a step. The outer error reports an invalid step or a result with a wrong shape.
fn act(store: &dyn Store, step: &Step) -> Result<Outcome, String> {
    let argument = step.argument.as_str();
    let text = || serde_json::from_str::<String>(argument).map_err(|e| e.to_string());
    let append = |request: &str| {
        parse_append(request.as_bytes())
            .and_then(|request| store.append(request, &CallOptions::default()))
            .map(Answer::Appended)
    };
    Ok(match step.kind.as_str() {
        "append" => append(argument),
        "append_text" => append(&text()?),
        "read" => read(store, argument)?,
        "read_text" => read(store, &text()?)?,
        "find" => find(store, &text()?),
        "head" => store.head(&CallOptions::default()).map(|head| Answer::Head(head.get())),
        "count" => store.count(&CallOptions::default()).map(Answer::Count),
        "wait" => {
            let wait: Value = serde_json::from_str(argument).map_err(|e| e.to_string())?;
            let (Some(after), Some(timeout)) =
                (wait["after"].as_i64(), wait["timeout_ms"].as_u64())
            else {
                return Err(format!("a wait needs after and timeout_ms, got {argument}"));
            };
            let timeout = Timeout::After(Duration::from_millis(timeout));
            position_of_after(after)
                .and_then(|after| store.wait(after, &CallOptions { timeout, cancel: None }))
                .map(|head| Answer::Head(head.get()))
        }
        kind => return Err(format!("unknown step {kind:?}")),
    })
}

/// Reads as a document and in batches of one and of many events, and compares the results.
fn read(store: &dyn Store, request: &str) -> Result<Outcome, String> {
    let document = read_document(store, request)?;
    for max_events in [1, 1000] {
        let mut events = Vec::new();
        let batched = read_batches(store, request, max_events, &mut |event| {
            events.push(Event::of(event));
            Ok(())
        });
        let agree = match (&document, &batched) {
            (Ok((whole, end)), Ok(position)) => *whole == events && end == position,
            (Err(one), Err(other)) => one == other,
            _ => false,
        };
        if !agree {
            return Err(format!(
                "a document has {document:?}, batches of {max_events} have {events:?}, {batched:?}"
            ));
        }
    }
    Ok(document.map(|(events, position)| Answer::Read { events, position }))
}

/// Looks an event up by its id.
fn find(store: &dyn Store, id: &str) -> Outcome {
    let found = EventId::new(id)
        .map_err(|error| error.at("id"))
        .and_then(|id| store.find(id, &CallOptions::default()));
    found.map(|found| Answer::Read {
        position: found.as_ref().map_or(0, |event| event.position.get()),
        events: found.iter().map(|event| Event::of(&event.view())).collect(),
    })
}

/// Reads in batches, and returns the position at the end of the read.
fn read_batches(
    store: &dyn Store,
    request: &str,
    max_events: usize,
    take: &mut dyn FnMut(&EventView<'_>) -> dcb::Result<()>,
) -> dcb::Result<i64> {
    let mut reading = ReadState::new(parse_read(request.as_bytes())?);
    let batch = BatchLimits { max_events, max_bytes: usize::MAX };
    loop {
        let mut taken = 0;
        store.read(&mut reading, batch, &CallOptions::default(), &mut |event: &EventView<
            '_,
        >| {
            taken += 1;
            take(event)
        })?;
        assert!(taken <= max_events, "{taken} events in a batch of {max_events}");
        if taken == 0 {
            return Ok(reading.position().get());
        }
    }
}

type Whole = Result<(Vec<Event>, i64), Error>;

fn read_document(store: &dyn Store, request: &str) -> Result<Whole, String> {
    let mut result = ReadResult::new();
    let read = read_batches(store, request, usize::MAX, &mut |event| result.event(event));
    let document = match read.and_then(|position| result.finish(Position::new(position)?)) {
        Ok(document) => document,
        Err(error) => return Ok(Err(error)),
    };
    let text = String::from_utf8(document).map_err(|e| e.to_string())?;
    let Members(members) = from_text(&text)?;
    let [(events_key, events), (position_key, position)] = &members[..] else {
        return Err(format!("a result must have the keys events and position, got {text}"));
    };
    if (events_key.as_str(), position_key.as_str()) != ("events", "position") {
        return Err(format!("a result must have the keys events and position, got {text}"));
    }
    let events: Vec<Members> = from_text(events)?;
    let events = events.iter().map(Event::from_members).collect::<Result<_, _>>()?;
    Ok(Ok((events, from_text(position)?)))
}

impl Event {
    fn of(view: &EventView<'_>) -> Self {
        Event {
            position: view.position.get(),
            event_type: view.event_type.to_owned(),
            tags: view.tags.iter().map(str::to_owned).collect(),
            data: view.data.to_owned(),
            id: view.id.map(str::to_owned),
            metadata: view.metadata.map(str::to_owned),
            timestamp_us: view.timestamp_us,
        }
    }

    fn from_members(Members(members): &Members) -> Result<Self, String> {
        let keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
        let of =
            |key: &str| members.iter().find(|(own, _)| own == key).map(|(_, text)| text.as_str());
        let order = ["position", "type", "tags", "data", "id", "metadata", "timestamp"];
        let in_order: Vec<&str> = order
            .into_iter()
            .filter(|key| !["id", "metadata"].contains(key) || of(key).is_some())
            .collect();
        if keys != in_order {
            return Err(format!("an event has the keys {keys:?}"));
        }
        let timestamp: String = from_text(of("timestamp").unwrap_or(""))?;
        Ok(Event {
            position: from_text(of("position").unwrap_or(""))?,
            event_type: from_text(of("type").unwrap_or(""))?,
            tags: from_text(of("tags").unwrap_or(""))?,
            data: of("data").unwrap_or("").to_owned(),
            id: of("id").map(from_text).transpose()?,
            metadata: of("metadata").map(str::to_owned),
            timestamp_us: micros_of(&timestamp)?,
        })
    }
}

/// Returns the microseconds since 1970 of a timestamp, as the store parses it for an import.
fn micros_of(timestamp: &str) -> Result<i64, String> {
    let document = json!({"events": [{"type": "A", "timestamp": timestamp}]}).to_string();
    let request = parse_append(document.as_bytes()).map_err(|error| error.to_string())?;
    request.events()[0].given_timestamp_us().ok_or_else(|| "no timestamp".to_owned())
}

/// The keys of an object in the order given, each with the JSON text of its value.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((key, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn from_text<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))
}

fn compare(expect: &Map<String, Value>, outcome: Outcome) -> Result<(), String> {
    let status = expect.get("status").cloned().unwrap_or(json!("ok"));
    let answer = match outcome {
        Err(error) => {
            same("status", status, json!(error.status.name()))
                .map_err(|what| format!("{what} ({error})"))?;
            return each(expect, |key, value| match (key, value) {
                ("status", _) => Some(Ok(())),
                ("position", _) => Some(same(key, value.clone(), json!(error.position.get()))),
                ("condition", _) => Some(same(key, value.clone(), json!(error.detail))),
                ("message_contains", Value::String(piece)) => {
                    Some(if error.message.contains(piece.as_str()) {
                        Ok(())
                    } else {
                        Err(format!("{key}: expected {value}, got {:?}", error.message))
                    })
                }
                _ => None,
            });
        }
        Ok(answer) => answer,
    };
    same("status", status, json!("ok")).map_err(|what| format!("{what}: {answer:?}"))?;
    each(expect, |key, value| {
        Some(match (key, &answer) {
            ("status", _) => Ok(()),
            ("last", Answer::Appended(got)) => same(key, value.clone(), json!(got.last.get())),
            ("repeated", Answer::Appended(got)) => same(key, value.clone(), json!(got.is_repeated)),
            ("head", Answer::Head(got))
            | ("count", Answer::Count(got))
            | ("position", Answer::Read { position: got, .. }) => {
                same(key, value.clone(), json!(got))
            }
            ("positions", Answer::Read { events, .. }) => {
                let got: Vec<i64> = events.iter().map(|event| event.position).collect();
                same(key, value.clone(), json!(got))
            }
            ("events", Answer::Read { events, .. }) => compare_events(value, events),
            _ => return None,
        })
    })
}

/// Compares every key with `look`. A key that it does not know is an error in the corpus.
fn each(
    expect: &Map<String, Value>,
    look: impl Fn(&str, &Value) -> Option<Result<(), String>>,
) -> Result<(), String> {
    expect.iter().try_for_each(|(key, value)| {
        look(key, value).unwrap_or_else(|| Err(format!("cannot expect {key}: {value}")))
    })
}

fn compare_events(expected: &Value, got: &[Event]) -> Result<(), String> {
    let expected = expected.as_array().ok_or("events: not a list")?;
    for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
        let expected = expected.as_object().ok_or("events: not a list of objects")?;
        compare_event(expected, got).map_err(|what| format!("events[{index}].{what}"))?;
    }
    same("number of events", json!(expected.len()), json!(got.len()))
}

fn compare_event(expected: &Map<String, Value>, got: &Event) -> Result<(), String> {
    let known = [
        "position",
        "type",
        "tags",
        "data",
        "data_text",
        "id",
        "metadata",
        "metadata_text",
        "timestamp",
    ];
    if let Some(key) = expected.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("{key}: unknown key"));
    }
    let member = |key: &str| expected.get(key).cloned();
    same("position", member("position"), json!(got.position))?;
    same("type", member("type"), json!(got.event_type))?;
    same("tags", member("tags").unwrap_or(json!([])), json!(got.tags))?;
    same("id", member("id"), got.id.as_ref().map(|id| json!(id)))?;
    if let Some(timestamp) = member("timestamp") {
        let text = timestamp.as_str().ok_or("timestamp: not a text")?;
        same("timestamp", json!(micros_of(text)?), json!(got.timestamp_us))?;
    }
    match member("data_text") {
        Some(text) => same("data_text", text, json!(got.data))?,
        None => {
            same("data", member("data").unwrap_or(Value::Null), from_text::<Value>(&got.data)?)?
        }
    }
    match (member("metadata_text"), &got.metadata) {
        (Some(text), Some(got)) => same("metadata_text", text, json!(got)),
        (None, Some(got)) => same("metadata", member("metadata"), from_text::<Value>(got)?),
        (text, None) => same("metadata", text.or(member("metadata")), None),
    }
}

/// Compares two values. `None` stands for a key that is missing.
fn same(
    what: &str,
    expected: impl Into<Option<Value>>,
    got: impl Into<Option<Value>>,
) -> Result<(), String> {
    let (expected, got) = (expected.into(), got.into());
    if expected == got {
        return Ok(());
    }
    let show = |value: Option<Value>| value.map_or("none".to_owned(), |value| value.to_string());
    Err(format!("{what}: expected {}, got {}", show(expected), show(got)))
}
