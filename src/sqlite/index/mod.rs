//! The index of older events, in segments on disk, and the view over it and over recent events.

pub mod block;
pub mod block_cursor;
pub mod block_index;
pub mod bloom_filter;
pub mod codec;
pub mod merge;
pub mod search;
pub mod segment;
pub mod segment_list;
pub mod segment_writer;
pub mod tail;
pub mod view;
