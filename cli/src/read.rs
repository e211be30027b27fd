//! `dcb read`: prints events.

use crate::exit::Failure;
use crate::output::{EventPrinter, OutputArguments};
use crate::query::{QueryArguments, RangeArguments, Selection};
use crate::store::StoreArgument;

/// Which events to print, and how.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    query: QueryArguments,
    #[command(flatten)]
    range: RangeArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// Prints the events that the arguments select.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let selection = Selection::of(&arguments.query, &arguments.range)?;
    let mut printer = EventPrinter::new(&arguments.output)?;
    let store = arguments.store.open_to_read()?;
    let position = selection.for_each(&*store, |event| printer.event(event))?;
    printer.finish(position)
}
