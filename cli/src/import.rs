//! `dcb import`: appends the events of a file.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use dcb::{CallOptions, Direction, Event, Position, Query, ReadRequest, SequencedEvent, Store};

use crate::exit::Failure;
use crate::files;
use crate::lines::{self, Line};
use crate::progress::{Progress, Unit};
use crate::store::StoreArgument;
use crate::transfer::{Appender, Chunk, open_to_import};

/// What to append, and how.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// The file to read, compressed if its name ends with `.zst`; `-` for stdin
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Append to a store that has other events already; events with an id that are stored are left out
    #[arg(long)]
    append: bool,
    /// Let the store give new positions, where the file has some that the store would not give
    #[arg(long)]
    renumber: bool,
}

/// The lines that are parsed together.
const BATCH: usize = 4_096;
/// The batches that are parsed before they are stored.
const AHEAD: usize = 4;

/// An event with the number of its line.
struct Numbered {
    number: u64,
    line: Line,
}

/// What the thread that parses sends: a batch of events, or what is wrong with a line.
type Batch = Result<Vec<Numbered>, Failure>;

/// Appends the events of a file to a store, beginning with those that are not stored yet.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let input = files::open(&arguments.file)?;
    let store = open_to_import(&arguments.store.uri)?;
    let bar = Progress::new("importing", Unit::Bytes, input.total);
    let done = Arc::clone(&input.done);
    let name = match arguments.file.as_os_str() == "-" {
        true => "stdin".to_owned(),
        false => arguments.file.display().to_string(),
    };
    let (sender, receiver) = sync_channel(AHEAD);
    let parser = thread::spawn(move || parse(&name, input.reader, &sender));
    let mut import = Import { arguments, appender: Appender::new(&*store)?, stored: 0, skipped: 0 };
    let result = import.run(&*store, &receiver, &bar, &done);
    // The thread ends when nobody takes what it parses.
    drop(receiver);
    let _ = parser.join();
    drop(bar);
    let Import { stored, skipped, .. } = import;
    let already =
        if skipped > 0 { format!(", {skipped} were stored already") } else { String::new() };
    eprintln!("dcb: imported {stored} events{already}");
    result
}

/// Parses lines until the end, or until one is wrong.
fn parse(name: &str, reader: Box<dyn Read + Send>, sender: &SyncSender<Batch>) {
    let mut reader = BufReader::with_capacity(1 << 18, reader);
    let (mut text, mut number) = (String::new(), 0_u64);
    let mut batch = Vec::with_capacity(BATCH);
    let wrong = loop {
        text.clear();
        number += 1;
        let place = || format!("{name}, line {number}");
        match reader.read_line(&mut text) {
            Ok(0) => break None,
            Err(error) => break Some(Failure::new(error.to_string()).at(&place())),
            Ok(_) if text.trim().is_empty() => continue,
            Ok(_) => {}
        }
        match lines::parse(text.trim_end()) {
            Ok(line) => batch.push(Numbered { number, line }),
            Err(wrong) => {
                let told = format!("{wrong}: nothing from this line on is stored");
                break Some(Failure::new(told).at(&place()));
            }
        }
        if batch.len() == BATCH && sender.send(Ok(std::mem::take(&mut batch))).is_err() {
            return;
        }
    };
    // A receiver that has gone has failed by itself.
    let _ = sender.send(Ok(batch));
    if let Some(failure) = wrong {
        let _ = sender.send(Err(failure));
    }
}

struct Import<'a> {
    arguments: &'a Arguments,
    appender: Appender<'a>,
    stored: u64,
    skipped: u64,
}

impl Import<'_> {
    fn run(
        &mut self,
        store: &dyn Store,
        batches: &Receiver<Batch>,
        bar: &Progress,
        done: &AtomicU64,
    ) -> Result<(), Failure> {
        let before = self.appender.head.get();
        let mut position = 0;
        let mut chunk = Chunk::default();
        let mut result = Ok(());
        for batch in batches {
            let mut batch = match batch {
                Ok(batch) => batch,
                Err(failure) => {
                    result = Err(failure);
                    break;
                }
            };
            if !self.arguments.append && position < before {
                batch = self.skip_stored(store, &mut position, before, batch)?;
            }
            for Numbered { number, line } in batch {
                position += 1;
                if !self.arguments.append
                    && !self.arguments.renumber
                    && line.position.is_some_and(|own| own != position)
                {
                    // What comes before is stored.
                    self.append(std::mem::take(&mut chunk))?;
                    return Err(Failure::new(format!(
                        "line {number}: its position is {}, and the store would give it {position}: \
                         nothing from this line on is stored; use --renumber for new positions",
                        line.position.unwrap_or_default()
                    )));
                }
                if chunk.is_full_for(&line.event) {
                    self.append(std::mem::take(&mut chunk))?;
                }
                chunk.push(line.event);
            }
            bar.reach(done.load(Ordering::Relaxed));
        }
        // Of a file that could not be read to its end, nobody knows how many events it has.
        if result.is_ok() && !self.arguments.append && position < before {
            return Err(Failure::new(format!(
                "the store has {before} events, which is more than the file: use --append to append \
                 the file's events after them"
            )));
        }
        self.append(chunk)?;
        result
    }

    fn append(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let events = chunk.len() as u64;
        let skipped = match self.arguments.append {
            true => self.appender.append_anywhere(chunk)?,
            false => self.appender.append(chunk).map(|()| 0)?,
        };
        self.skipped += skipped;
        self.stored += events - skipped;
        Ok(())
    }

    /// Compares the first events of a batch with those that the store has at their positions, and
    /// returns the others.
    fn skip_stored(
        &mut self,
        store: &dyn Store,
        position: &mut i64,
        before: i64,
        mut batch: Vec<Numbered>,
    ) -> Result<Vec<Numbered>, Failure> {
        let after = Position::clamped(*position);
        let limit = (batch.len() as u64).min((before - *position).unsigned_abs());
        let request = ReadRequest::new(Query::all(), after, None, Some(limit), Direction::Forward);
        let (stored, _) = store.read_all(request, &CallOptions::default())?;
        let rest = batch.split_off(stored.len().min(batch.len()));
        for (stored, Numbered { number, line }) in stored.iter().zip(&batch) {
            if !is_same(stored, &line.event) {
                return Err(Failure::new(format!(
                    "the store is not empty, and its event at position {} is another one than that \
                     of line {number}: use --append to append the file's events after those of the \
                     store",
                    stored.position
                )));
            }
        }
        *position += stored.len() as i64;
        self.skipped += stored.len() as u64;
        Ok(rest)
    }
}

/// Returns whether a stored event is one of a file, but for its position.
fn is_same(stored: &SequencedEvent, event: &Event) -> bool {
    stored.view().is_same_as(event)
        && event.given_timestamp_us().is_none_or(|time| time == stored.timestamp_us)
}
