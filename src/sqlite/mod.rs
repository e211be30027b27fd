//! The SQLite store: one file, any number of threads and processes on one machine.
//!
//! The table of events is the truth. An index is derived from it: of the recent events in memory,
//! of the older ones in segments that are written behind the appends. ARCHITECTURE.md tells the
//! life of an append and of a read.

mod beside;
mod block;
mod chain;
mod connection;
mod database;
mod diagnose;
mod durability;
mod fences;
mod file;
mod filter;
pub mod host;
mod identity;
pub mod locks;
mod log;
mod maintenance;
mod merge;
mod outside;
mod pages;
mod pairing;
mod patient;
mod queue;
mod readers;
mod reads;
mod rows;
mod schema;
mod search;
mod segments;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod view;
mod visible;
mod writer;

pub use connection::Place;
pub use database::Value;
pub use schema::FORMAT;
pub use store::SqliteStore;
