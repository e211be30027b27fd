//! A read request: `{"query": query, "after": 0, "before": null, "limit": null, "backwards": false}`.

use serde::de::{DeserializeSeed, MapAccess};

use crate::domain::{Query, ReadRequest};
use crate::json::fast_path;
use crate::json::integer::optional_integer;
use crate::json::path::JsonPath;
use crate::json::query::QueryIn;
use crate::json::visitor::{As, Boolean, Seen, Shape, keys, read_document};

/// Reads a read request; no bytes at all are the request for everything.
pub fn parse_read(request: &[u8]) -> crate::Result<ReadRequest> {
    if request.is_empty() {
        return Ok(ReadRequest::default());
    }
    read_document("request", request, fast_path::read, |trail, json| {
        As(ReadIn(trail)).deserialize(json)
    })
}

/// As [`parse_read`], always the long way.
#[cfg(test)]
pub fn parse_read_the_long_way(request: &[u8]) -> crate::Result<ReadRequest> {
    let quick = |_: &str| None;
    read_document("request", request, quick, |trail, json| As(ReadIn(trail)).deserialize(json))
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

    fn trail(&mut self) -> &mut JsonPath {
        self.0
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<ReadRequest, A::Error> {
        let trail = self.0;
        let (mut query, mut backwards) = (Query::all(), false);
        let (mut after, mut before, mut limit) = (None, None, None);
        let mut seen = Seen::default();
        while let Some(key) = seen.next_key(trail, &mut object)? {
            match key {
                Key::Query => query = object.next_value_seed(As(QueryIn(trail)))?,
                Key::After => after = optional_integer(trail, &mut object)?,
                Key::Before => before = optional_integer(trail, &mut object)?,
                Key::Limit => limit = optional_integer(trail, &mut object)?,
                Key::Backwards => backwards = object.next_value_seed(As(Boolean(trail)))?,
            }
            trail.leave();
        }
        ReadRequest::new(query, after.unwrap_or(0), before, limit, backwards)
            .map_err(|error| trail.fail_within(error))
    }
}
