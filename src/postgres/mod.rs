//! The connection to a PostgreSQL server.

pub mod host;
pub mod parameters;
mod passfile;
pub mod password;
mod service;
mod uri;
