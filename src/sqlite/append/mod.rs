//! Appends to a SQLite store: groups of requests, each run as one transaction of one connection.

pub mod connection;
pub mod group;
pub mod known_ids;
pub mod turns;
pub mod writer;
