//! What libFuzzer feeds: one function for each target, which takes bytes and panics where the
//! library does what it should not. `tests/fuzz_corpus.rs` has them too, for the inputs that are
//! checked in.

mod c;
mod calls;
mod documents;
mod json;
mod model;
mod rules;

pub use calls::calls;
pub use documents::{append, condition, options, read, uri};
