//! Integers, judged by their text: the parser's own numbers would round what does not fit.

use serde::de::{self, MapAccess};

use crate::json::path::JsonPath;
use crate::json::visitor::Raw;

/// The next value of `object`, as a 64-bit integer.
pub(super) fn integer<'de, A: MapAccess<'de>>(
    trail: &mut JsonPath,
    object: &mut A,
) -> Result<i64, A::Error> {
    let json = object.next_value_seed(Raw)?;
    parse(trail, json)
}

/// The same, or `null` for none.
pub(super) fn optional_integer<'de, A: MapAccess<'de>>(
    trail: &mut JsonPath,
    object: &mut A,
) -> Result<Option<i64>, A::Error> {
    match object.next_value_seed(Raw)? {
        "null" => Ok(None),
        json => parse(trail, json).map(Some),
    }
}

fn parse<E: de::Error>(trail: &mut JsonPath, json: &str) -> Result<i64, E> {
    let digits = json.strip_prefix('-').unwrap_or(json);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(trail.refuse("must be an integer"));
    }
    // It is a JSON number, so all that can fail is the range.
    json.parse().map_err(|_| trail.refuse("is beyond the range of a 64-bit integer"))
}
