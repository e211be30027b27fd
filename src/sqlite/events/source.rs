//! Where a read finds rows: on pages of the file, and by SQL.

use rusqlite::Connection;

use crate::error::{Error, Status};
use crate::sql::SqlConnection;
use crate::sqlite::wal::wal_index::DatabaseFile;

/// What a read may use to find rows.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A transaction of the library's own: pages of the file, and SQL for what these do not have.
    Own(&'a Connection),
    /// A transaction on whoever's connection: SQL alone.
    Sql(&'a dyn SqlConnection),
    /// No transaction: pages of the file alone.
    Pages(&'a Connection),
}

impl<'a> Source<'a> {
    /// The database file; `None` where no page of it can be read.
    pub fn file(self) -> Option<DatabaseFile<'a>> {
        match self {
            Source::Own(connection) | Source::Pages(connection) => DatabaseFile::of(connection),
            Source::Sql(_) => None,
        }
    }

    /// Whether all that is read now is of one moment. Without a transaction, that is the snapshot
    /// that an earlier one took.
    pub fn is_in_snapshot(self) -> bool {
        match self {
            Source::Own(connection) => connection.is_in_snapshot(),
            Source::Sql(connection) => connection.is_in_snapshot(),
            Source::Pages(_) => true,
        }
    }

    /// The connection to run SQL on.
    pub fn sql(self) -> ReadResult<&'a dyn SqlConnection> {
        match self {
            Source::Own(connection) => Ok(connection),
            Source::Sql(connection) => Ok(connection),
            Source::Pages(_) => Err(ReadStop::NeedsTransaction),
        }
    }
}

impl<'a> From<&'a Connection> for Source<'a> {
    fn from(connection: &'a Connection) -> Self {
        Source::Own(connection)
    }
}

impl<'a> From<&'a dyn SqlConnection> for Source<'a> {
    fn from(connection: &'a dyn SqlConnection) -> Self {
        Source::Sql(connection)
    }
}

/// What a read of rows returns.
pub type ReadResult<T> = Result<T, ReadStop>;

/// Why a read ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadStop {
    /// The read failed.
    Failed(Error),
    /// The pages do not have what was looked for: the read has to go on in a transaction. A source
    /// that has one never gives this.
    NeedsTransaction,
}

impl From<Error> for ReadStop {
    fn from(error: Error) -> Self {
        ReadStop::Failed(error)
    }
}

/// For reads in a transaction.
impl From<ReadStop> for Error {
    fn from(stop: ReadStop) -> Self {
        match stop {
            ReadStop::Failed(error) => error,
            ReadStop::NeedsTransaction => {
                Error::new(Status::Internal, "a read in a transaction asked for one")
            }
        }
    }
}
