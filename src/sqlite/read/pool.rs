//! The pool of connections that read.
//!
//! Reads wait for a connection in the order in which they came (`commit/fair_queue.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::commit::deadline::Deadline;
use crate::commit::fair_queue::{FairQueue, Stock};
use crate::error::{Error, Result, Status};
use crate::sql::Row;
use crate::sqlite::append::writer::WriterGuard;
use crate::sqlite::cache::ReadCaches;
use crate::sqlite::connection::error::{busy, damaged_index, from_sqlite, is_busy};
use crate::sqlite::connection::transaction::{end_left_over, retry, wait_for_lock};
use crate::sqlite::connection::{Location, OpenMode, connect};
use crate::sqlite::events::btree::BTree;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::{ReadResult, ReadStop, Source};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::snapshot_cache::SnapshotCache;
use crate::sqlite::state::Checkpoints;
use crate::sqlite::wal::file_id::{FileId, file_id_at};
use crate::sqlite::wal::file_ops::replaced;
use crate::sqlite::wal::owner_access::create_for_owner;
use crate::sqlite::wal::wal_index::{SchemaMark, is_in_wal_mode, log_header};

/// How many connections read at a time unless the options say otherwise; further readers wait for
/// one of them.
pub const DEFAULT_MAX_READERS: usize = 8;

/// A connection that nobody has used for so long is closed. Opening another takes less than a
/// millisecond, but it finds nothing of the file in its cache.
const MAX_IDLE: Duration = Duration::from_secs(10);

/// A pool of connections that read. They are opened as they are needed, and kept.
#[derive(Debug)]
pub struct ReaderPool {
    path: PathBuf,
    role: OpenMode,
    /// The file that was at the path when the store was opened.
    file: FileId,
    tree: Arc<BTree>,
    caches: Arc<ReadCaches>,
    /// Whether the database is in WAL mode.
    is_logged: bool,
    /// The snapshot that a transaction would find as long as nothing is committed.
    pub seen: Arc<SnapshotCache>,
    stock: FairQueue<PoolStock>,
}

/// The connections that no read has, and the places for those that are still to be opened.
#[derive(Debug)]
struct PoolStock {
    /// In the order in which they came back. The last one is the first to be lent again.
    #[expect(clippy::vec_box, reason = "they move out and in")]
    idle: Vec<Box<Reader>>,
    /// The number of connections, idle or lent, and of the places that were given for one.
    open: usize,
    /// How many there may be.
    max: usize,
    closed: bool,
}

impl PoolStock {
    /// Takes a connection or a place if another one is left.
    fn take_spare(&mut self) -> Option<Lent> {
        let free = self.idle.len() + self.max.saturating_sub(self.open);
        if free > 1 || self.closed { self.take() } else { None }
    }

    /// Takes the connections out that nobody has used for `time`. Their places stay taken until
    /// they are closed.
    fn take_idle_for(&mut self, time: Duration) -> Vec<Reader> {
        let used = self.idle.iter().position(|reader| reader.idle_since.elapsed() < time);
        let unused = self.idle.drain(..used.unwrap_or(self.idle.len()));
        unused.map(|reader| *reader).collect()
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

impl Stock for PoolStock {
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

fn closed() -> Error {
    Error::new(Status::Closed, "the store is closed")
}

/// A connection that reads, with its buffers.
#[derive(Debug)]
pub struct Reader {
    /// The connection.
    pub connection: Connection,
    /// The reader of its rows.
    pub decoder: EventReader,
    /// Whether the connection has been in a transaction.
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
        caches: Arc<ReadCaches>,
        max_readers: usize,
        is_logged: bool,
        seen: Arc<SnapshotCache>,
    ) -> Result<Self> {
        let file = file_id_at(&path)?;
        let none = PoolStock { idle: Vec::new(), open: 0, max: max_readers, closed: false };
        let stock = FairQueue::new(none);
        Ok(ReaderPool { path, role, file, tree, caches, is_logged, seen, stock })
    }

    fn reader(&self, connection: Connection) -> Box<Reader> {
        let decoder = EventReader::new(Arc::clone(&self.tree), Arc::clone(&self.caches));
        let idle_since = Instant::now();
        Box::new(Reader { connection, decoder, has_read: false, idle_since, is_kept: true })
    }

    /// Returns the path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens one more connection. Fails if another file is at the path than when the store was
    /// opened.
    pub fn open(&self) -> Result<Box<Reader>> {
        let place = Location::File(self.path.clone());
        let (connection, is_kept) = match self.role {
            // A connection with a WAL-index of its own keeps every other one in this process from
            // writing, so it is used only where it has to be.
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

    /// Adds a connection that is open already.
    pub fn keep(&self, connection: Connection) {
        let reader = self.reader(connection);
        self.stock.change(|stock| {
            stock.open += 1;
            stock.idle.push(reader);
        });
    }

    /// Returns a connection, which comes back to the pool when it is dropped. Threads that wait for
    /// one get it in the order in which they came.
    pub fn get(&self, deadline: &Deadline) -> Result<PooledReader<'_>> {
        let reader = match self.stock.take_within(deadline, busy)? {
            Lent::Reader(reader) => Some(reader),
            Lent::Place => None,
            Lent::Closed => return Err(closed()),
        };
        PooledReader { readers: self, reader }.opened(deadline)
    }

    /// Returns a connection, if another one is left for the next read; otherwise fails with `busy`.
    /// It does not wait: while threads wait for a connection, there is none to spare.
    pub fn spare(&self, deadline: &Deadline) -> Result<PooledReader<'_>> {
        let reader = match self.stock.change(PoolStock::take_spare).ok_or_else(busy)? {
            Lent::Reader(reader) => Some(reader),
            Lent::Place => None,
            Lent::Closed => return Err(closed()),
        };
        PooledReader { readers: self, reader }.opened(deadline)
    }

    /// Closes the connections that nobody has used for a while.
    pub fn close_idle(&self) {
        self.close_idle_for(MAX_IDLE);
    }

    /// Closes the connections that nobody has used for `time`.
    pub fn close_idle_for(&self, time: Duration) {
        let unused = self.stock.change(|stock| stock.take_idle_for(time));
        self.close_all(unused);
    }

    /// Closes connections whose places are taken, and frees the places. Not under the lock.
    fn close_all(&self, unused: Vec<Reader>) {
        let count = unused.len();
        if count > 0 {
            drop(unused);
            // Only now may others be opened in their place.
            self.stock.change(|stock| stock.open -= count);
        }
    }

    /// Lets the idle connections look as if nobody had used them for `time` longer.
    #[cfg(all(test, target_os = "linux", feature = "bundled-sqlite"))]
    pub fn age_idle(&self, time: Duration) {
        self.stock.change(|stock| {
            for reader in &mut stock.idle {
                reader.idle_since = reader.idle_since.checked_sub(time).expect("a clock that old");
            }
        });
    }

    /// Closes the idle connections. Those that are lent out are closed when they come back, and
    /// threads that wait for one fail with `closed`.
    pub fn close(&self) {
        let idle = self.stock.change(|stock| {
            stock.closed = true;
            let idle = std::mem::take(&mut stock.idle);
            stock.open -= idle.len();
            idle
        });
        drop(idle);
    }

    /// Returns how many threads wait for a connection.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.stock.waiting()
    }
}

/// A connection that a read holds. It goes back to the pool when it is dropped.
pub struct PooledReader<'a> {
    readers: &'a ReaderPool,
    reader: Option<Box<Reader>>,
}

impl PooledReader<'_> {
    /// Opens the connection if that is still to be done. No lock is held meanwhile.
    fn opened(mut self, deadline: &Deadline) -> Result<Self> {
        if self.reader.is_none() {
            self.reader = Some(retry(deadline, || self.readers.open())?);
        }
        Ok(self)
    }
}

impl Drop for PooledReader<'_> {
    fn drop(&mut self) {
        let pool = &self.readers.stock;
        let (gone, unused) = pool.change(|stock| match self.reader.take() {
            Some(mut reader) if !stock.closed && reader.is_kept => {
                // A store that is open to read has no maintenance to close them.
                let unused = stock.take_idle_for(MAX_IDLE);
                reader.idle_since = Instant::now();
                stock.idle.push(reader);
                (None, unused)
            }
            gone => (Some(gone), Vec::new()),
        });
        self.readers.close_all(unused);
        if let Some(gone) = gone {
            // Its place is free only once the connection is closed.
            drop(gone);
            pool.change(|stock| stock.open -= 1);
        }
    }
}

/// The connection that a read runs on.
pub enum ReadConnection<'a> {
    /// A connection of the pool.
    Own(PooledReader<'a>),
    /// The writer's, in a store that has only that.
    Writers(WriterGuard<'a>),
}

impl ReadConnection<'_> {
    /// Runs `body` with the newest snapshot: without a transaction as far as pages of the file
    /// suffice, and then in a read transaction, for which it passes the gate. So `body` may run
    /// twice, and goes on where it stopped.
    pub fn read<T>(
        &mut self,
        checkpoints: &Checkpoints,
        deadline: &Deadline,
        mut body: impl FnMut(Source<'_>, &mut EventReader, Snapshot) -> ReadResult<T>,
    ) -> Result<T> {
        if let Some((source, reader, snapshot)) = self.lock_free() {
            match body(source, reader, snapshot) {
                Err(ReadStop::NeedsTransaction) => {}
                read => return Ok(read?),
            }
        }
        let _gate = checkpoints.pass_gate(deadline)?;
        self.transaction(deadline, |source, reader, snapshot| Ok(body(source, reader, snapshot)?))
    }

    /// Returns what a read without a transaction needs, with the snapshot that a transaction would
    /// find. Returns `None` if the read has to begin one.
    pub fn lock_free(&mut self) -> Option<(Source<'_>, &mut EventReader, Snapshot)> {
        let ReadConnection::Own(PooledReader { readers, reader: Some(reader) }) = self else {
            return None;
        };
        let Reader { connection, decoder, has_read: true, .. } = &mut **reader else { return None };
        let (snapshot, mark) =
            if readers.is_logged { readers.seen.now(connection)? } else { return None };
        Some((Source::Pages(connection, mark), decoder, snapshot))
    }

    /// Begins a read transaction, and runs `body` in it with the snapshot that it took.
    pub fn transaction<T>(
        &mut self,
        deadline: &Deadline,
        body: impl FnOnce(Source<'_>, &mut EventReader, Snapshot) -> Result<T>,
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
                let seen = readers.is_logged.then_some((&*readers.seen, has_read));
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
        // A statement that runs holds its snapshot for all others on the connection, which saves a
        // BEGIN and its end.
        let mut statement = connection.prepare_cached(Snapshot::SQL).map_err(from_sqlite)?;
        loop {
            let mut open = statement.query([]).map_err(from_sqlite)?;
            match open.next() {
                Ok(Some(row)) => {
                    let snapshot = Snapshot::of(&Row::typed(row))?;
                    let mut mark = None;
                    if let Some((seen, has_read)) = &mut seen {
                        **has_read = true;
                        if let Some(before) = before {
                            let cookie = Snapshot::schema_cookie(connection);
                            seen.note(connection, before, snapshot, cookie);
                            mark = cookie.map(|cookie| SchemaMark::new(before, cookie));
                        }
                    }
                    return body(Source::Own(connection, mark), decoder, snapshot);
                }
                Ok(None) => return Err(damaged_index()),
                Err(error) if is_busy(&error) => wait_for_lock(deadline)?,
                Err(error) => return Err(from_sqlite(error)),
            }
        }
    }
}
