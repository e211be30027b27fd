//! Checks the protocol of group commit in many orders of its threads' steps.
//!
//! The code that is checked is the library's own, compiled here a second time: `crate::sync` is
//! the model's, whose locks and clock a scheduler steps through, and `sqlite::log` is a disk of
//! the model's that can fail and that knows what it really keeps. SQLite is played by `play`.
//!
//!     cargo run -p dcb-model [-- EXECUTIONS [SEED [SCENE]]]

mod play;
mod run;
mod sync;
mod testing;

#[allow(dead_code)]
#[path = "../../../src/call.rs"]
mod call;
#[allow(dead_code)]
#[path = "../../../src/error.rs"]
mod error;
#[allow(dead_code)]
#[path = "../../../src/watch.rs"]
mod watch;

mod sqlite {
    #[allow(dead_code)]
    #[path = "../../../../src/sqlite/durability.rs"]
    pub mod durability;
    pub mod log;
    #[path = "../../../../src/sqlite/queue.rs"]
    pub mod queue;
    #[path = "../../../../src/sqlite/visible.rs"]
    pub mod visible;
}

fn main() {
    run::main();
}
