//! `dcb append`: stores events.

use std::io::{self, BufRead, IsTerminal, Write};

use dcb::{
    AppendCondition, AppendRequest, CallOptions, Direction, Event, Position, Query, ReadRequest,
    Status, Store,
};

use crate::exit::Failure;
use crate::json;
use crate::lines;
use crate::output::Field;
use crate::query;
use crate::store::{self, StoreArgument};

/// What to store, and on which condition.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// The type of the one event to append; without it, events are read from stdin as NDJSON
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// A tag of the event; may be repeated
    #[arg(short = 'g', long = "tag", value_name = "TAG", requires = "event_type")]
    tags: Vec<String>,
    /// The data of the event
    #[arg(
        short,
        long,
        value_name = "JSON",
        requires = "event_type",
        allow_negative_numbers = true
    )]
    data: Option<String>,
    /// The id of the event: appending it again changes nothing
    #[arg(long, value_name = "ID", requires = "event_type")]
    id: Option<String>,
    /// The metadata of the event, an object
    #[arg(short, long, value_name = "JSON", requires = "event_type")]
    metadata: Option<String>,
    /// Append nothing if an event matches this: JSON, or `type=A,B tag=k:v`; may be repeated
    #[arg(long, value_name = "QUERY")]
    fail_if: Vec<String>,
    /// Only events above this position make the append fail
    #[arg(
        short = 'a',
        long,
        value_name = "POSITION",
        requires = "fail_if",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    after: i64,
}

/// Appends all events or none, and prints the position of the last one.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut conditions = Vec::new();
    for text in &arguments.fail_if {
        let query = query::parse_query(text).map_err(|failure| failure.at("--fail-if"))?;
        conditions.push(AppendCondition::new(query, query::after(arguments.after)?));
    }
    let events = match &arguments.event_type {
        Some(event_type) => vec![event(arguments, event_type)?],
        None => events_of(io::stdin().lock())?,
    };
    let request = AppendRequest::new(events, conditions)?;
    let store = arguments.store.open_to_write()?;
    match store.append(request, &CallOptions::default()) {
        Ok(appended) => {
            writeln!(io::stdout(), "{}", appended.last)?;
            Ok(())
        }
        Err(error) => {
            let shows_event = matches!(error.status, Status::ConditionFailed | Status::DuplicateId);
            let stored = if shows_event { event_at(&*store, error.position) } else { None };
            let failure = Failure::from(error);
            Err(match stored {
                Some(line) => failure.and(&line),
                None => failure,
            })
        }
    }
}

/// Returns the event that the options describe. The library parses it, as it would a request.
fn event(arguments: &Arguments, event_type: &str) -> Result<Event, Failure> {
    let mut text = b"{\"type\":".to_vec();
    json::string(&mut text, event_type);
    text.extend_from_slice(b",\"tags\":");
    // A list of strings cannot fail to be JSON.
    let _ = serde_json::to_writer(&mut text, &arguments.tags);
    let mut member = |key: &str, json: &str| {
        text.extend_from_slice(format!(",\"{key}\":").as_bytes());
        text.extend_from_slice(json.as_bytes());
    };
    for (key, name, value) in
        [("data", "--data", &arguments.data), ("metadata", "--metadata", &arguments.metadata)]
    {
        if let Some(value) = value {
            serde_json::from_str::<serde::de::IgnoredAny>(value).map_err(|error| {
                Failure::usage(format!(
                    "{name}: not valid JSON: {error} (a text needs quotes: '\"text\"')"
                ))
            })?;
            member(key, value);
        }
    }
    if let Some(id) = &arguments.id {
        member("id", &serde_json::Value::from(id.as_str()).to_string());
    }
    text.push(b'}');
    Ok(Event::from_json(&String::from_utf8_lossy(&text))?)
}

/// Returns the events that are lines of `input`.
fn events_of(input: impl BufRead) -> Result<Vec<Event>, Failure> {
    if io::stdin().is_terminal() {
        eprintln!("dcb: reads events from the terminal, one JSON object a line; Ctrl-D ends");
    }
    let mut events = Vec::new();
    for (index, line) in input.lines().enumerate() {
        let place = format!("stdin, line {}", index + 1);
        let line = line.map_err(|error| Failure::new(error.to_string()).at(&place))?;
        if line.trim().is_empty() {
            continue;
        }
        let event = Event::from_json(&line).map_err(|error| Failure::from(error).at(&place));
        if event.as_ref().map_or(is_stored(&line), |event| event.given_timestamp_us().is_some()) {
            return Err(Failure::usage(
                "an event that was stored before, with its position or its timestamp, is appended \
                 by dcb import",
            )
            .at(&place));
        }
        events.push(event?);
    }
    if events.is_empty() {
        return Err(Failure::usage(
            "no event: give --type, or events on stdin, one JSON object a line",
        ));
    }
    Ok(events)
}

/// Returns whether a line is an event as a read or an export prints it.
fn is_stored(line: &str) -> bool {
    lines::parse(line).is_ok_and(|line| line.position.is_some())
}

/// Returns a stored event as a line of JSON.
fn event_at(store: &dyn Store, position: Position) -> Option<String> {
    let before = position.checked_add(1);
    let request =
        ReadRequest::new(Query::all(), position.previous(), before, Some(1), Direction::Forward);
    let mut line = Vec::new();
    store::for_each(store, request, &CallOptions::default(), |event| {
        json::event(&mut line, event, &Field::ALL);
        Ok(true)
    })
    .ok()?;
    (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
}
