//! The library's failpoints, but with a seeded bug that can change from run to run.

use std::cell::Cell;

#[allow(dead_code)]
#[path = "../../../src/failpoints.rs"]
mod library;

pub use library::{SeededBug, crash_point};

thread_local! {
    static BUG: Cell<Option<SeededBug>> = const { Cell::new(None) };
}

/// Seeds a bug, or none, in what runs on this thread of the operating system from now on.
pub fn seed(bug: Option<SeededBug>) {
    BUG.set(bug);
}

pub fn has(bug: SeededBug) -> bool {
    BUG.get() == Some(bug)
}
