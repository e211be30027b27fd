//! The interface of every store, with the options for opening one and its diagnosis.

pub mod batch;
pub mod diagnosis;
pub mod options;
pub mod read_ahead;

pub use crate::commit::Appended;
pub use crate::store::batch::{BatchLimits, Sink};
use std::path::Path;

use crate::commit::deadline::CallOptions;
use crate::domain::{
    AppendRequest, EventId, EventView, QueryItem, ReadRequest, ReadState, SequencedEvent,
};
use crate::error::{Error, Result};
use crate::position::Position;
use crate::store::diagnosis::Diagnosis;
use crate::store::read_ahead::ReadAheadThread;

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    /// Pages of the database that are copied.
    pub done_pages: i64,
    /// Pages that it has.
    pub total_pages: i64,
}

/// Why a statement in a transaction of the program's failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionFailure {
    /// The SQLSTATE as a number, its five characters taken as digits of base 36; 0 if there is none.
    pub sqlstate: i32,
    /// The message of the driver.
    pub message: String,
}

/// A transaction that the program has open on a PostgreSQL server, by its own driver.
pub trait ProgramTransaction {
    /// Runs a statement with values in text form. Returns the one column of its one row.
    fn query(
        &mut self,
        sql: &str,
        values: Vec<String>,
    ) -> std::result::Result<Option<String>, TransactionFailure>;
}

/// How many events have each of some names, as an index counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexCounts {
    /// The position up to which events are counted.
    pub through: Position,
    /// The counts: those of the types of a query item, and then those of its tags. Each is at least
    /// the number of the events.
    pub events: Vec<u64>,
}

/// A sequence of events with conditional appends. Any thread, any number at once.
pub trait Store: Send + Sync {
    /// Stores all of the request's events or none, unless they are stored already.
    fn append(&self, request: AppendRequest, call: &CallOptions) -> Result<Appended>;

    /// Stores all of the request's events or none, in a transaction of the program's, which is then
    /// locked against other appends. Without a request it only locks, and returns the head.
    fn append_in(
        &self,
        _transaction: &mut dyn ProgramTransaction,
        _request: Option<AppendRequest>,
        _call: &CallOptions,
    ) -> Result<Appended> {
        Err(Error::invalid("store: is not in a PostgreSQL database"))
    }

    /// Delivers the next events of `reading` to `sink`, within the limits of `batch`. The first
    /// call takes the snapshot of the read.
    ///
    /// A batch without events ends the read. With a limit of 0 events, the call delivers nothing
    /// and only checks that the store is open and the call is not cancelled.
    ///
    /// After `busy` or `cancelled` the read can go on: it continues after the last event that
    /// `sink` accepted.
    fn read(
        &self,
        reading: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()>;

    /// Returns how many bytes of text a batch of a long read should have.
    fn batch_bytes(&self) -> usize {
        1024 * 1024
    }

    /// Returns the thread that reads ahead for long reads, if the store has one.
    #[doc(hidden)]
    fn read_ahead(&self) -> Option<&ReadAheadThread> {
        None
    }

    /// Returns all events that a request selects, and the position up to which they are complete,
    /// which is the `after` of an append condition with the same query.
    ///
    /// The list takes memory for all of the events; [`Store::read`] delivers them in batches.
    fn read_all(
        &self,
        request: ReadRequest,
        call: &CallOptions,
    ) -> Result<(Vec<SequencedEvent>, Position)> {
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

    /// Returns the event with this id, or `None` if no event that a read would see has it.
    ///
    /// It is a look-up through the index, however many events there are.
    fn find(&self, id: EventId<'_>, call: &CallOptions) -> Result<Option<SequencedEvent>>;

    /// Returns the position of the newest event, or [`Position::START`] if the store is empty.
    fn head(&self, call: &CallOptions) -> Result<Position>;

    /// Returns the number of events. Positions have no gaps, so it equals the head.
    fn count(&self, call: &CallOptions) -> Result<i64> {
        Ok(self.head(call)?.get())
    }

    /// Waits until the head is above `after`, and returns it. The error is `timeout` if the
    /// deadline passes first.
    fn wait(&self, after: Position, call: &CallOptions) -> Result<Position>;

    /// Returns the state of the store, for a person who investigates a problem.
    fn diagnose(&self, call: &CallOptions) -> Result<Diagnosis> {
        Ok(Diagnosis { head: self.head(call)?, sqlite: None, postgres: None })
    }

    /// Brings what an earlier version of the library created to what this version creates, while other
    /// programs use the store. Does nothing where there is nothing to do.
    fn upgrade(&self, _call: &CallOptions) -> Result<()> {
        Ok(())
    }

    /// Counts the events that have each type and each tag of `item`, in the index alone. Returns
    /// `None` if the store has no index that can tell.
    fn index_counts(&self, _item: &QueryItem, _call: &CallOptions) -> Result<Option<IndexCounts>> {
        Ok(None)
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
    ) -> Result<Position> {
        Err(Error::invalid("store: is not in a SQLite database, so there is nothing to copy"))
    }

    /// Ends the store: running waits end with `closed`, and so does every later call.
    /// Returns when the store's threads have ended and its files are closed.
    fn close(&self);
}
