//! The connections that read.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::commit::deadline::Deadline;
use crate::error::{Error, Result, Status};
use crate::sql::Row;
use crate::sqlite::append::writer::{Writer, WriterGuard};
use crate::sqlite::connection::error::{busy, damaged_index, from_sqlite, is_busy};
use crate::sqlite::connection::transaction::{end_left_over, retry, wait_for_lock};
use crate::sqlite::connection::{Location, OpenMode, connect};
use crate::sqlite::events::btree::BTree;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::read::lock_free::SnapshotCache;
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::wal::file_id::{FileId, file_id_at};
use crate::sqlite::wal::file_ops::replaced;
use crate::sqlite::wal::owner_access::create_for_owner;
use crate::sqlite::wal::wal_index::{is_in_wal_mode, log_header};

/// How many connections read at a time unless the options say otherwise; further readers wait for
/// one of them.
pub const DEFAULT_MAX_READERS: usize = 8;

/// A connection that nobody has used for so long is closed. Opening another takes less than a
/// millisecond, but it finds nothing of the file in its cache.
const MAX_IDLE: Duration = Duration::from_secs(10);

/// Read-only connections, opened as they are needed and kept.
#[derive(Debug)]
pub struct ReaderPool {
    path: PathBuf,
    role: OpenMode,
    /// Which file was at the path when the store was opened.
    file: FileId,
    tree: Arc<BTree>,
    /// How many connections there may be.
    max_readers: usize,
    /// Whether the database has a log.
    is_logged: bool,
    /// What a transaction of theirs would find, as long as nothing is committed.
    pub seen: SnapshotCache,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The one that came back last is the last, and the first to be lent again.
    #[expect(clippy::vec_box, reason = "they move out and in")]
    idle: Vec<Box<Reader>>,
    open: usize,
    /// The tickets of those who wait, the first to come in front.
    waiting: VecDeque<u64>,
    last_ticket: u64,
    closed: bool,
}

/// A connection that reads, and the scratch that goes with it.
#[derive(Debug)]
pub struct Reader {
    /// The connection.
    pub connection: Connection,
    /// For its rows.
    pub decoder: EventReader,
    /// Whether it has been in a transaction.
    has_read: bool,
    /// When it came back.
    idle_since: Instant,
    /// Whether it waits for the next read, which spares its opening.
    is_kept: bool,
}

impl ReaderPool {
    /// For the database at `path`.
    pub fn new(
        path: PathBuf,
        role: OpenMode,
        tree: Arc<BTree>,
        max_readers: usize,
        is_logged: bool,
    ) -> Result<Self> {
        let file = file_id_at(&path)?;
        let (state, returned) = (Mutex::default(), Condvar::new());
        let seen = SnapshotCache::default();
        Ok(ReaderPool { path, role, file, tree, max_readers, is_logged, seen, state, returned })
    }

    fn reader(&self, connection: Connection) -> Box<Reader> {
        let decoder = EventReader::new(Arc::clone(&self.tree));
        let idle_since = Instant::now();
        Box::new(Reader { connection, decoder, has_read: false, idle_since, is_kept: true })
    }

    /// The database's.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One more connection, to the file that the store was opened on.
    pub fn open(&self) -> Result<Box<Reader>> {
        let place = Location::File(self.path.clone());
        let (connection, is_kept) = match self.role {
            // With an index of its own only as long as it has to be. Such a connection would keep
            // every other in this process from writing.
            OpenMode::ReadWithOwnIndex => match connect(&place, OpenMode::Read) {
                Err(error) if error.status == Status::Full => (connect(&place, self.role)?, false),
                other => (other?, true),
            },
            role => (connect(&place, role)?, true),
        };
        if file_id_at(&self.path)? != self.file {
            return Err(replaced());
        }
        Ok(Box::new(Reader { is_kept, ..*self.reader(connection) }))
    }

    /// Takes a connection that is open already.
    pub fn keep(&self, connection: Connection) {
        let mut state = self.state();
        state.open += 1;
        state.idle.push(self.reader(connection));
    }

    /// A connection, until it is dropped; to those who wait, in the order in which they came: who
    /// has just given one back would otherwise be the first to have it again.
    pub fn get(&self, deadline: &Deadline) -> Result<PooledReader<'_>> {
        let mut state = self.state();
        if state.waiting.is_empty()
            && let Some(lent) = self.take(&mut state)
        {
            drop(state);
            return lent.opened(deadline);
        }
        let ticket = state.last_ticket + 1;
        state.last_ticket = ticket;
        state.waiting.push_back(ticket);
        let outcome = loop {
            if state.closed {
                break Err(Error::new(Status::Closed, "the store is closed"));
            }
            if state.waiting.front() == Some(&ticket)
                && let Some(lent) = self.take(&mut state)
            {
                break Ok(lent);
            }
            if let Err(error) = deadline.check_cancel() {
                break Err(error);
            }
            if deadline.is_over() {
                break Err(busy());
            }
            state = deadline.sleep_on(&self.returned, state, None);
        };
        state.waiting.retain(|own| *own != ticket);
        // There may be a connection for the next one, too.
        let others_wait = !state.waiting.is_empty();
        drop(state);
        if others_wait {
            self.returned.notify_all();
        }
        outcome.and_then(|lent| lent.opened(deadline))
    }

    /// One that is idle, or the place of one that is still to be opened; `None`: all are lent out.
    fn take(&self, state: &mut State) -> Option<PooledReader<'_>> {
        if state.closed {
            return None;
        }
        let reader = state.idle.pop();
        if reader.is_none() {
            if state.open == self.max_readers {
                return None;
            }
            // Counted before it is open; given back by the drop if that fails.
            state.open += 1;
        }
        Some(PooledReader { readers: self, reader })
    }

    /// Closes the connections that nobody has used for a while.
    pub fn close_idle(&self) {
        self.close_idle_for(MAX_IDLE);
    }

    /// Closes the connections that nobody has used for `time`.
    pub fn close_idle_for(&self, time: Duration) {
        let mut state = self.state();
        let used = state.idle.iter().position(|reader| reader.idle_since.elapsed() < time);
        let count = used.unwrap_or(state.idle.len());
        if count == 0 {
            return;
        }
        let unused: Vec<_> = state.idle.drain(..count).collect();
        drop(state);
        drop(unused);
        // Only now may others be opened in their place.
        self.state().open -= count;
        self.returned.notify_all();
    }

    /// Closes the connections; those that are lent out, when they come back.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        state.open -= idle.len();
        drop(state);
        drop(idle);
        self.returned.notify_all();
    }

    /// Lets the idle connections look as if nobody had used them for `time` longer.
    #[cfg(all(test, target_os = "linux", feature = "bundled-sqlite"))]
    pub fn age_idle(&self, time: Duration) {
        for reader in &mut self.state().idle {
            reader.idle_since = reader.idle_since.checked_sub(time).expect("a clock that old");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was lent out.
pub struct PooledReader<'a> {
    readers: &'a ReaderPool,
    reader: Option<Box<Reader>>,
}

impl PooledReader<'_> {
    /// Opens the connection if that is still to be done. Not under the lock.
    fn opened(mut self, deadline: &Deadline) -> Result<Self> {
        if self.reader.is_none() {
            self.reader = Some(retry(deadline, || self.readers.open())?);
        }
        Ok(self)
    }
}

impl Drop for PooledReader<'_> {
    fn drop(&mut self) {
        // A store that is open to read has no maintenance to do it.
        self.readers.close_idle();
        let mut state = self.readers.state();
        match self.reader.take() {
            Some(mut reader) if !state.closed && reader.is_kept => {
                reader.idle_since = Instant::now();
                state.idle.push(reader);
            }
            gone => {
                state.open -= 1;
                drop(state);
                drop(gone);
            }
        }
        self.readers.returned.notify_all();
    }
}

/// What a read runs on: a connection of its own, or the writer's where there is only that.
pub enum ReadConnection<'a> {
    /// A connection of its own.
    Own(PooledReader<'a>),
    /// The only one.
    Writers(WriterGuard<'a>),
}

impl ReadConnection<'_> {
    /// For a read without a transaction: the file, and the snapshot that a transaction would find;
    /// `None`: it has to begin one.
    pub fn lock_free(&mut self) -> Option<(&Connection, &mut EventReader, Snapshot)> {
        let ReadConnection::Own(PooledReader { readers, reader: Some(reader) }) = self else {
            return None;
        };
        let Reader { connection, decoder, has_read: true, .. } = &mut **reader else { return None };
        let snapshot = if readers.is_logged { readers.seen.now(connection)? } else { return None };
        Some((connection, decoder, snapshot))
    }

    /// Begins a read transaction and runs `body` in it, with the snapshot that it took.
    pub fn transaction<T>(
        &mut self,
        deadline: &Deadline,
        body: impl FnOnce(&Connection, &mut EventReader, Snapshot) -> Result<T>,
    ) -> Result<T> {
        let (connection, decoder, mut seen) = match self {
            ReadConnection::Own(PooledReader { readers, reader }) => {
                let reader = reader.as_mut().expect("lent until it is dropped");
                let Reader { connection, decoder, has_read, .. } = &mut **reader;
                // Somebody may have put the database into WAL mode since it was opened.
                if !readers.is_logged
                    && readers.role != OpenMode::Immutable
                    && is_in_wal_mode(connection)
                {
                    create_for_owner(&readers.path)?;
                }
                let seen = readers.is_logged.then_some((&readers.seen, has_read));
                (&*connection, decoder, seen)
            }
            ReadConnection::Writers(core) => {
                let (connection, decoder) = core.open()?.parts();
                (connection, decoder, None)
            }
        };
        end_left_over(connection)?;
        let before =
            seen.as_ref().filter(|(_, has_read)| **has_read).and_then(|_| log_header(connection));
        // A statement under way holds its snapshot for every other on the connection: that spares
        // a BEGIN and an end of it.
        let mut statement = connection.prepare_cached(Snapshot::SQL).map_err(from_sqlite)?;
        loop {
            let mut open = statement.query([]).map_err(from_sqlite)?;
            match open.next() {
                Ok(Some(row)) => {
                    let snapshot = Snapshot::of(&Row::typed(row))?;
                    if let Some((seen, has_read)) = &mut seen {
                        **has_read = true;
                        if let Some(before) = before {
                            seen.note(connection, before, snapshot);
                        }
                    }
                    return body(connection, decoder, snapshot);
                }
                Ok(None) => return Err(damaged_index()),
                Err(error) if is_busy(&error) => wait_for_lock(deadline)?,
                Err(error) => return Err(from_sqlite(error)),
            }
        }
    }
}

/// Lends a connection to a read.
pub fn lend<'a>(
    readers: Option<&'a ReaderPool>,
    writer: Option<&'a Writer>,
    deadline: &Deadline,
) -> Result<ReadConnection<'a>> {
    match (readers, writer) {
        (Some(readers), _) => Ok(ReadConnection::Own(readers.get(deadline)?)),
        (None, Some(writer)) => Ok(ReadConnection::Writers(writer.lock_within(deadline)?)),
        (None, None) => Err(Error::new(Status::Internal, "a store without connections")),
    }
}
