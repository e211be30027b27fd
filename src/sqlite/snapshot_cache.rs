//! The snapshot cache: reads without a transaction while nothing is committed.
//!
//! Beginning a transaction costs SQLite several lock calls and a walk down two B-trees, whose pages
//! it has to read again after every commit. What a transaction found (the head and the version of
//! the list of segments) stays valid as long as the header of the WAL-index is unchanged: every
//! commit of every process changes the header before the commit completes. A header never recurs,
//! since it counts the commits and holds a checksum over the WAL.
//! (<https://sqlite.org/walformat.html#the_wal_index_file_format>)
//!
//! So while the header is unchanged, a read reuses that snapshot. It finds recent events in memory.
//! It finds older ones, and the index blocks that lead to them, in pages of the file that belong to
//! one version of it (`btree.rs`), which takes no lock. If SQL is needed after all, the read
//! continues in a transaction.
//!
//! A commit of this process would end the snapshot of every read. But the writer knows what it has
//! committed, so it notes that snapshot itself, if the header is still the one of its own commit.
//!
//! Invariant: the cache returns a snapshot only under the header with which it was taken. A mutex
//! guards the pair, and is held only to copy it.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::wal::wal_index::{Header, LogMark, SchemaMark, log_header};

/// The newest known snapshot, and the WAL-index header that goes with it.
#[derive(Debug, Default)]
pub struct SnapshotCache {
    cached: Mutex<Option<Cached>>,
    /// How often the cached snapshot was still valid.
    #[cfg(test)]
    pub hits: std::sync::atomic::AtomicU64,
}

/// A snapshot with the header that goes with it.
#[derive(Debug, Clone, Copy)]
struct Cached {
    header: Header,
    snapshot: Snapshot,
    /// The schema cookie in the snapshot, if it is known.
    cookie: Option<u32>,
}

impl SnapshotCache {
    /// Caches the snapshot of a transaction that has just begun, with the schema cookie in it.
    /// `before` is the header from before it began: if the header is still the same, the snapshot
    /// belongs to it.
    pub fn note(
        &self,
        connection: &Connection,
        before: Header,
        snapshot: Snapshot,
        cookie: Option<u32>,
    ) {
        if log_header(connection) == Some(before) {
            self.keep(Cached { header: before, snapshot, cookie });
        }
    }

    /// Caches the snapshot that this connection's commit has made, unless another commit may have
    /// come after it. `before` was taken in the transaction, before it wrote anything.
    pub fn note_commit(&self, connection: &Connection, before: LogMark, snapshot: Snapshot) {
        if let Some(header) = before.header_of_commit(connection) {
            // An append does not change the schema.
            let cookie = self.get(before.header()).and_then(|cached| cached.cookie);
            self.keep(Cached { header, snapshot, cookie });
        }
    }

    /// Returns the snapshot that a transaction would find now, if it is known, and its mark.
    pub fn now(&self, connection: &Connection) -> Option<(Snapshot, Option<SchemaMark>)> {
        let Cached { header, snapshot, cookie } = self.get(log_header(connection)?)?;
        #[cfg(test)]
        self.hits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Some((snapshot, cookie.map(|cookie| SchemaMark::new(header, cookie))))
    }

    /// Returns the snapshot of a transaction that finds this header, if it is known.
    pub fn at(&self, header: Header) -> Option<Snapshot> {
        self.get(header).map(|cached| cached.snapshot)
    }

    fn get(&self, header: Header) -> Option<Cached> {
        let cached = *self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.filter(|cached| cached.header == header)
    }

    fn keep(&self, cached: Cached) {
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(cached);
    }
}
