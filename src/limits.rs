//! The limits of a request. A request that exceeds one is refused with `too_large`; nothing is ever
//! truncated.

/// The highest number of bytes of UTF-8 in a type, a tag or an event id.
pub const MAX_NAME_BYTES: usize = 255;
/// The highest number of events in an append.
pub const MAX_EVENTS_PER_APPEND: usize = 100_000;
/// The highest number of tags on an event, counting repeated ones.
pub const MAX_TAGS_PER_EVENT: usize = 256;
/// The highest number of items in a query.
pub const MAX_ITEMS_PER_QUERY: usize = 10_000;
/// The highest number of types and tags in all items of a query together, counting repeated ones.
pub const MAX_NAMES_PER_QUERY: usize = 100_000;
/// The highest number of conditions in an append.
pub const MAX_CONDITIONS_PER_APPEND: usize = 1_000;
/// The highest number of bytes in the `data` of an event, and in its `metadata`.
pub const MAX_DATA_BYTES: usize = 16 * 1024 * 1024;
/// The highest number of bytes in a request document.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024 * 1024;
/// The highest number of nested arrays and objects in a request, including those in `data` and
/// `metadata`.
pub const MAX_JSON_DEPTH: usize = 512;
