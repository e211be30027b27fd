//! A read request: `{"query": query, "after": 0, "before": null, "limit": null, "backwards":
//! false}`.

use serde::de::{DeserializeSeed, MapAccess};

use crate::domain::{Direction, Query, ReadRequest};
use crate::json::fast_path;
use crate::json::integer::optional_integer;
use crate::json::path::JsonPath;
use crate::json::query::QueryIn;
use crate::json::visitor::{As, Boolean, Seen, Shape, keys, read_document};

/// Parses a read request. No bytes at all mean a read of every event.
pub fn parse_read(request: &[u8]) -> crate::Result<ReadRequest> {
    if request.is_empty() {
        return Ok(ReadRequest::default());
    }
    read_document("request", request, fast_path::read, |path, json| {
        As(ReadIn(path)).deserialize(json)
    })
}

/// Parses a read request as [`parse_read`] does, without the fast path.
#[cfg(test)]
pub fn parse_read_slow(request: &[u8]) -> crate::Result<ReadRequest> {
    let no_fast_path = |_: &str| None;
    read_document("request", request, no_fast_path, |path, json| As(ReadIn(path)).deserialize(json))
}

keys!(Key {
    Query = "query",
    After = "after",
    Before = "before",
    Limit = "limit",
    Backwards = "backwards",
});

struct ReadIn<'t>(&'t mut JsonPath);

impl<'de> Shape<'de> for ReadIn<'_> {
    type Value = ReadRequest;
    const KIND: &'static str = "an object";

    fn path(&mut self) -> &mut JsonPath {
        self.0
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<ReadRequest, A::Error> {
        let path = self.0;
        let (mut query, mut backwards) = (Query::all(), false);
        let (mut after, mut before, mut limit) = (None, None, None);
        let mut seen = Seen::default();
        while let Some(key) = seen.next_key(path, &mut object)? {
            match key {
                Key::Query => query = object.next_value_seed(As(QueryIn(path)))?,
                Key::After => after = optional_integer(path, &mut object)?,
                Key::Before => before = optional_integer(path, &mut object)?,
                Key::Limit => limit = optional_integer(path, &mut object)?,
                Key::Backwards => backwards = object.next_value_seed(As(Boolean(path)))?,
            }
            path.leave();
        }
        let direction = Direction::from_backwards(backwards);
        ReadRequest::of_numbers(query, after, before, limit, direction)
            .map_err(|error| path.fail_within(error))
    }
}
