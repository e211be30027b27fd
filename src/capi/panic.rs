//! Panics, contained: none reaches the caller, and none is written to the host's stderr.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result, Status};

/// Runs `body`; a panic in it becomes an error.
pub(super) fn contain<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    if !QUIET.load(Ordering::Relaxed) && !QUIET.swap(true, Ordering::Relaxed) {
        silence();
    }
    let outer = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // What was thrown may throw again when it is dropped.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        let place = PLACE.take().unwrap_or_default();
        Err(Error::new(Status::Internal, format!("a bug in the library, at {place}")))
    });
    CONTAINED.set(outer);
    result
}

thread_local! {
    /// Whether this thread is inside [`contain`].
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
    /// Where this thread panicked last.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Whether [`silence`] was called. Not a `Once`, which a fork could leave half done for ever.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Keeps panics of the library off stderr, and the standard hook away from the environment.
/// Those of others, where the library is part of a Rust program, go where they went.
fn silence() {
    let others = take_hook();
    set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        if CONTAINED.get() {
            PLACE.set(panic.location().map(|place| format!("{}:{}", place.file(), place.line())));
        } else if !std::thread::current().name().is_some_and(|name| name.starts_with("dcb-")) {
            others(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_its_place() {
        let error = contain(|| -> Result<()> { panic!("with the input") }).unwrap_err();
        assert_eq!(error.status, Status::Internal);
        assert!(error.message.starts_with("a bug in the library, at src/capi/panic.rs:"));
        assert_eq!(contain(|| Ok(1)), Ok(1));
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_contained_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("again")
            }
        }
        let error = contain(|| -> Result<()> { std::panic::panic_any(Bomb) }).unwrap_err();
        assert_eq!(error.status, Status::Internal);
    }
}
