//! An event store with Dynamic Consistency Boundaries (<https://dcb.events>),
//! made to be embedded: the core, its stores, and the C surface over them.
//!
//! Imports point one way: `capi` -> `open` -> the stores -> `index`, `documents` -> `domain`.

pub mod capi;
mod clock;
pub mod commit;
pub mod domain;
pub mod error;
pub mod failpoints;
pub mod index;
pub mod json;
pub mod limits;
pub mod memory;
mod open;
pub mod sql;
pub mod sqlite;
pub mod store;
mod sync;

pub use commit::deadline::{CallOptions, CancelToken, Timeout};
pub use error::{Error, Result, Status};
pub use open::open;
pub use store::Store;
