//! `dcb count`: the number of events.

use std::io::{self, Write};

use dcb::CallOptions;

use crate::exit::Failure;
use crate::query::{QueryArguments, RangeArguments, Selection};
use crate::store::StoreArgument;

/// Which events to count.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    query: QueryArguments,
    #[command(flatten)]
    range: RangeArguments,
    /// Print JSON
    #[arg(long, help_heading = "Options")]
    json: bool,
}

/// Prints the number of events that the arguments select.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let selection = Selection::of(&arguments.query, &arguments.range)?;
    let store = arguments.store.open_to_read()?;
    let mut count = 0_i64;
    if selection.is_everything() {
        count = store.count(&CallOptions::default())?;
    } else {
        selection.for_each(&*store, |_| {
            count += 1;
            Ok(())
        })?;
    }
    match arguments.json {
        true => writeln!(io::stdout(), "{{\"events\":{count}}}")?,
        false => writeln!(io::stdout(), "{count}")?,
    }
    Ok(())
}
