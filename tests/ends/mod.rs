//! Ends threads of a test that go on until a flag is set.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets the flag when it is dropped, also by a panic. Without it, a scope whose threads go on until
/// the flag is set would wait for them for ever after a panic, and the test would hang.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
