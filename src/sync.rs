//! The locks, atomics and clock of the code that a model checks. Here they are those of the
//! standard library; the model (`tests/model`) compiles the same code with its own.

pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic};
pub use std::time::Instant;
