//! The limits of a request, as C constants.

use crate::limits;

/// The maximum number of bytes (of UTF-8) in a type, a tag or an event id.
pub const DCB_MAX_NAME_BYTES: usize = 255;
/// The maximum number of events in an append.
pub const DCB_MAX_EVENTS_PER_APPEND: usize = 100000;
/// The maximum number of tags of an event. Repeated tags are counted.
pub const DCB_MAX_TAGS_PER_EVENT: usize = 256;
/// The maximum number of items in a query.
pub const DCB_MAX_ITEMS_PER_QUERY: usize = 10000;
/// The maximum number of types and tags in all items of a query. Repeated ones are counted.
pub const DCB_MAX_NAMES_PER_QUERY: usize = 100000;
/// The maximum number of conditions in an append.
pub const DCB_MAX_CONDITIONS_PER_APPEND: usize = 1000;
/// The maximum number of bytes in an event's `data`, and in its `metadata`.
pub const DCB_MAX_DATA_BYTES: usize = 16777216;
/// The maximum number of bytes in a request document.
pub const DCB_MAX_REQUEST_BYTES: usize = 268435456;
/// The maximum depth of nested arrays and objects in a request, `data` and `metadata` included.
pub const DCB_MAX_JSON_DEPTH: usize = 512;

// cbindgen can only copy literals, so these are checked against the core here.
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
