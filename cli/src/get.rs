//! `dcb get`: prints one event.

use dcb::{CallOptions, Direction, Query, ReadRequest};

use crate::exit::Failure;
use crate::output::{EventPrinter, OutputArguments};
use crate::query;
use crate::store::{self, StoreArgument};

/// Which event to print, and how.
#[derive(clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// The position of the event
    #[arg(required_unless_present = "id")]
    position: Option<i64>,
    /// The id of the event; looks at every event
    #[arg(long, conflicts_with = "position")]
    id: Option<String>,
    #[command(flatten)]
    output: OutputArguments,
}

/// Prints the event that the arguments name.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut printer = EventPrinter::new(&arguments.output)?;
    let store = arguments.store.open_to_read()?;
    let request = match arguments.position {
        Some(..=0) => return Err(Failure::usage("the first event has position 1")),
        Some(position) => {
            let position = query::position(position)?;
            let (after, before) = (position.previous(), position.checked_add(1));
            ReadRequest::new(Query::all(), after, before, Some(1), Direction::Forward)
        }
        None => ReadRequest::default(),
    };
    let mut found = false;
    let position = store::for_each(&*store, request, &CallOptions::default(), |event| {
        if arguments.position.is_some() || event.id == arguments.id.as_deref() {
            found = true;
            printer.event(event)?;
        }
        Ok(!found)
    })?;
    if found {
        return printer.finish(position);
    }
    let head = store.head(&CallOptions::default())?;
    Err(Failure::not_found(match (arguments.position, &arguments.id) {
        (Some(position), _) => {
            format!("no event at position {position}: the newest is at {head}")
        }
        (None, id) => format!("no event has the id {:?}", id.as_deref().unwrap_or_default()),
    }))
}
