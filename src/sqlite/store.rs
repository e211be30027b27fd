//! [`Store`] over a SQLite database that the library opens itself.

use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use rusqlite::config::DbConfig;

use crate::commit::deadline::{CallOptions, Deadline};
use crate::domain::{AppendRequest, EventId, QueryItem, ReadState, SequencedEvent};
use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::sqlite::append::writer::Writer;
use crate::sqlite::maintenance::segments::write_segment_within;
use crate::sqlite::read::check_ahead::{Extent, check_ahead};
use crate::sqlite::read::pool::{ReadConnection, ReaderPool};
use crate::sqlite::read::{BATCH_BYTES, POLL};
use crate::sqlite::state::{SEGMENT_EVENTS, StoreState};
use crate::sqlite::wal::wal_file::Wal;
use crate::store::diagnosis::Diagnosis;
use crate::store::read_ahead::{ReadAheadThread, SpareReads};
use crate::store::{Appended, BackupProgress, BatchLimits, IndexCounts, Sink, Store};

/// The connections that a store has, by the way in which it was opened.
#[derive(Debug)]
pub enum Connections {
    /// The one connection of a database in memory, which writes and reads.
    Memory(Arc<Writer>),
    /// The pool of a store that was opened read-only.
    ReadOnly(Arc<ReaderPool>),
    /// The writer of a file, and the pool of connections that read it.
    ReadWrite(Arc<Writer>, Arc<ReaderPool>),
}

impl Connections {
    /// Returns the writer, unless the store is read-only.
    pub fn writer(&self) -> Option<&Arc<Writer>> {
        match self {
            Connections::Memory(writer) | Connections::ReadWrite(writer, _) => Some(writer),
            Connections::ReadOnly(_) => None,
        }
    }

    /// Returns the pool of connections that read, unless the database is in memory.
    pub fn readers(&self) -> Option<&Arc<ReaderPool>> {
        match self {
            Connections::ReadOnly(readers) | Connections::ReadWrite(_, readers) => Some(readers),
            Connections::Memory(_) => None,
        }
    }

    /// Lends a connection to a read.
    pub fn lend(&self, deadline: &Deadline) -> Result<ReadConnection<'_>> {
        match self {
            Connections::Memory(writer) => {
                Ok(ReadConnection::Writers(writer.lock_within(deadline)?))
            }
            Connections::ReadOnly(readers) | Connections::ReadWrite(_, readers) => {
                Ok(ReadConnection::Own(readers.get(deadline)?))
            }
        }
    }
}

/// A store in a SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) shared: Arc<StoreState>,
    pub(super) connections: Connections,
    /// The maintenance thread, until the store is closed.
    pub(super) maintenance: Mutex<Option<JoinHandle<()>>>,
    /// The thread that reads ahead, for a database in a file.
    pub(super) read_ahead: Option<ReadAheadThread>,
}

/// What the thread that reads ahead has of a store.
#[derive(Debug)]
struct FileReads {
    shared: Arc<StoreState>,
    readers: Arc<ReaderPool>,
}

impl SpareReads for FileReads {
    fn read_spare(
        &self,
        state: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        self.shared.read(state, batch, call, &mut |state, left, deadline| {
            let mut connection = ReadConnection::Own(self.readers.spare(deadline)?);
            connection.read(&self.shared.checkpoints, deadline, |source, reader, snapshot| {
                self.shared.read_within(source, reader, snapshot, state, left, &Ok, sink)
            })
        })
    }
}

/// Returns the thread that reads ahead in a file, which is not started yet. Returns `None` where it
/// would have no connection.
pub fn read_ahead(
    shared: &Arc<StoreState>,
    readers: &Arc<ReaderPool>,
    max_readers: usize,
) -> Option<ReadAheadThread> {
    let reads = FileReads { shared: Arc::clone(shared), readers: Arc::clone(readers) };
    (max_readers > 1).then(|| ReadAheadThread::new(Arc::new(reads)))
}

/// Returns whether there is more than one processor. The answer is not asked for before it is needed,
/// since it takes longer than a short read.
fn has_processors() -> bool {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, NonZero::get)) > 1
}

impl SqliteStore {
    /// Returns the position up to which a snapshot with this head may be shown.
    pub(super) fn visible(&self, head: Position) -> Result<Position> {
        self.shared.visible(head, self.connections.writer().is_none())
    }

    /// Returns the visible head, without waiting for events.
    fn current_head(&self, deadline: &Deadline) -> Result<Position> {
        // The connection is returned before a sync that the head may need.
        let head = {
            let mut connection = self.connections.lend(deadline)?;
            connection
                .read(&self.shared.checkpoints, deadline, |_, _, snapshot| Ok(snapshot.head))?
        };
        self.visible(head)
    }

    /// Reads the part of a batch that one transaction may. Returns whether the batch is complete.
    fn read_some(
        &self,
        state: &mut ReadState,
        left: &mut BatchLimits,
        deadline: &Deadline,
        sink: &mut dyn Sink,
    ) -> Result<bool> {
        let mut connection = self.connections.lend(deadline)?;
        let visible = |head| self.visible(head);
        connection.read(&self.shared.checkpoints, deadline, |source, reader, snapshot| {
            self.shared.read_within(source, reader, snapshot, state, left, &visible, sink)
        })
    }
}

impl Store for SqliteStore {
    fn append(&self, request: AppendRequest, call: &CallOptions) -> Result<Appended> {
        self.shared.start(call, self.shared.busy_timeout)?;
        let Some(writer) = self.connections.writer() else {
            return Err(Error::new(Status::ReadOnly, "the store was opened read-only"));
        };
        if let Some(failure) = self.shared.commits.durability.failure() {
            return Err(failure);
        }
        let mut prepared = self.shared.prepare(request)?;
        let readers = self.connections.readers();
        let mut given_back = None;
        if let Some(readers) = readers {
            check_ahead(&self.shared, readers, &mut prepared, Extent::Conditions, call)?;
            given_back = prepared.returnable();
        }
        // The timeout bounds the wait for earlier appends, not the check.
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        let mut answer = writer.append(&self.shared, prepared, &deadline);
        let given_back = given_back
            .and_then(|place| place.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let (Some(readers), Some(mut prepared)) = (readers, given_back) {
            check_ahead(&self.shared, readers, &mut prepared, Extent::Everything, call)?;
            let deadline = self.shared.start(call, self.shared.busy_timeout)?;
            answer = writer.append(&self.shared, prepared, &deadline);
        }
        let appended = answer?;
        if self.shared.index.needs_help() {
            // Whether it works or not, the append is done: maintenance meets the cause again.
            let _ = write_segment_within(&self.shared, writer, SEGMENT_EVENTS, &deadline);
        }
        Ok(appended)
    }

    fn read(
        &self,
        state: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        self.shared.read(state, batch, call, &mut |state, left, deadline| {
            self.read_some(state, left, deadline, sink)
        })
    }

    fn read_ahead(&self) -> Option<&ReadAheadThread> {
        self.read_ahead.as_ref().filter(|_| has_processors())
    }

    fn batch_bytes(&self) -> usize {
        BATCH_BYTES
    }

    fn find(&self, id: EventId<'_>, call: &CallOptions) -> Result<Option<SequencedEvent>> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        let mut connection = self.connections.lend(&deadline)?;
        let visible = |head| self.visible(head);
        connection.read(&self.shared.checkpoints, &deadline, |source, reader, snapshot| {
            self.shared.find_within(source, reader, snapshot, id, &visible)
        })
    }

    fn head(&self, call: &CallOptions) -> Result<Position> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        self.current_head(&deadline)
    }

    fn wait(&self, after: Position, call: &CallOptions) -> Result<Position> {
        let deadline = self.shared.start(call, None)?;
        self.shared.wait(after, &deadline, &|no_wait| self.current_head(no_wait), &|| POLL)
    }

    fn diagnose(&self, call: &CallOptions) -> Result<Diagnosis> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        self.diagnosis(&deadline)
    }

    fn index_counts(&self, item: &QueryItem, call: &CallOptions) -> Result<Option<IndexCounts>> {
        let deadline = self.shared.start(call, self.shared.busy_timeout)?;
        let mut connection = self.connections.lend(&deadline)?;
        connection
            .read(&self.shared.checkpoints, &deadline, |source, _, snapshot| {
                self.shared.index_counts_within(source, snapshot, item)
            })
            .map(Some)
    }

    fn backup(
        &self,
        path: &Path,
        call: &CallOptions,
        progress: &mut dyn FnMut(BackupProgress) -> Result<()>,
    ) -> Result<Position> {
        self.copy_to(path, call, progress)
    }

    fn close(&self) {
        self.shared.commits.watch.close();
        self.shared.maintenance_signal.end();
        let thread = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        if let Some(read_ahead) = &self.read_ahead {
            read_ahead.end();
        }
        if let Some(readers) = self.connections.readers() {
            readers.close();
        }
        if let Some(writer) = self.connections.writer() {
            // The last process to close the file checkpoints the WAL. After a failed sync the WAL
            // is not to be trusted, and stays as it is.
            let Some(connection) = writer.close() else { return };
            let _ = self.shared.commits.durability.check();
            if self.shared.checkpoints.wal.as_deref().is_some_and(Wal::is_short_of_space) {
                // Bringing the log into the database may need it.
                let _ = self.shared.checkpoints.give_back_room(&connection);
            }
            if self.shared.commits.durability.failure().is_some() {
                let keep_wal = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
                let _ = connection.set_db_config(keep_wal, true);
            }
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}
