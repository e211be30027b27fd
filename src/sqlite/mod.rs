//! The SQLite store: one file, any number of threads and processes on one machine.
//!
//! The table `dcb_events` is the source of truth. The index is derived from it: recent events are
//! indexed in memory, older ones in segments that are written behind the appends. ARCHITECTURE.md
//! describes the life of an append and of a read.

mod append;
mod backup;
mod cache;
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
mod snapshot_cache;
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
