//! Connections that the host program lends to a store, and the statements that run on them.

use std::ffi::c_void;
use std::time::Duration;

use crate::sql::Value;

/// A failure that the host's driver reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The database's extended result code, or 0 if there is none.
    pub code: i32,
    /// The message of the driver.
    pub message: String,
}

/// The driver's reply to a statement.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Rows in the encoding of `row_codec.rs`.
    pub rows: Vec<u8>,
    /// Whether there may be more rows.
    pub is_more: bool,
    /// The number of rows that the statement has changed.
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
    /// Borrows a connection that has no open transaction. Waits for one up to `timeout`, or without
    /// a limit if that is `None`.
    fn acquire(&self, timeout: Option<Duration>) -> Result<Box<dyn BorrowedConnection>, Failure>;

    /// The connection of a transaction that the caller of the library has open. It was not acquired,
    /// and is not released.
    fn transaction(&self, connection: ConnectionHandle) -> Box<dyn BorrowedConnection>;
}

/// A connection borrowed from the host. Dropping it returns it.
pub trait BorrowedConnection {
    /// Runs a statement without rows.
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Reply, Failure>;

    /// Runs a statement, and returns its first rows.
    fn query(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Reply, Failure>;

    /// Returns further rows of the innermost unfinished query. Queries nest: one that begins
    /// between the rows of another ends before that one continues.
    fn more(&mut self) -> Result<Reply, Failure>;

    /// Ends the innermost unfinished query without its remaining rows.
    fn finish(&mut self);

    /// Marks the connection as not restored to the state in which it was borrowed. The host must
    /// close it instead of using it again.
    fn spoil(&mut self);
}
