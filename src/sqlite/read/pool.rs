//! The connections that read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::commit::deadline::Deadline;
use crate::commit::fair_queue::{FairQueue, Stock};
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
    /// Whether the database has a log.
    is_logged: bool,
    /// What a transaction of theirs would find, as long as nothing is committed.
    pub seen: SnapshotCache,
    connections: FairQueue<Connections>,
}

/// The connections that no read has, and the places for those that are still to be opened.
#[derive(Debug)]
struct Connections {
    /// In the order in which they came back. The last one is the first to be lent again.
    #[expect(clippy::vec_box, reason = "they move out and in")]
    idle: Vec<Box<Reader>>,
    /// The number of connections, idle or lent, and of the places that were given for one.
    open: usize,
    /// How many there may be.
    max: usize,
    closed: bool,
}

impl Connections {
    /// Takes the connections out that nobody has used for `time`. Their places stay taken until
    /// they are closed.
    fn take_idle_for(&mut self, time: Duration) -> Vec<Box<Reader>> {
        let used = self.idle.iter().position(|reader| reader.idle_since.elapsed() < time);
        self.idle.drain(..used.unwrap_or(self.idle.len())).collect()
    }
}

/// What the pool gives to a read.
#[derive(Debug)]
enum Lent {
    /// An open connection.
    Reader(Box<Reader>),
    /// The place of a connection that the read opens itself.
    Place,
    /// Nothing: the store is closed.
    Closed,
}

impl Stock for Connections {
    type Item = Lent;

    fn take(&mut self) -> Option<Lent> {
        if self.closed {
            return Some(Lent::Closed);
        }
        if let Some(reader) = self.idle.pop() {
            return Some(Lent::Reader(reader));
        }
        // Counted before it is open. If the read fails to open it, it returns the place.
        (self.open < self.max).then(|| {
            self.open += 1;
            Lent::Place
        })
    }
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
        let none = Connections { idle: Vec::new(), open: 0, max: max_readers, closed: false };
        let connections = FairQueue::new(none);
        let seen = SnapshotCache::default();
        Ok(ReaderPool { path, role, file, tree, is_logged, seen, connections })
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
        let reader = self.reader(connection);
        self.connections.change(|connections| {
            connections.open += 1;
            connections.idle.push(reader);
        });
    }

    /// Returns a connection, which comes back to the pool when it is dropped. Threads that wait for
    /// one get it in the order in which they came.
    pub fn get(&self, deadline: &Deadline) -> Result<PooledReader<'_>> {
        let reader = match self.connections.take_within(deadline, busy)? {
            Lent::Reader(reader) => Some(reader),
            Lent::Place => None,
            Lent::Closed => return Err(Error::new(Status::Closed, "the store is closed")),
        };
        PooledReader { readers: self, reader }.opened(deadline)
    }

    /// Closes the connections that nobody has used for a while.
    pub fn close_idle(&self) {
        self.close_idle_for(MAX_IDLE);
    }

    /// Closes the connections that nobody has used for `time`.
    pub fn close_idle_for(&self, time: Duration) {
        let unused = self.connections.change(|connections| connections.take_idle_for(time));
        self.close_all(unused);
    }

    /// Closes connections whose places are taken, and frees the places. Not under the lock.
    fn close_all(&self, unused: Vec<Box<Reader>>) {
        let count = unused.len();
        if count > 0 {
            drop(unused);
            // Only now may others be opened in their place.
            self.connections.change(|connections| connections.open -= count);
        }
    }

    /// Lets the idle connections look as if nobody had used them for `time` longer.
    #[cfg(test)]
    pub fn age_idle(&self, time: Duration) {
        self.connections.change(|connections| {
            for reader in &mut connections.idle {
                reader.idle_since = reader.idle_since.checked_sub(time).expect("a clock that old");
            }
        });
    }

    /// Closes the idle connections. Those that are lent out are closed when they come back, and
    /// threads that wait for one fail with `closed`.
    pub fn close(&self) {
        let idle = self.connections.change(|connections| {
            connections.closed = true;
            let idle = std::mem::take(&mut connections.idle);
            connections.open -= idle.len();
            idle
        });
        drop(idle);
    }

    /// Returns how many threads wait for a connection.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.connections.waiting()
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
        let pool = &self.readers.connections;
        let (gone, unused) = pool.change(|connections| match self.reader.take() {
            Some(mut reader) if !connections.closed && reader.is_kept => {
                // A store that is open to read has no maintenance to close them.
                let unused = connections.take_idle_for(MAX_IDLE);
                reader.idle_since = Instant::now();
                connections.idle.push(reader);
                (None, unused)
            }
            gone => (Some(gone), Vec::new()),
        });
        self.readers.close_all(unused);
        if let Some(gone) = gone {
            // Its place is free only once the connection is closed.
            drop(gone);
            pool.change(|connections| connections.open -= 1);
        }
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
