//! Group commit as a protocol: what threads queue for, wait on and may see. No SQL and no files.
//!
//! `tests/model` compiles this folder over locks and a clock of its own (`crate::sync`), and runs it
//! in many orders of its threads' steps.

pub mod deadline;
pub mod durability;
pub mod fair_mutex;
pub mod group_commit;
pub mod head_watch;
pub mod visibility;
