//! The workloads, a file for each word of the command line.

pub mod append;
pub mod decide;
pub mod large;
pub mod memory;
pub mod open;
pub mod read;
pub mod tails;
