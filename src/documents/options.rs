//! The options of an opening.

use serde::de::{DeserializeSeed, MapAccess};

use super::integer::integer;
use super::shape::{As, Boolean, Keys, Raw, Shape, read_document};
use super::trail::Trail;
use crate::open::Options;

/// Reads the options of an opening; no bytes at all are the defaults.
pub fn parse_options(options: &[u8]) -> crate::Result<Options> {
    if options.is_empty() {
        return Ok(Options::default());
    }
    read_document("options", options, |trail, json| As(OptionsIn(trail)).deserialize(json))
}

struct OptionsIn<'t>(&'t mut Trail);

impl<'de> Shape<'de> for OptionsIn<'_> {
    type Value = Options;
    const KIND: &'static str = "an object";

    fn trail(&mut self) -> &mut Trail {
        self.0
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Options, A::Error> {
        let trail = self.0;
        let mut options = Options::default();
        let mut keys = Keys::new(&["read_only", "immutable", "create", "adopt", "busy_timeout_ms"]);
        while let Some(key) = keys.next(trail, &mut object)? {
            if key == "busy_timeout_ms" {
                let raw = object.next_value_seed(Raw)?;
                options.busy_timeout_ms = integer(trail, raw)?;
            } else {
                let value = object.next_value_seed(As(Boolean(trail)))?;
                match key {
                    "read_only" => options.read_only = value,
                    "immutable" => options.immutable = value,
                    "create" => options.create = value,
                    _ => options.adopt = value,
                }
            }
            trail.leave();
        }
        options.read_only |= options.immutable;
        Ok(options)
    }
}
