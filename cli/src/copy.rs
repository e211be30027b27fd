//! `dcb copy`: copies the events of a store to another one.

use std::io::{self, Write};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use dcb::{CallOptions, CancelToken, Direction, Position, Query, ReadRequest, Status, Store};

use crate::digest::Digest;
use crate::exit::Failure;
use crate::progress::{Progress, Unit};
use crate::signals;
use crate::store::{self, StoreArgument};
use crate::transfer::{Appender, Chunk, open_to_import};

/// What to copy, and where to.
#[derive(clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// The store to copy to; it may have a part of the events already
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// Go on with what is appended to the source, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Copies all events and checks that both stores hold the same.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.store.uri == arguments.destination {
        return Err(Failure::usage("the source and the destination are the same store"));
    }
    let stop = signals::stop_token()?;
    let source = arguments.store.open_to_read()?;
    let destination = open_to_import(&arguments.destination)?;
    let mut copy = Copy {
        source: &*source,
        destination: &*destination,
        appender: Appender::new(&*destination)?,
        of_source: Digest::default(),
        of_destination: Digest::default(),
        stop,
    };
    copy.begin()?;
    copy.catch_up()?;
    if arguments.follow {
        copy.check()?;
        eprintln!("dcb: {} events are copied: follows until Ctrl-C", copy.appender.head);
        copy.follow()?;
    }
    copy.check()?;
    let (events, digest) = (copy.of_destination.events(), copy.of_destination.hex());
    match arguments.json {
        true => writeln!(io::stdout(), "{{\"events\":{events},\"digest\":\"{digest}\"}}")?,
        false => writeln!(io::stdout(), "{events} events, digest {digest}")?,
    }
    if copy.stop.is_triggered() && !arguments.follow {
        return Err(Failure::new("interrupted: run it again to copy the rest"));
    }
    Ok(())
}

/// Returns how many events there are up to a position.
fn count(position: Position) -> u64 {
    position.get().unsigned_abs()
}

struct Copy<'s> {
    source: &'s dyn Store,
    destination: &'s dyn Store,
    appender: Appender<'s>,
    /// The digest over the events that were read from the source.
    of_source: Digest,
    /// The digest over the events that were read again from the destination.
    of_destination: Digest,
    stop: CancelToken,
}

/// The chunks that are read before they are stored.
const AHEAD: usize = 2;
/// How long to wait for a store that does not answer before it is asked again.
const RETRY: Duration = Duration::from_millis(500);

impl Copy<'_> {
    /// Checks that what the destination has already is what the source begins with.
    fn begin(&mut self) -> Result<(), Failure> {
        let head = self.appender.head;
        if head == Position::START {
            return Ok(());
        }
        if head > self.source.head(&CallOptions::default())? {
            return Err(Failure::new("the destination has more events than the source"));
        }
        let bar = Progress::new("comparing", Unit::Events, Some(count(head)));
        let (source, destination) = (self.source, self.destination);
        let (of_source, of_destination) = (&mut self.of_source, &mut self.of_destination);
        thread::scope(|scope| {
            let other = scope
                .spawn(|| of_destination.add_range(destination, Position::START, head, |_| {}));
            of_source
                .add_range(source, Position::START, head, |position| bar.reach(count(position)))?;
            other.join().unwrap_or_else(|_| Err(Failure::new("an internal error")))
        })?;
        drop(bar);
        if self.of_source.hex() != self.of_destination.hex() {
            return Err(Failure::new(
                "the destination has other events than the source: copy to an empty store",
            ));
        }
        eprintln!("dcb: {head} events were copied already");
        Ok(())
    }

    /// Copies what the source has and the destination has not.
    fn catch_up(&mut self) -> Result<(), Failure> {
        let head = self.source.head(&CallOptions::default())?;
        let after = self.appender.head;
        if head <= after {
            return Ok(());
        }
        let bar = Progress::new("copying", Unit::Events, Some(count(head)));
        let (source, digest, stop) = (self.source, &mut self.of_source, &self.stop);
        let appender = &mut self.appender;
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<Chunk>(AHEAD);
            let reader = scope.spawn(move || {
                let before = Some(head.next());
                let request =
                    ReadRequest::new(Query::all(), after, before, None, Direction::Forward);
                let mut chunk = Chunk::default();
                store::for_each(source, request, &CallOptions::default(), |event| {
                    let copied = event.to_owned()?.into_import();
                    if chunk.is_full_for(&copied) {
                        // Nobody receives if an append failed, which is reported.
                        let is_received = sender.send(std::mem::take(&mut chunk)).is_ok();
                        if stop.is_triggered() || !is_received {
                            return Ok(false);
                        }
                    }
                    digest.add(event);
                    chunk.push(copied);
                    Ok(true)
                })?;
                let _ = sender.send(chunk);
                Ok::<(), Failure>(())
            });
            let mut appended = Ok(());
            for chunk in &receiver {
                appended = appender.append(chunk);
                bar.reach(count(appender.head));
                if appended.is_err() {
                    break;
                }
            }
            drop(receiver);
            reader.join().unwrap_or_else(|_| Err(Failure::new("an internal error")))?;
            appended
        })
    }

    /// Copies what is appended to the source until it is told to stop.
    fn follow(&mut self) -> Result<(), Failure> {
        let call = CallOptions { cancel: Some(self.stop.clone()), ..CallOptions::default() };
        while !self.stop.is_triggered() {
            match self.source.wait(self.appender.head, &call) {
                Ok(_) => self.catch_up()?,
                Err(error) if error.status == Status::Cancelled => break,
                Err(error) if error.status == Status::Unavailable => {
                    eprintln!("dcb: {error}: trying again");
                    thread::sleep(RETRY);
                }
                Err(error) => return Err(error.into()),
            }
        }
        // What was appended before it was told to stop.
        self.catch_up()
    }

    /// Reads again what was stored, and compares it with what was read from the source.
    fn check(&mut self) -> Result<(), Failure> {
        let head = self.appender.head;
        let after = Position::clamped(self.of_destination.events());
        let bar = Progress::new("checking", Unit::Events, Some(count(head)));
        self.of_destination.add_range(self.destination, after, head, |position| {
            bar.reach(count(position));
        })?;
        if self.of_source.events() != self.of_destination.events()
            || self.of_source.hex() != self.of_destination.hex()
        {
            return Err(Failure::new(format!(
                "the stores differ: {} events with the digest {} were read, and {} with {} are stored",
                self.of_source.events(),
                self.of_source.hex(),
                self.of_destination.events(),
                self.of_destination.hex()
            )));
        }
        Ok(())
    }
}
