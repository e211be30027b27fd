//! The options for opening a store.

use serde::de::{DeserializeSeed, MapAccess};

use crate::json::integer::integer;
use crate::json::path::JsonPath;
use crate::json::visitor::{As, Boolean, Seen, Shape, Text, keys, read_document};
use crate::store::options::Options;

/// Parses the options for opening a store. No bytes at all mean the defaults.
pub fn parse_options(options: &[u8]) -> crate::Result<Options> {
    if options.is_empty() {
        return Ok(Options::default());
    }
    let no_fast_path = |_: &str| None;
    read_document("options", options, no_fast_path, |path, json| {
        As(OptionsIn(path)).deserialize(json)
    })
}

keys!(Key {
    ReadOnly = "read_only",
    Immutable = "immutable",
    Create = "create",
    Adopt = "adopt",
    Import = "import",
    BusyTimeoutMs = "busy_timeout_ms",
    MaxReaders = "max_readers",
    CacheBytes = "cache_bytes",
    Schema = "schema",
    PoolSize = "pool_size",
    AllowFsyncOff = "allow_fsync_off",
});

struct OptionsIn<'t>(&'t mut JsonPath);

impl<'de> Shape<'de> for OptionsIn<'_> {
    type Value = Options;
    const KIND: &'static str = "an object";

    fn path(&mut self) -> &mut JsonPath {
        self.0
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Options, A::Error> {
        let path = self.0;
        let mut options = Options::default();
        let mut seen = Seen::default();
        while let Some(key) = seen.next_key(path, &mut object)? {
            match key {
                Key::ReadOnly => options.read_only = boolean(path, &mut object)?,
                Key::Immutable => options.immutable = boolean(path, &mut object)?,
                Key::Create => options.create = boolean(path, &mut object)?,
                Key::Import => options.import = boolean(path, &mut object)?,
                Key::Adopt => options.adopt = boolean(path, &mut object)?,
                Key::BusyTimeoutMs => options.busy_timeout_ms = integer(path, &mut object)?,
                Key::MaxReaders => options.max_readers = Some(integer(path, &mut object)?),
                Key::CacheBytes => options.cache_bytes = Some(integer(path, &mut object)?),
                Key::Schema => options.schema = Some(text(path, &mut object)?),
                Key::PoolSize => options.pool_size = Some(integer(path, &mut object)?),
                Key::AllowFsyncOff => options.allow_fsync_off = boolean(path, &mut object)?,
            }
            path.leave();
        }
        Ok(options)
    }
}

fn text<'de, A: MapAccess<'de>>(path: &mut JsonPath, object: &mut A) -> Result<String, A::Error> {
    Ok(object.next_value_seed(Text(path))?.into_owned())
}

fn boolean<'de, A: MapAccess<'de>>(path: &mut JsonPath, object: &mut A) -> Result<bool, A::Error> {
    object.next_value_seed(As(Boolean(path)))
}
