//! The sources of a read's rows: SQL on a connection, pages of the database file, or both.

use rusqlite::Connection;

use crate::error::{Error, Status};
use crate::sql::SqlConnection;
use crate::sqlite::wal::wal_index::{DatabaseFile, SchemaMark};

/// What a read may use to find rows.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A transaction on a connection of the library: pages of the file, and SQL for the rest. The
    /// mark, if it is known, is that of the snapshot or of a commit before it.
    Own(&'a Connection, Option<SchemaMark>),
    /// A transaction on any connection: SQL only.
    Sql(&'a dyn SqlConnection),
    /// No transaction: pages of the file only. The mark, if it is known, is that of the snapshot.
    Pages(&'a Connection, Option<SchemaMark>),
}

impl<'a> Source<'a> {
    /// Returns the database file, or `None` if no page of it may be read.
    pub fn file(self) -> Option<DatabaseFile<'a>> {
        match self {
            Source::Own(connection, _) | Source::Pages(connection, _) => {
                DatabaseFile::of(connection)
            }
            Source::Sql(_) => None,
        }
    }

    /// Returns the mark of a commit that the read sees, if it is known.
    pub fn mark(self) -> Option<SchemaMark> {
        match self {
            Source::Own(_, mark) | Source::Pages(_, mark) => mark,
            Source::Sql(_) => None,
        }
    }

    /// Returns the library's own connection, if the source is a transaction on one.
    pub fn own(self) -> Option<&'a Connection> {
        match self {
            Source::Own(connection, _) => Some(connection),
            Source::Sql(_) | Source::Pages(..) => None,
        }
    }

    /// Returns whether everything that is read now belongs to one snapshot. Without a transaction,
    /// that is the snapshot that an earlier transaction took.
    pub fn is_in_snapshot(self) -> bool {
        match self {
            Source::Own(connection, _) => connection.is_in_snapshot(),
            Source::Sql(connection) => connection.is_in_snapshot(),
            Source::Pages(..) => true,
        }
    }

    /// Returns the connection to run SQL on, or [`ReadStop::NeedsTransaction`].
    pub fn sql(self) -> ReadResult<&'a dyn SqlConnection> {
        match self {
            Source::Own(connection, _) => Ok(connection),
            Source::Sql(connection) => Ok(connection),
            Source::Pages(..) => Err(ReadStop::NeedsTransaction),
        }
    }
}

impl<'a> From<&'a Connection> for Source<'a> {
    fn from(connection: &'a Connection) -> Self {
        Source::Own(connection, None)
    }
}

impl<'a> From<&'a dyn SqlConnection> for Source<'a> {
    fn from(connection: &'a dyn SqlConnection) -> Self {
        Source::Sql(connection)
    }
}

/// The result of a read of rows.
pub type ReadResult<T> = Result<T, ReadStop>;

/// Why a read stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadStop {
    /// The read failed.
    Failed(Error),
    /// The pages do not hold what the read needs, so it has to continue in a transaction. A source
    /// with a transaction never returns this.
    NeedsTransaction,
    /// The read would do more work than it may. A read whose work is not limited never returns
    /// this.
    TooMuchWork,
}

impl From<Error> for ReadStop {
    fn from(error: Error) -> Self {
        ReadStop::Failed(error)
    }
}

/// Converts the stop of a read in a transaction and without a limit, which is always a failure.
impl From<ReadStop> for Error {
    fn from(stop: ReadStop) -> Self {
        match stop {
            ReadStop::Failed(error) => error,
            ReadStop::NeedsTransaction => {
                Error::new(Status::Internal, "internal error: a read has no transaction")
            }
            ReadStop::TooMuchWork => {
                Error::new(Status::Internal, "internal error: a read was stopped at a limit")
            }
        }
    }
}
