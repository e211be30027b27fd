//! How deep a document nests, found without recursion and before anything else looks at it.

use crate::error::{Error, Result};
use crate::limits::MAX_JSON_DEPTH;

/// `too_large` if arrays and objects nest deeper than the limit. Says nothing else about whether
/// `json` is JSON.
pub(super) fn check(json: &[u8]) -> Result<()> {
    // Counting is many times faster than following, and enough for most requests.
    if count_opened(json) <= MAX_JSON_DEPTH {
        return Ok(());
    }
    match first_too_deep(json) {
        None => Ok(()),
        Some(at) => Err(Error::too_large(format!(
            "nested deeper than {MAX_JSON_DEPTH} arrays and objects at byte {at}"
        ))),
    }
}

/// How many brackets and braces open, those in strings included.
fn count_opened(json: &[u8]) -> usize {
    json.iter().filter(|byte| opens(**byte)).count()
}

fn opens(byte: u8) -> bool {
    // `[` and `{` differ in one bit.
    byte | 0x20 == b'{'
}

/// Where the limit is passed.
fn first_too_deep(json: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Some(at);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                at += 1;
                while at < json.len() && json[at] != b'"' {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}
