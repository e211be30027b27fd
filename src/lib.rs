//! An event store with Dynamic Consistency Boundaries (<https://dcb.events>),
//! made to be embedded: the core, its stores, and the C surface over them.
//!
//! Imports point one way: `capi` -> `open` -> the stores -> `index`, `documents` -> `domain`.

pub mod call;
pub mod capi;
pub mod diagnosis;
pub mod documents;
pub mod domain;
pub mod error;
pub mod index;
pub mod limits;
pub mod memory;
pub mod open;
pub mod sqlite;
pub mod store;
mod sync;
pub mod testing;
pub mod watch;

pub use call::{Call, Cancel, Timeout};
pub use error::{Error, Result, Status};
pub use open::open;
pub use store::Store;
