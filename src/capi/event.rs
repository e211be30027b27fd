//! `dcb_event`: an event as a plain struct.

use std::ffi::c_char;

/// A view of bytes that somebody else owns. Not terminated: use `len`. UTF-8. What is absent has
/// `data` NULL and `len` 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dcb_str {
    /// The first byte; NULL: absent.
    pub data: *const c_char,
    /// How many bytes.
    pub len: usize,
}

/// A stored event, as a cursor gives it. It and all that it points to live until the next call
/// on its cursor, dcb_cursor_close included; dcb_cursor_position ends nothing. Any thread may
/// read it meanwhile.
#[repr(C)]
pub struct dcb_event {
    /// Where it is in the sequence; the first event is 1, and there are no gaps.
    pub position: i64,
    /// When the store accepted it: microseconds since 1970, UTC. It orders nothing.
    pub timestamp_us: i64,
    /// Its type.
    pub r#type: dcb_str,
    /// Its data: the text of one JSON value, byte for byte as it was given; "null" if it was
    /// left out.
    pub data: dcb_str,
    /// Its metadata: the text of one JSON object, byte for byte as it was given; absent if it
    /// was left out.
    pub metadata: dcb_str,
    /// Its id; absent if it was left out.
    pub id: dcb_str,
    /// Its tags, each once, in the order given; NULL if there are none.
    pub tags: *const dcb_str,
    /// How many tags.
    pub tags_len: usize,
}
