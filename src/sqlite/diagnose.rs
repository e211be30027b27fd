//! The diagnosis of a SQLite store.

use std::path::Path;

use crate::commit::deadline::Deadline;
use crate::error::Result;
use crate::position::Position;
use crate::sqlite::index::segment_list::Segments;
use crate::sqlite::schema::{FORMAT, format_of};
use crate::sqlite::state::StoreState;
use crate::sqlite::store::SqliteStore;
use crate::sqlite::vfs::ofd_locks;
use crate::sqlite::vfs::ofd_locks::LockKind;
use crate::sqlite::wal::file_ops::beside;
use crate::store::diagnosis::{Diagnosis, SqliteDiagnosis};

impl StoreState {
    /// Returns the part of the diagnosis that all SQLite stores share. `visible` is the head that
    /// readers may see.
    pub fn diagnosis(
        &self,
        visible: Result<Position>,
        segments: &Segments,
        path: Option<&Path>,
    ) -> Result<Diagnosis> {
        let failure = self.commits.durability.failure();
        let head = match &failure {
            // The caller wants to learn about the failure: reporting it beats failing with it.
            Some(_) => visible.unwrap_or_else(|_| self.commits.durability.durable()),
            None => visible?,
        };
        let wal = path.and_then(|path| std::fs::metadata(beside(path, "-wal")).ok());
        Ok(Diagnosis {
            head,
            postgres: None,
            sqlite: Some(SqliteDiagnosis {
                path: path.map(ToOwned::to_owned),
                read_only: false,
                format: FORMAT,
                sqlite: String::new(),
                bundled_sqlite: false,
                // The locks of the host's SQLite: POSIX locks, as SQLite takes them by itself.
                locks: path.map(|_| LockKind::Process.name()),
                other_sqlite: None,
                durable: path.map(|_| self.commits.durability.durable()),
                indexed: segments.indexed(),
                segments: segments.list.len(),
                log_bytes: wal.map(|wal| wal.len()),
                log_held: self.checkpoints.is_log_held(),
                failure: failure.map(|failure| failure.message.into_owned()),
            }),
        })
    }
}

impl SqliteStore {
    pub(super) fn diagnosis(&self, deadline: &Deadline) -> Result<Diagnosis> {
        let shared = &self.shared;
        let (snapshot, segments, format) = {
            let mut connection = self.connections.lend(deadline)?;
            let _gate = shared.checkpoints.pass_gate(deadline)?;
            connection.transaction(deadline, |source, _, snapshot| {
                let segments = shared.index.segments.at_version(source, snapshot.version)?;
                Ok((snapshot, segments, format_of(source.sql()?)?))
            })?
        };
        let path = self.connections.readers().map(|readers| readers.path());
        let diagnosis = shared.diagnosis(self.visible(snapshot.head), &segments, path)?;
        let locks = path.and_then(ofd_locks::inspect);
        Ok(Diagnosis {
            sqlite: diagnosis.sqlite.map(|common| SqliteDiagnosis {
                read_only: self.connections.writer().is_none(),
                format: format.unwrap_or(common.format),
                sqlite: rusqlite::version().to_owned(),
                bundled_sqlite: cfg!(feature = "bundled-sqlite"),
                locks: locks.map(|locks| locks.kind.name()),
                // If the library's own locks belong to the process, other locks of the process
                // cannot be told apart from them.
                other_sqlite: locks
                    .filter(|locks| locks.kind == LockKind::OpenFileDescription)
                    .map(|locks| locks.foreign),
                ..common
            }),
            ..diagnosis
        })
    }
}
