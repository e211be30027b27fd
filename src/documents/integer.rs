//! Integers, judged by their text: the parser's own numbers would round what does not fit.

use serde::de;

use super::trail::Trail;

/// The 64-bit integer that the JSON value `raw` is.
pub(super) fn integer<E: de::Error>(trail: &mut Trail, raw: &str) -> Result<i64, E> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(trail.refuse("must be an integer"));
    }
    // The value is JSON, so all that can fail is the range.
    raw.parse().map_err(|_| trail.refuse("is beyond the range of a 64-bit integer"))
}

/// The same, or `null` for none.
pub(super) fn optional_integer<E: de::Error>(
    trail: &mut Trail,
    raw: &str,
) -> Result<Option<i64>, E> {
    if raw == "null" { Ok(None) } else { integer(trail, raw).map(Some) }
}
