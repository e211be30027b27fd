//! How deep a document nests, found without recursion.

use crate::error::{Error, Result};
use crate::limits::MAX_JSON_DEPTH;

/// `too_large` if arrays and objects nest deeper than the limit in `json`, which itself stands
/// inside `outer` of them. Says nothing else about whether it is JSON.
pub(super) fn check(json: &str, outer: usize) -> Result<()> {
    let limit = MAX_JSON_DEPTH - outer;
    // Counting is many times faster than following, and enough for nearly all there is.
    if json.len() <= limit || count_opened(json.as_bytes()) <= limit {
        return Ok(());
    }
    if passes(limit, json.as_bytes()) {
        return Err(Error::too_large(format!(
            "more than {MAX_JSON_DEPTH} arrays and objects inside each other"
        )));
    }
    Ok(())
}

/// How many brackets and braces open, those in strings included.
fn count_opened(json: &[u8]) -> usize {
    const LANES: usize = 16;
    let opens = |byte: u8| u8::from(byte | 0x20 == b'{'); // `[` and `{` differ in that bit only
    let mut count = 0;
    // A counter for each lane, so that the compiler uses vectors; none of them overflows.
    for part in json.chunks(LANES * usize::from(u8::MAX)) {
        let mut counts = [0_u8; LANES];
        let (blocks, rest) = part.as_chunks::<LANES>();
        for block in blocks {
            for (count, byte) in counts.iter_mut().zip(block) {
                *count += opens(*byte);
            }
        }
        count += counts.into_iter().map(usize::from).sum::<usize>();
        count += rest.iter().map(|byte| usize::from(opens(*byte))).sum::<usize>();
    }
    count
}

/// Whether more than `limit` arrays and objects are open at some place.
fn passes(limit: usize, json: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
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
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        (0..depth).map(|level| if level % 2 == 0 { "[" } else { "{\"k\":" }).collect()
    }

    #[test]
    fn the_limit_counts_what_stands_around() {
        for outer in [0, 3] {
            assert!(check(&nested(MAX_JSON_DEPTH - outer), outer).is_ok());
            assert!(check(&nested(MAX_JSON_DEPTH - outer + 1), outer).is_err());
        }
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        for text in ["[", "]", "{", "\\\"[", "\\\\\",[],\""] {
            let strings = format!("\"{text}\",").repeat(2_000);
            assert!(check(&format!("[{strings}0]"), 0).is_ok(), "{text}");
            let deep = nested(MAX_JSON_DEPTH);
            assert!(check(&format!("[{strings}{deep}"), 0).is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_closed_does_not_count() {
        assert!(check(&"[{}],".repeat(10_000), 0).is_ok());
    }

    #[test]
    fn counting_looks_at_every_byte() {
        for length in [0, 1, 15, 16, 17, 4_079, 4_080, 4_081, 10_000] {
            assert_eq!(count_opened("[{".repeat(length).as_bytes()), 2 * length);
            assert_eq!(count_opened("]};Z\\|".repeat(length).as_bytes()), 0);
        }
    }
}
