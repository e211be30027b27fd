//! `dcb salvage`: writes all that is good of a damaged store to a new one.

use std::io::{self, Write};

use dcb::{CallOptions, Position};

use crate::exit::Failure;
use crate::progress::{Progress, Unit};
use crate::scan;
use crate::store::StoreArgument;
use crate::transfer::{Appender, Chunk, open_to_import};

/// What to save, and where to.
#[derive(clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// The store to create
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

/// Copies every event that can be read, and prints which cannot.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let source = arguments.store.open_to_read()?;
    let head = source.head(&CallOptions::default())?;
    let destination = open_to_import(&arguments.destination)?;
    let mut appender = Appender::new(&*destination)?;
    if appender.head != Position::START {
        return Err(Failure::usage("the destination has events already: name a new store"));
    }
    let bar = Progress::new("saving", Unit::Events, Some(head.get().unsigned_abs()));
    let mut chunk = Chunk::default();
    let gaps = scan::scan(&*source, head.get(), |event| {
        let saved = event.to_owned()?.into_import();
        if chunk.is_full_for(&saved) {
            appender.append(std::mem::take(&mut chunk))?;
            bar.reach(event.position.get().unsigned_abs());
        }
        chunk.push(saved);
        Ok(())
    })?;
    appender.append(chunk)?;
    drop(bar);
    let mut out = io::stdout().lock();
    writeln!(out, "{} of {head} events saved", appender.head)?;
    let mut lost = 0;
    for gap in &gaps {
        lost += gap.last - gap.first + 1;
        writeln!(out, "lost: positions {} to {} ({})", gap.first, gap.last, gap.reason)?;
    }
    if let Some(first) = gaps.first() {
        return Err(Failure::new(format!(
            "{lost} events are lost; those above position {} have other positions than before",
            first.first - 1
        )));
    }
    Ok(())
}
