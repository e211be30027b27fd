//! `dcb export`: writes events to a file.

use std::path::PathBuf;

use clap::ValueEnum;
use dcb::CallOptions;

use crate::cloudevents;
use crate::exit::Failure;
use crate::files::Output;
use crate::json;
use crate::output::Field;
use crate::progress::{Progress, Unit};
use crate::query::{QueryArguments, RangeArguments, Selection};
use crate::signals;
use crate::store;
use crate::table::counted;

/// What to write, and where to.
#[derive(clap::Args)]
pub struct Arguments {
    /// The store, such as `sqlite:events.db`; may be left out if DCB_URI is set
    #[arg(value_name = "URI")]
    first: Option<String>,
    /// The file to create, compressed if its name ends with `.zst`; `-` for stdout
    ///
    /// If not given, it is `-`.
    #[arg(value_name = "FILE")]
    second: Option<PathBuf>,
    /// The format of a line
    #[arg(short = 'o', long, value_enum, default_value = "ndjson", value_name = "FORMAT")]
    output: FileFormat,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    query: QueryArguments,
    #[command(flatten)]
    range: RangeArguments,
}

/// A format that `dcb import` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// A JSON object with every field.
    Ndjson,
    /// A CloudEvent as JSON.
    Cloudevents,
}

/// Writes the events that the arguments select, one a line.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let selection = Selection::of(&arguments.query, &arguments.range)?;
    let (store, file) = store::with_optional(arguments.first.as_deref(), arguments.second.clone())?;
    let file = file.unwrap_or_else(|| PathBuf::from("-"));
    let store = store.open_to_read()?;
    let head = store.head(&CallOptions::default())?;
    let stop = signals::stop_token()?;
    let mut out = Output::create(&file, arguments.force)?;
    let total = selection.is_everything().then_some(head.get().unsigned_abs());
    let bar = Progress::new("exporting", Unit::Events, total);
    let (mut line, mut done) = (Vec::new(), 0_u64);
    selection.for_each(&*store, |event| {
        line.clear();
        match arguments.output {
            FileFormat::Ndjson => json::event(&mut line, event, &Field::ALL),
            FileFormat::Cloudevents => cloudevents::write(&mut line, event),
        }
        line.push(b'\n');
        done += 1;
        if done.is_multiple_of(256) {
            bar.reach(done);
            if stop.is_triggered() {
                return Err(Failure::new("interrupted: no file was written"));
            }
        }
        out.write(&line)
    })?;
    drop(bar);
    out.finish()?;
    eprintln!("dcb: exported {}", counted(done, "event"));
    Ok(())
}
