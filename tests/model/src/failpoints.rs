//! As the library's, but the flaw can be another one from run to run.

use std::cell::Cell;

#[allow(dead_code)]
#[path = "../../../src/failpoints.rs"]
mod library;

pub use library::{SeededBug, crash_point};

thread_local! {
    static FLAW: Cell<Option<SeededBug>> = const { Cell::new(None) };
}

/// From now on what runs in this thread of the system has this flaw, or none.
pub fn seed(flaw: Option<SeededBug>) {
    FLAW.set(flaw);
}

pub fn has(flaw: SeededBug) -> bool {
    FLAW.get() == Some(flaw)
}
