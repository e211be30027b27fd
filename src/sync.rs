//! What threads wait on and measure their time with, where a model checks how: the standard
//! library's. The model (`tests/model`) compiles the same code over types of its own.

pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic};
pub use std::time::Instant;
