//! Integers, parsed from their text, since the numbers of serde_json would round a large one.

use serde::de::{self, MapAccess};

use crate::json::path::JsonPath;
use crate::json::visitor::Raw;

/// Reads the next value of `object` as a 64-bit integer.
pub(super) fn integer<'de, A: MapAccess<'de>>(
    path: &mut JsonPath,
    object: &mut A,
) -> Result<i64, A::Error> {
    let json = object.next_value_seed(Raw)?;
    parse(path, json)
}

/// Reads the next value of `object` as a 64-bit integer, or `None` if it is `null`.
pub(super) fn optional_integer<'de, A: MapAccess<'de>>(
    path: &mut JsonPath,
    object: &mut A,
) -> Result<Option<i64>, A::Error> {
    match object.next_value_seed(Raw)? {
        "null" => Ok(None),
        json => parse(path, json).map(Some),
    }
}

fn parse<E: de::Error>(path: &mut JsonPath, json: &str) -> Result<i64, E> {
    let digits = json.strip_prefix('-').unwrap_or(json);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(path.refuse("must be an integer"));
    }
    // The text is a JSON number, so only its range can be wrong.
    json.parse().map_err(|_| path.refuse("is outside the range of a 64-bit integer"))
}
