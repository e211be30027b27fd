//! A store on connections of the host: its SQLite runs the statements, and the library never opens
//! the file.
//!
//! The statements and the rules are those of the other store. What differs is here: a connection is
//! borrowed for a moment and given back as it was found, whatever lock a statement meets is waited
//! for as long as the call allows, nobody works behind the appends, and what the file's other users
//! do is theirs. So are their triggers on the store's tables, which run here.

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

/// The failure in the terms of the contract.
fn of_host(failure: &Failure) -> Error {
    crate::sqlite::connection::error::of_code(failure.code, &failure.message)
}
