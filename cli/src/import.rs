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
use crate::store;
use crate::table::counted;
use crate::transfer::{Appender, Chunk, open_to_import};

/// What to append, and how.
#[derive(clap::Args)]
pub struct Arguments {
    /// The store, such as `sqlite:events.db`; may be left out if DCB_URI is set
    #[arg(value_name = "URI")]
    first: Option<String>,
    /// The file to read, compressed if its name ends with `.zst`; `-` for stdin
    ///
    /// If not given, it is `-`.
    #[arg(value_name = "FILE")]
    second: Option<PathBuf>,
    /// Append to a store that has other events already; events with an id that are stored are left out
    #[arg(long)]
    append: bool,
    /// Let the store give new positions, where the file has some that the store would not give
    #[arg(long)]
    renumber: bool,
}

/// The lines that are compared with stored events together.
const BATCH: usize = 4_096;
/// The batches that are parsed before they are stored.
const AHEAD: usize = 2;

/// What the thread that parses sends.
enum Batch {
    /// Events that the store has to have already, each with the number of its line.
    Stored(Vec<(u64, Event)>),
    /// Events to append, at most one append of them.
    New(Chunk),
    /// What is wrong with a line. Nothing follows.
    Wrong(Failure),
}

/// Appends the events of a file to a store, beginning with those that are not stored yet.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (store, file) = store::with_optional(arguments.first.as_deref(), arguments.second.clone())?;
    let file = file.unwrap_or_else(|| PathBuf::from("-"));
    let input = files::open(&file)?;
    let store = open_to_import(&store.uri)?;
    let bar = Progress::new("importing", Unit::Bytes, input.total);
    let done = Arc::clone(&input.done);
    let name = match file.as_os_str() == "-" {
        true => "stdin".to_owned(),
        false => file.display().to_string(),
    };
    let appender = Appender::new(&*store)?;
    let (sender, receiver) = sync_channel(AHEAD);
    let mut parser = Parser {
        name,
        stored: if arguments.append { 0 } else { appender.head.get() },
        has_new_positions: arguments.append || arguments.renumber,
        position: 0,
        known: Vec::new(),
        chunk: Chunk::default(),
        sender,
    };
    let parsing = thread::spawn(move || parser.run(input.reader));
    let mut import = Import { is_anywhere: arguments.append, appender, stored: 0, skipped: 0 };
    let result = import.run(&*store, &receiver, &bar, &done);
    // The thread ends when nobody takes what it parses.
    drop(receiver);
    let _ = parsing.join();
    drop(bar);
    let Import { stored, skipped, .. } = import;
    let already =
        if skipped > 0 { format!(", {skipped} were stored already") } else { String::new() };
    if result.is_ok() || stored > 0 {
        eprintln!("dcb: imported {}{already}", counted(stored, "event"));
    }
    result
}

/// Makes appends of lines, in a thread beside the one that stores them: the store's work is the
/// larger half, so all that can be done before it is done here.
struct Parser {
    /// The name of the file.
    name: String,
    /// How many of the first events the store has to have already.
    stored: i64,
    /// Whether the positions of the lines mean nothing.
    has_new_positions: bool,
    /// The number of events so far, which is the position of the last one in an empty store.
    position: i64,
    known: Vec<(u64, Event)>,
    chunk: Chunk,
    sender: SyncSender<Batch>,
}

/// The other thread takes nothing more, since it has failed by itself.
struct Unwanted;

impl Parser {
    /// Parses lines until the end, or until one is wrong. What comes before that one is sent.
    fn run(&mut self, reader: Box<dyn Read + Send>) {
        let parsed = self.lines(reader).and_then(|wrong| {
            self.send_known()?;
            self.send_chunk()?;
            match wrong {
                Some(failure) => self.send(Batch::Wrong(failure)),
                None => Ok(()),
            }
        });
        // Where the other thread takes nothing more, it knows why.
        let _: Result<(), Unwanted> = parsed;
    }

    /// Returns what is wrong with a line.
    fn lines(&mut self, reader: Box<dyn Read + Send>) -> Result<Option<Failure>, Unwanted> {
        let mut reader = BufReader::with_capacity(1 << 18, reader);
        let (mut text, mut number) = (String::new(), 0_u64);
        loop {
            text.clear();
            number += 1;
            match reader.read_line(&mut text) {
                Ok(0) => return Ok(None),
                Err(error) => {
                    let place = format!("{}, line {number}", self.name);
                    return Ok(Some(Failure::new(error.to_string()).at(&place)));
                }
                Ok(_) if text.trim().is_empty() => continue,
                Ok(_) => {}
            }
            let taken = match lines::parse(text.trim_end()) {
                Ok(line) => self.take(number, line)?,
                Err(wrong) => Err(format!("{wrong}: nothing from this line on is stored")),
            };
            if let Err(wrong) = taken {
                let place = format!("{}, line {number}", self.name);
                return Ok(Some(Failure::new(wrong).at(&place)));
            }
        }
    }

    /// Adds an event to those that are sent next. The inner error says what is wrong with it.
    fn take(&mut self, number: u64, line: Line) -> Result<Result<(), String>, Unwanted> {
        self.position += 1;
        if self.position <= self.stored {
            self.known.push((number, line.event));
            if self.known.len() == BATCH {
                self.send_known()?;
            }
            return Ok(Ok(()));
        }
        if let Some(own) = line.position.filter(|own| *own != self.position)
            && !self.has_new_positions
        {
            return Ok(Err(format!(
                "its position is {own}, and the store would give it {}: nothing from this line on is \
                 stored; use --renumber for new positions",
                self.position
            )));
        }
        if self.chunk.is_full_for(&line.event) {
            self.send_known()?;
            self.send_chunk()?;
        }
        self.chunk.push(line.event);
        Ok(Ok(()))
    }

    fn send_known(&mut self) -> Result<(), Unwanted> {
        match std::mem::take(&mut self.known) {
            known if known.is_empty() => Ok(()),
            known => self.send(Batch::Stored(known)),
        }
    }

    fn send_chunk(&mut self) -> Result<(), Unwanted> {
        match std::mem::take(&mut self.chunk) {
            chunk if chunk.len() == 0 => Ok(()),
            chunk => self.send(Batch::New(chunk)),
        }
    }

    fn send(&self, batch: Batch) -> Result<(), Unwanted> {
        self.sender.send(batch).map_err(|_| Unwanted)
    }
}

struct Import<'a> {
    /// Whether the events may come after any others.
    is_anywhere: bool,
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
        let mut compared = 0;
        for batch in batches {
            match batch {
                Batch::Stored(known) => self.compare(store, &mut compared, &known)?,
                Batch::New(chunk) => self.append(chunk)?,
                Batch::Wrong(failure) => return Err(failure),
            }
            bar.reach(done.load(Ordering::Relaxed));
        }
        if !self.is_anywhere && compared < before {
            return Err(Failure::new(format!(
                "the store has {}, which is more than the file: use --append to append the file's \
                 events after them",
                counted(before.unsigned_abs(), "event")
            )));
        }
        Ok(())
    }

    fn append(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let events = chunk.len() as u64;
        let skipped = match self.is_anywhere {
            true => self.appender.append_anywhere(chunk)?,
            false => self.appender.append(chunk).map(|()| 0)?,
        };
        self.skipped += skipped;
        self.stored += events - skipped;
        Ok(())
    }

    /// Compares events with those that the store has at their positions, which are the ones after
    /// `position`.
    fn compare(
        &mut self,
        store: &dyn Store,
        position: &mut i64,
        known: &[(u64, Event)],
    ) -> Result<(), Failure> {
        let after = Position::clamped(*position);
        let limit = Some(known.len() as u64);
        let request = ReadRequest::new(Query::all(), after, None, limit, Direction::Forward);
        let (stored, _) = store.read_all(request, &CallOptions::default())?;
        for (stored, (number, event)) in stored.iter().zip(known) {
            if !is_same(stored, event) {
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
        Ok(())
    }
}

/// Returns whether a stored event is one of a file, but for its position.
fn is_same(stored: &SequencedEvent, event: &Event) -> bool {
    stored.view().is_same_as(event)
        && event.given_timestamp_us().is_none_or(|time| time == stored.timestamp_us)
}
