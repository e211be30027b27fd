//! The derived index of `dcb_events`: segments on disk, the tail in memory, and the view over both.
//!
//! Invariant: the live segments together cover every position up to the indexed position, without
//! a gap or an overlap. Segments are written and replaced under SQLite's write lock.

pub mod block;
pub mod block_cursor;
pub mod block_index;
pub mod bloom_filter;
pub mod codec;
pub mod limit;
pub mod merge;
pub mod search;
pub mod segment;
pub mod segment_list;
pub mod segment_writer;
pub mod tail;
pub mod view;
