//! `dcb head`: the position of the newest event.

use std::io::{self, Write};

use dcb::CallOptions;

use crate::exit::Failure;
use crate::store::StoreArgument;

/// Which store to ask.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the position of the newest event, 0 if there is none.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let head = arguments.store.open_to_read()?.head(&CallOptions::default())?;
    match arguments.json {
        true => writeln!(io::stdout(), "{{\"head\":{head}}}")?,
        false => writeln!(io::stdout(), "{head}")?,
    }
    Ok(())
}
