//! What the SQLite store promises, held against crashes, faults and many callers at once.
//!
//! Processes append to one file through the C interface and write down, outside the store's
//! folder, what they are about to send and what they were answered. They are killed; then the
//! file is opened again and held against what they wrote down. A kill leaves everything that was
//! written; what a power failure leaves is made from a record of all file calls.
//!
//! `DCB_TEST_LONG=1` runs as much as takes hours.

#![cfg(target_os = "linux")]

mod check;
mod client;
mod disk;
mod faults;
mod histories;
mod host;
mod image;
mod kills;
mod memory;
mod power;
mod random;
mod roles;
mod undone;
mod work;

/// Runs only when another test starts this program again for it.
#[test]
#[ignore = "a process of the other tests"]
fn role() {
    roles::play();
}

/// The short run's number of something, or the long one's.
fn times(short: u64, long: u64) -> u64 {
    if std::env::var_os("DCB_TEST_LONG").is_some() { long } else { short }
}
