//! `dcb tail`: prints the newest events, and follows.

use std::thread;
use std::time::Duration;

use dcb::{
    CallOptions, CancelToken, Direction, Position, Query, ReadRequest, SequencedEvent, Status,
    Store,
};

use crate::exit::Failure;
use crate::output::{EventPrinter, Format, OutputArguments};
use crate::query::QueryArguments;
use crate::signals;
use crate::store::{self, StoreArgument};

/// Which events to print, and how.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    query: QueryArguments,
    /// Print events as they are appended, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How many of the newest events to begin with
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
    lines: u32,
    #[command(flatten)]
    output: OutputArguments,
}

/// How long to wait for a server or a disk that does not answer before it is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Prints the newest events, and with `--follow` those that are appended.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let is_document = arguments.output.json || arguments.output.output == Some(Format::Json);
    if arguments.follow && is_document {
        return Err(Failure::usage("a JSON document has an end: use -o ndjson with --follow"));
    }
    let query = arguments.query.query()?;
    let mut printer = EventPrinter::new(&arguments.output)?;
    let store = arguments.store.open_to_read()?;
    let limit = Some(u64::from(arguments.lines));
    let request =
        ReadRequest::new(query.clone(), Position::START, None, limit, Direction::Backward);
    let mut position = if limit == Some(0) {
        store.head(&CallOptions::default())?
    } else {
        let (mut newest, position) = store.read_all(request, &CallOptions::default())?;
        newest.reverse();
        newest.iter().map(SequencedEvent::view).try_for_each(|event| printer.event(&event))?;
        position
    };
    if !arguments.follow {
        return printer.finish(position);
    }
    let stop = signals::stop_token()?;
    printer.flush()?;
    while !stop.is_triggered() {
        match step(&*store, &query, position, &stop, &mut printer)? {
            Ok(reached) => position = reached,
            Err(error) if error.status == Status::Cancelled => break,
            Err(error) if is_temporary(error.status) => {
                eprintln!("dcb: {error}: trying again");
                while !stop.is_triggered() && store.head(&CallOptions::default()).is_err() {
                    thread::sleep(RETRY);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    printer.finish(position)
}

fn is_temporary(status: Status) -> bool {
    matches!(status, Status::Unavailable | Status::Busy | Status::Timeout)
}

/// Waits for events above `position`, prints those that match, and returns the position up to which
/// all are printed. The outer failure is one of printing, the inner one of the store.
fn step(
    store: &dyn Store,
    query: &Query,
    position: Position,
    stop: &CancelToken,
    printer: &mut EventPrinter,
) -> Result<Result<Position, dcb::Error>, Failure> {
    let call = CallOptions { cancel: Some(stop.clone()), ..CallOptions::default() };
    if let Err(error) = store.wait(position, &call) {
        return Ok(Err(error));
    }
    let request = ReadRequest::new(query.clone(), position, None, None, Direction::Forward);
    let mut printed = position;
    let read = store::try_for_each(store, request, &call, |event| {
        printed = event.position;
        printer.event(event).map(|()| true)
    })?;
    printer.flush()?;
    Ok(match read {
        // What is printed is not to be printed again.
        Err(error) if printed > position && is_temporary(error.status) => Ok(printed),
        read => read,
    })
}
