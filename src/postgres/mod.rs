//! A store in a schema of a PostgreSQL database, for any number of machines.
//!
//! The caller's own thread talks to the server: the library has no thread and no runtime for it.

mod append;
mod call;
mod connection;
mod diagnose;
mod failure;
mod group;
mod history;
pub mod host;
mod open;
mod page;
pub mod parameters;
mod passfile;
pub mod password;
mod pool;
mod prepared;
mod service;
mod silence;
mod socket;
mod startup;
mod statements;
mod store;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod text_form;
#[cfg(feature = "postgres-tls")]
mod tls;
mod upgrade;
mod uri;
mod values;
mod wait;
mod wire;
mod within;

pub use statements::{REVISION as POSTGRES_REVISION, postgres_schema, postgres_upgrade};
pub use store::PostgresStore;
