//! `dcb migrate`: brings a store to the newest format.

use std::io::{self, Write};

use dcb::CallOptions;

use crate::exit::Failure;
use crate::store::StoreArgument;

/// Which store to migrate.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the format of a store. One that is not of the newest format does not open.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let diagnosis = arguments.store.open_to_read()?.diagnose(&CallOptions::default())?;
    let of_sqlite = diagnosis.sqlite.map(|sqlite| sqlite.format);
    let of_postgres = diagnosis.postgres.map(|postgres| postgres.format);
    let Some(format) = of_sqlite.or(of_postgres) else {
        return Err(Failure::usage("a store in memory has no format"));
    };
    let mut out = io::stdout();
    match arguments.json {
        true => writeln!(
            out,
            "{{\"format\":{format},\"newest\":{format},\"dry_run\":{},\"migrated\":false}}",
            arguments.dry_run
        )?,
        false => writeln!(out, "format {format} is the newest: there is nothing to do")?,
    }
    Ok(())
}
