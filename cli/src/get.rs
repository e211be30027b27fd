//! `dcb get`: prints one event.

use dcb::{CallOptions, Direction, EventId, Query, ReadRequest};

use crate::exit::Failure;
use crate::output::{EventPrinter, OutputArguments};
use crate::query;
use crate::store;

/// Which event to print, and how.
#[derive(clap::Args)]
pub struct Arguments {
    /// The store, such as `sqlite:events.db`; may be left out if DCB_URI is set
    #[arg(value_name = "URI")]
    first: Option<String>,
    /// The position of the event
    #[arg(value_name = "POSITION", allow_negative_numbers = true)]
    second: Option<String>,
    /// The id of the event
    #[arg(long, conflicts_with = "second")]
    id: Option<String>,
    #[command(flatten)]
    output: OutputArguments,
}

/// Returns the URI and the position that were given.
fn names(arguments: &Arguments) -> Result<(String, Option<i64>), Failure> {
    let (uri, position) = match (&arguments.first, &arguments.second) {
        (Some(uri), Some(position)) => (Some(uri.clone()), Some(position)),
        (Some(position), None) if !store::is_uri(position) && arguments.id.is_none() => {
            (std::env::var("DCB_URI").ok(), Some(position))
        }
        (Some(uri), None) => (Some(uri.clone()), None),
        (None, _) => (std::env::var("DCB_URI").ok(), None),
    };
    let uri = uri.ok_or_else(|| {
        Failure::usage("which store? Give its URI, such as sqlite:events.db, or set DCB_URI")
    })?;
    let position = match position {
        Some(text) => Some(text.parse::<i64>().map_err(|_| {
            Failure::usage(format!("`{text}` is no position: write dcb get URI POSITION"))
        })?),
        None if arguments.id.is_none() => {
            return Err(Failure::usage("which event? Give its position, or its --id"));
        }
        None => None,
    };
    Ok((uri, position))
}

/// Prints the event that the arguments name.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (uri, wanted) = names(arguments)?;
    let mut printer = EventPrinter::new(&arguments.output)?;
    let store = store::open_to_read(&uri)?;
    let call = CallOptions::default();
    let Some(position) = wanted else {
        let id = arguments.id.as_deref().unwrap_or_default();
        let found = EventId::new(id)
            .map_err(|error| Failure::usage(format!("--id {id:?}: {}", error.message)))
            .and_then(|id| Ok(store.find(id, &call)?))?;
        let Some(event) = found else {
            return Err(Failure::not_found(format!("no event has the id {id:?}")));
        };
        printer.event(&event.view())?;
        return printer.finish(event.position);
    };
    if position < 1 {
        return Err(Failure::usage("the first event has position 1"));
    }
    let position = query::position(position)?;
    let (after, before) = (position.previous(), position.checked_add(1));
    let request = ReadRequest::new(Query::all(), after, before, Some(1), Direction::Forward);
    let mut found = false;
    let read_to = store::for_each(&*store, request, &call, |event| {
        found = true;
        printer.event(event)?;
        Ok(true)
    })?;
    if found {
        return printer.finish(read_to);
    }
    let head = store.head(&call)?;
    Err(Failure::not_found(format!("no event at position {position}: the newest is at {head}")))
}
