//! Checks the group commit protocol in many interleavings of its threads.
//!
//! It compiles the library's own code a second time, with another `crate::sync`, whose locks and
//! clock a scheduler controls. `wal` simulates a disk that can fail and that knows what is durable,
//! and `play` simulates SQLite. `turns` is about the fair queue alone.
//!
//!     cargo run -p dcb-model [-- EXECUTIONS [SEED [SCENE]]]

mod failpoints;
mod play;
mod run;
mod sync;
mod turns;
mod wal;

#[allow(dead_code)]
#[path = "../../../src/commit/mod.rs"]
mod commit;
#[allow(dead_code)]
#[path = "../../../src/error.rs"]
mod error;
#[allow(dead_code)]
#[path = "../../../src/position.rs"]
mod position;

fn main() {
    run::main();
}
