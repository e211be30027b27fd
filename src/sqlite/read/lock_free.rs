//! Reads without a transaction, where nothing was committed since one.
//!
//! To begin a transaction costs SQLite some lock calls and a walk down two B-trees, whose pages it
//! reads anew after every commit. What a transaction has found, the head and the version of the list
//! of segments, holds as long as the header of the log's index is what it was then: every commit of
//! every process changes it before the commit is done, and a header does not come back, since it
//! counts the commits and holds a checksum over the log.
//! (<https://sqlite.org/walformat.html#the_wal_index_file_format>)
//!
//! So where the header is still the same, a read takes that for its snapshot. It finds events in
//! memory, and older ones, with the blocks of the index that lead to them, in the pages of the file
//! (`btree.rs`), all of one state of the file, which need no lock. Where
//! that does not do, and SQLite has to be asked, the read goes on in a transaction.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::wal::wal_index::{Header, log_header};

/// What the last transaction of a store's readers has found, and the header that goes with it.
#[derive(Debug, Default)]
pub struct SnapshotCache {
    seen: Mutex<Option<(Header, Snapshot)>>,
    /// How often it was still so.
    #[cfg(test)]
    pub hits: std::sync::atomic::AtomicU64,
}

impl SnapshotCache {
    /// Notes the snapshot of a transaction that has just begun, `before` being the header before it
    /// did: if that is the header now, it was so in between.
    pub fn note(&self, connection: &Connection, before: Header, snapshot: Snapshot) {
        if log_header(connection) == Some(before) {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((before, snapshot));
        }
    }

    /// The snapshot that a transaction would find now, if that is known.
    pub fn now(&self, connection: &Connection) -> Option<Snapshot> {
        let header = log_header(connection)?;
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, snapshot) = seen.filter(|(own, _)| *own == header)?;
        #[cfg(test)]
        self.hits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Some(snapshot)
    }
}
