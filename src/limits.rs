//! The limits of a request. Past one of them an answer is `too_large`; nothing is ever cut short.

/// Bytes of UTF-8 in a type, a tag or an event id.
pub const MAX_NAME_BYTES: usize = 255;
/// Events in one append.
pub const MAX_EVENTS_PER_APPEND: usize = 100_000;
/// Tags on one event, as given (repeated ones counted).
pub const MAX_TAGS_PER_EVENT: usize = 256;
/// Items in one query.
pub const MAX_ITEMS_PER_QUERY: usize = 10_000;
/// Types and tags in one query, of all its items together (repeated ones counted).
pub const MAX_NAMES_PER_QUERY: usize = 100_000;
/// Conditions in one append.
pub const MAX_CONDITIONS_PER_APPEND: usize = 1_000;
/// Bytes of one event's `data`; the same for its `metadata`.
pub const MAX_DATA_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of one request document.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024 * 1024;
/// Nested arrays and objects in a request, those in `data` and `metadata` included.
pub const MAX_JSON_DEPTH: usize = 512;
