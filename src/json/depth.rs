//! Checks how deep a document nests, without recursion.

use crate::error::{Error, Result};
use crate::limits::MAX_JSON_DEPTH;

/// Returns the error `too_large` if arrays and objects in `json`, which is itself inside `outer` of
/// them, nest deeper than the limit. It does not check that `json` is valid.
pub(super) fn check(json: &str, outer: usize) -> Result<()> {
    let limit = MAX_JSON_DEPTH - outer;
    // Counting brackets is many times faster than tracking the depth, and enough for nearly every
    // document.
    if json.len() <= limit || count_opened(json.as_bytes()) <= limit {
        return Ok(());
    }
    if exceeds(limit, json.as_bytes()) {
        return Err(Error::too_large(format!(
            "more than {MAX_JSON_DEPTH} levels of nested arrays and objects"
        )));
    }
    Ok(())
}

/// Returns the number of opening brackets and braces, including those in strings.
fn count_opened(json: &[u8]) -> usize {
    const LANES: usize = 16;
    let opens = |byte: u8| u8::from(byte | 0x20 == b'{'); // `[` and `{` differ in that bit only
    let mut count = 0;
    // A counter for each lane lets the compiler vectorize the loop. A part is too short for a
    // counter to overflow.
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

/// Returns whether more than `limit` arrays and objects are open at any point.
fn exceeds(limit: usize, json: &[u8]) -> bool {
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
    fn the_limit_includes_the_outer_levels() {
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
    fn closed_arrays_and_objects_do_not_count() {
        assert!(check(&"[{}],".repeat(10_000), 0).is_ok());
    }

    #[test]
    fn counting_includes_every_byte() {
        for length in [0, 1, 15, 16, 17, 4_079, 4_080, 4_081, 10_000] {
            assert_eq!(count_opened("[{".repeat(length).as_bytes()), 2 * length);
            assert_eq!(count_opened("]};Z\\|".repeat(length).as_bytes()), 0);
        }
    }
}
