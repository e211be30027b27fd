//! The promises of the SQLite store under crashes, faults and many concurrent callers; and histories on
//! a PostgreSQL server.
//!
//! Processes append to one file through the C interface. Outside of the store's folder, they record
//! what they are about to send and which answers they get. They are killed, and then the file is
//! opened again and compared with the records. A kill loses nothing that was written. The state
//! after a power failure is simulated from a record of all file calls.
//!
//! `DCB_TEST_LONG=1` runs for hours.

#![cfg(target_os = "linux")]

mod check;
mod client;
#[cfg(feature = "postgres")]
#[path = "../postgres/cluster.rs"]
mod cluster;
mod disk;
#[path = "../ends/mod.rs"]
mod ends;
mod faults;
mod histories;
mod host;
mod image;
mod kills;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod power;
mod random;
mod roles;
mod undone;
mod work;

/// The entry point of a role. It runs only in a process that another test starts.
#[test]
#[ignore = "a process of the other tests"]
fn role() {
    roles::play();
}

/// Returns the number of cases for a short run or a long one.
fn times(short: u64, long: u64) -> u64 {
    if std::env::var_os("DCB_TEST_LONG").is_some() { long } else { short }
}
