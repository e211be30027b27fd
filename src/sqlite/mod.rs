//! The SQLite store: one file, any number of threads and processes on one machine.
//!
//! The table of events is the truth. An index is derived from it: of the recent events in memory,
//! of the older ones in segments that are written behind the appends. ARCHITECTURE.md tells the
//! life of an append and of a read.

mod append;
mod backup;
pub(crate) mod connection;
mod diagnose;
mod events;
pub mod host;
mod index;
mod maintenance;
mod open;
mod read;
mod schema;
mod signal;
mod snapshot;
mod state;
mod store;
#[cfg(test)]
mod tests;
pub mod vfs;
pub(crate) mod wal;

pub use connection::Location;
pub use open::explain::shown;
pub use schema::FORMAT;
pub use store::SqliteStore;
