//! Checks the protocol of group commit in many orders of its threads' steps.
//!
//! The code that is checked is the library's own, compiled here a second time: `crate::sync` is
//! the model's, whose locks and clock a scheduler steps through, and `wal` is a disk of
//! the model's that can fail and that knows what it really keeps. SQLite is played by `play`.
//!
//!     cargo run -p dcb-model [-- EXECUTIONS [SEED [SCENE]]]

mod failpoints;
mod play;
mod run;
mod sync;
mod wal;

#[allow(dead_code)]
#[path = "../../../src/commit/mod.rs"]
mod commit;
#[allow(dead_code)]
#[path = "../../../src/error.rs"]
mod error;

fn main() {
    run::main();
}
