//! `dcb_event`: an event as a plain struct.

use std::ffi::c_char;

/// A view of UTF-8 text that somebody else owns. It is not NUL-terminated. An absent text has `data`
/// NULL and `len` 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dcb_str {
    /// The first byte. It is NULL if the text is absent.
    pub data: *const c_char,
    /// The number of bytes.
    pub len: usize,
}

/// A stored event that a cursor returned. The event and everything that it points to stay valid
/// until the next dcb_cursor_next or dcb_cursor_close of that cursor. Any thread may read them.
#[repr(C)]
pub struct dcb_event {
    /// The position in the sequence of events. The first event has position 1; there are no gaps.
    pub position: i64,
    /// The time at which the store accepted the event, in microseconds since 1970 (UTC). It does
    /// not order events.
    pub timestamp_us: i64,
    /// The event's type.
    pub r#type: dcb_str,
    /// The event's data: a JSON value, byte for byte as it was given, or "null" if it was left out.
    pub data: dcb_str,
    /// The event's metadata: a JSON object, byte for byte as it was given, or absent.
    pub metadata: dcb_str,
    /// The event's id, or absent.
    pub id: dcb_str,
    /// The event's tags, without repetitions, in the order in which they were given. It is NULL if
    /// there are none.
    pub tags: *const dcb_str,
    /// The number of tags.
    pub tags_len: usize,
}
