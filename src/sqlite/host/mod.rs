//! A store on connections of the host: its SQLite runs the statements, and the library never opens
//! the file.
//!
//! The statements and the rules are those of [`SqliteStore`](crate::sqlite::SqliteStore). This folder
//! has the differences. A connection is borrowed for one operation and returned unchanged. A statement
//! that finds a lock is repeated until the deadline of the call. There is no maintenance thread. The
//! program may use the file by other connections, and its triggers on the store's tables run.

mod connection;
mod group;
mod identity;
mod maintenance;
mod open;
mod overlay;
mod poll;
mod store;
mod within;

use crate::error::Error;
use crate::sql::host::Failure;

pub use store::HostStore;

/// Converts the failure to an error with a status of the contract.
fn of_host(failure: &Failure) -> Error {
    crate::sqlite::connection::error::of_code(failure.code, &failure.message)
}
