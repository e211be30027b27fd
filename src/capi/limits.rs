//! The limits of a request, as C constants.

use crate::limits;

/// Bytes of UTF-8 in a type, a tag or an event id.
pub const DCB_MAX_NAME_BYTES: usize = 255;
/// Events in one append.
pub const DCB_MAX_EVENTS_PER_APPEND: usize = 100000;
/// Tags on one event, as given (repeated ones counted).
pub const DCB_MAX_TAGS_PER_EVENT: usize = 256;
/// Items in one query.
pub const DCB_MAX_ITEMS_PER_QUERY: usize = 10000;
/// Types and tags in one query, of all its items together (repeated ones counted).
pub const DCB_MAX_NAMES_PER_QUERY: usize = 100000;
/// Conditions in one append.
pub const DCB_MAX_CONDITIONS_PER_APPEND: usize = 1000;
/// Bytes of one event's `data`; the same for its `metadata`.
pub const DCB_MAX_DATA_BYTES: usize = 16777216;
/// Bytes of one request document.
pub const DCB_MAX_REQUEST_BYTES: usize = 268435456;
/// Nested arrays and objects in a request, those in `data` and `metadata` included.
pub const DCB_MAX_JSON_DEPTH: usize = 512;

// The generator of the header copies literals, so they are held against the core here.
const _: () = {
    assert!(DCB_MAX_NAME_BYTES == limits::MAX_NAME_BYTES);
    assert!(DCB_MAX_EVENTS_PER_APPEND == limits::MAX_EVENTS_PER_APPEND);
    assert!(DCB_MAX_TAGS_PER_EVENT == limits::MAX_TAGS_PER_EVENT);
    assert!(DCB_MAX_ITEMS_PER_QUERY == limits::MAX_ITEMS_PER_QUERY);
    assert!(DCB_MAX_NAMES_PER_QUERY == limits::MAX_NAMES_PER_QUERY);
    assert!(DCB_MAX_CONDITIONS_PER_APPEND == limits::MAX_CONDITIONS_PER_APPEND);
    assert!(DCB_MAX_DATA_BYTES == limits::MAX_DATA_BYTES);
    assert!(DCB_MAX_REQUEST_BYTES == limits::MAX_REQUEST_BYTES);
    assert!(DCB_MAX_JSON_DEPTH == limits::MAX_JSON_DEPTH);
};
