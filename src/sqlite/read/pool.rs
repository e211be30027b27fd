//! The connections that read.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::commit::deadline::Patience;
use crate::error::{Error, Result, Status};
use crate::sql::Row;
use crate::sqlite::append::writer::{CoreGuard, Writer};
use crate::sqlite::connection::error::{busy, from_sqlite, is_busy};
use crate::sqlite::connection::transaction::{end_left_over, retry, wait_for_lock};
use crate::sqlite::connection::{Place, Role, connect};
use crate::sqlite::events::btree::Tree;
use crate::sqlite::events::reader::Decoder;
use crate::sqlite::index::codec::damaged;
use crate::sqlite::read::lock_free::{LastSeen, Outside};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::wal::file_id::{Identity, identity_at};
use crate::sqlite::wal::wal_file::replaced;
use crate::sqlite::wal::wal_index::log_header;

/// At most so many connections read at a time; further readers wait for one of them.
const MAX_READERS: usize = 8;

/// Read-only connections, opened as they are needed and kept.
#[derive(Debug)]
pub struct Readers {
    path: PathBuf,
    role: Role,
    /// Which file was at the path when the store was opened.
    file: Identity,
    tree: Arc<Tree>,
    /// Whether the database has a log.
    is_logged: bool,
    /// What a transaction of theirs would find, as long as nothing is committed.
    pub seen: LastSeen,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
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
    pub decoder: Decoder,
    /// Whether it has been in a transaction.
    has_read: bool,
}

impl Readers {
    /// For the database at `path`.
    pub fn new(path: PathBuf, role: Role, tree: Arc<Tree>, is_logged: bool) -> Result<Self> {
        let file = identity_at(&path)?;
        let (state, returned) = (Mutex::default(), Condvar::new());
        let seen = LastSeen::default();
        Ok(Readers { path, role, file, tree, is_logged, seen, state, returned })
    }

    fn reader(&self, connection: Connection) -> Box<Reader> {
        let decoder = Decoder::new(Arc::clone(&self.tree));
        Box::new(Reader { connection, decoder, has_read: false })
    }

    /// The database's.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One more connection, to the file that the store was opened on.
    fn open(&self) -> Result<Box<Reader>> {
        let connection = connect(&Place::File(self.path.clone()), self.role)?;
        if identity_at(&self.path)? != self.file {
            return Err(replaced());
        }
        Ok(self.reader(connection))
    }

    /// Takes a connection that is open already.
    pub fn keep(&self, connection: Connection) {
        let mut state = self.state();
        state.open += 1;
        state.idle.push(self.reader(connection));
    }

    /// A connection, until it is dropped; to those who wait, in the order in which they came: who
    /// has just given one back would otherwise be the first to have it again.
    pub fn get(&self, patience: &Patience) -> Result<Lent<'_>> {
        let mut state = self.state();
        if state.waiting.is_empty()
            && let Some(lent) = self.take(&mut state)
        {
            drop(state);
            return lent.opened(patience);
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
            if let Err(error) = patience.check_cancel() {
                break Err(error);
            }
            if patience.is_over() {
                break Err(busy());
            }
            state = patience.sleep_on(&self.returned, state, None);
        };
        state.waiting.retain(|own| *own != ticket);
        // There may be a connection for the next one, too.
        let others_wait = !state.waiting.is_empty();
        drop(state);
        if others_wait {
            self.returned.notify_all();
        }
        outcome.and_then(|lent| lent.opened(patience))
    }

    /// One that is idle, or the place of one that is still to be opened; `None`: all are lent out.
    fn take(&self, state: &mut State) -> Option<Lent<'_>> {
        if state.closed {
            return None;
        }
        let reader = state.idle.pop();
        if reader.is_none() {
            if state.open == MAX_READERS {
                return None;
            }
            // Counted before it is open; given back by the drop if that fails.
            state.open += 1;
        }
        Some(Lent { readers: self, reader })
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was lent out.
pub struct Lent<'a> {
    readers: &'a Readers,
    reader: Option<Box<Reader>>,
}

impl Lent<'_> {
    /// Opens the connection if that is still to be done. Not under the lock.
    fn opened(mut self, patience: &Patience) -> Result<Self> {
        if self.reader.is_none() {
            self.reader = Some(retry(patience, || self.readers.open())?);
        }
        Ok(self)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.state();
        match self.reader.take() {
            Some(reader) if !state.closed => state.idle.push(reader),
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
pub enum Reading<'a> {
    /// A connection of its own.
    Own(Lent<'a>),
    /// The only one.
    Writers(CoreGuard<'a>),
}

impl Reading<'_> {
    /// For a read without a transaction: the file, and the snapshot that a transaction would find;
    /// `None`: it has to begin one.
    pub fn outside(&mut self) -> Option<(Outside<'_>, &mut Decoder, Snapshot)> {
        let Reading::Own(Lent { readers, reader: Some(reader) }) = self else { return None };
        let Reader { connection, decoder, has_read: true } = &mut **reader else { return None };
        let snapshot = if readers.is_logged { readers.seen.now(connection)? } else { return None };
        Some((Outside::new(connection), decoder, snapshot))
    }

    /// Begins a read transaction and runs `body` in it, with the snapshot that it took.
    pub fn transaction<T>(
        &mut self,
        patience: &Patience,
        body: impl FnOnce(&Connection, &mut Decoder, Snapshot) -> Result<T>,
    ) -> Result<T> {
        let (connection, decoder, mut seen) = match self {
            Reading::Own(Lent { readers, reader }) => {
                let reader = reader.as_mut().expect("lent until it is dropped");
                let Reader { connection, decoder, has_read } = &mut **reader;
                let seen = readers.is_logged.then_some((&readers.seen, has_read));
                (&*connection, decoder, seen)
            }
            Reading::Writers(core) => {
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
                    let snapshot = Snapshot::of(&Row::of(row))?;
                    if let Some((seen, has_read)) = &mut seen {
                        **has_read = true;
                        if let Some(before) = before {
                            seen.note(connection, before, snapshot);
                        }
                    }
                    return body(connection, decoder, snapshot);
                }
                Ok(None) => return Err(damaged()),
                Err(error) if is_busy(&error) => wait_for_lock(patience)?,
                Err(error) => return Err(from_sqlite(error)),
            }
        }
    }
}

/// Lends a connection to a read.
pub fn lend<'a>(
    readers: Option<&'a Readers>,
    writer: Option<&'a Writer>,
    patience: &Patience,
) -> Result<Reading<'a>> {
    match (readers, writer) {
        (Some(readers), _) => Ok(Reading::Own(readers.get(patience)?)),
        (None, Some(writer)) => Ok(Reading::Writers(writer.core_within(patience)?)),
        (None, None) => Err(Error::new(Status::Internal, "a store without connections")),
    }
}
