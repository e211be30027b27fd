//! Connections that the host lends, and what runs on them.

use std::ffi::c_void;
use std::time::Duration;

use crate::sql::Value;

/// A failure as the host's SQLite reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The extended result code; 0 where there is none.
    pub code: i32,
    /// What the driver says.
    pub message: String,
}

/// What a statement has given so far.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Rows, packed; see `row_codec.rs`.
    pub rows: Vec<u8>,
    /// Whether there may be more rows.
    pub is_more: bool,
    /// How many rows the statement has changed.
    pub changes: u64,
}

/// The host's name for one of its connections, on which its caller has a transaction open.
#[derive(Debug)]
pub struct ConnectionHandle(*mut c_void);

impl ConnectionHandle {
    /// A handle that the caller of the library passed in.
    ///
    /// # Safety
    /// The host takes `connection` for one of its own, and nobody else uses it while the handle, or
    /// what [`Host::transaction`] made of it, is alive.
    pub unsafe fn new(connection: *mut c_void) -> Self {
        ConnectionHandle(connection)
    }

    /// The pointer, for the host that it belongs to.
    pub fn as_ptr(&self) -> *mut c_void {
        self.0
    }
}

/// The connections of a host. Called by the thread that made the call, in which it returns.
pub trait Host: Send + Sync {
    /// Lends a connection that is in no transaction, as soon as there is one; `None`: without end.
    fn acquire(&self, timeout: Option<Duration>) -> Result<Box<dyn BorrowedConnection>, Failure>;

    /// The connection of a transaction that the caller of the library has open. It was not acquired,
    /// and is not released.
    fn transaction(&self, connection: ConnectionHandle) -> Box<dyn BorrowedConnection>;
}

/// A connection that the host lends. It is given back by its drop.
pub trait BorrowedConnection {
    /// Runs a statement without rows.
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Reply, Failure>;

    /// Runs a statement, and gives its first rows.
    fn query(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Reply, Failure>;

    /// Gives further rows of the last query that is not at its end: one that was begun amid the rows
    /// of another ends before that one goes on.
    fn more(&mut self) -> Result<Reply, Failure>;

    /// Ends that query: nobody wants the rest of its rows.
    fn finish(&mut self);

    /// The connection is not as it was found: the host is to close it instead of using it again.
    fn spoil(&mut self);
}
