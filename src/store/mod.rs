//! What every store does.

pub mod diagnosis;
pub mod options;

pub use crate::commit::Appended;
use std::path::Path;

use crate::commit::deadline::CallOptions;
use crate::domain::{AppendRequest, EventView, ReadRequest, ReadState, SequencedEvent};
use crate::error::{Error, Result};
use crate::store::diagnosis::Diagnosis;

/// How much one batch of a read may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most so many events.
    pub max_events: usize,
    /// Ends after the event with which the texts given reach so many bytes.
    pub max_bytes: usize,
}

impl BatchLimits {
    /// A batch that ends with the read.
    pub const ALL: BatchLimits = BatchLimits { max_events: usize::MAX, max_bytes: usize::MAX };
}

/// Takes the events of a batch, in order. An error ends the read.
pub trait Sink {
    /// Takes one event; the view lives for this call only.
    fn event(&mut self, event: &EventView<'_>) -> Result<()>;
}

impl<F: FnMut(&EventView<'_>) -> Result<()>> Sink for F {
    fn event(&mut self, event: &EventView<'_>) -> Result<()> {
        self(event)
    }
}

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    /// Pages of the database that are copied.
    pub done_pages: i64,
    /// Pages that it has.
    pub total_pages: i64,
}

/// A sequence of events with conditional appends. Any thread, any number at once.
pub trait Store: Send + Sync {
    /// Stores all of the request's events or none, unless they are stored already.
    fn append(&self, request: AppendRequest, call: &CallOptions) -> Result<Appended>;

    /// Gives `sink` the next events of `reading`, `batch` at most, taking its snapshot if it has
    /// none yet. A batch that gave nothing has brought the reading to its end; one of no events
    /// only tells whether the call may go on.
    ///
    /// After an error of the call's own patience (`busy`, `cancelled`) the reading stands where
    /// it stood after the last event that `sink` took.
    fn read(
        &self,
        reading: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()>;

    /// Returns all events that a request asks for, in one list, and the position up to which the
    /// answer is complete: the `after` of an append condition with the same query.
    ///
    /// A long answer takes as much memory; [`Store::read`] gives one batch by batch.
    fn read_all(
        &self,
        request: ReadRequest,
        call: &CallOptions,
    ) -> Result<(Vec<SequencedEvent>, i64)> {
        let mut reading = ReadState::new(request);
        let mut events = Vec::new();
        while !reading.has_begun() || reading.span().is_some() {
            self.read(&mut reading, BatchLimits::ALL, call, &mut |view: &EventView<'_>| {
                events.push(view.to_owned()?);
                Ok(())
            })?;
        }
        Ok((events, reading.position()))
    }

    /// The position of the newest event; 0 in an empty store.
    fn head(&self, call: &CallOptions) -> Result<i64>;

    /// How many events there are. Positions have no gaps, so this is the head.
    fn count(&self, call: &CallOptions) -> Result<i64> {
        self.head(call)
    }

    /// The head, as soon as it is above `after`; or `timeout`.
    fn wait(&self, after: i64, call: &CallOptions) -> Result<i64>;

    /// What it tells of itself.
    fn diagnose(&self, call: &CallOptions) -> Result<Diagnosis> {
        Ok(Diagnosis { head: self.head(call)?, sqlite: None })
    }

    /// Copies the store to a new file at `path` while others read and write, and returns the head
    /// of the copy: it has the events up to that position. `progress` is called after each step;
    /// an error of it ends the backup. After an error no file is left.
    ///
    /// The call's timeout limits all of the backup (`timeout`); by default nothing does.
    fn backup(
        &self,
        _path: &Path,
        _call: &CallOptions,
        _progress: &mut dyn FnMut(BackupProgress) -> Result<()>,
    ) -> Result<i64> {
        Err(Error::invalid("store: is not in a SQLite database, so there is nothing to copy"))
    }

    /// Ends the store: running waits end with `closed`, and so does every later call.
    /// Returns when the store's threads have ended and its files are closed.
    fn close(&self);
}
