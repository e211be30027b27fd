//! Reading a value that must have a certain shape.
//!
//! Each shape says what it does with the kinds of JSON value that it takes; every other kind is
//! refused in our own words, for those of serde would repeat the value.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::depth;
use super::trail::{Trail, shown};
use crate::error::Error;
use crate::limits::MAX_REQUEST_BYTES;

/// Reads the document `bytes`, called `name` in errors about its root, as `body` says.
pub(super) fn read_document<'de, T>(
    name: &'static str,
    bytes: &'de [u8],
    body: impl FnOnce(&mut Trail, &mut Json<'de>) -> serde_json::Result<T>,
) -> crate::Result<T> {
    if bytes.len() > MAX_REQUEST_BYTES {
        return Err(Error::too_large(format!(
            "{name}: {} bytes are over the limit of {MAX_REQUEST_BYTES}",
            bytes.len()
        )));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::invalid(format!("{name}: not valid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    depth::check(bytes).map_err(|error| error.at(name))?;
    let mut trail = Trail::new(name);
    let mut json = serde_json::Deserializer::from_str(text);
    let read = body(&mut trail, &mut json).and_then(|value| json.end().map(|()| value));
    read.map_err(|error| trail.into_error(&error))
}

/// The parser of a document.
pub(super) type Json<'de> = serde_json::Deserializer<serde_json::de::StrRead<'de>>;

/// What a value must be, and what it then means. A kind of value that a shape does not take up
/// is refused as not being [`Shape::KIND`].
pub(super) trait Shape<'de>: Sized {
    /// What the value means.
    type Value;
    /// Completes "must be ...".
    const KIND: &'static str;

    fn trail(&mut self) -> &mut Trail;

    fn other<E: serde::de::Error>(mut self) -> Result<Self::Value, E> {
        Err(self.trail().refuse(format!("must be {}", Self::KIND)))
    }

    fn null<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.other()
    }

    fn boolean<E: serde::de::Error>(self, _value: bool) -> Result<Self::Value, E> {
        self.other()
    }

    fn string<E: serde::de::Error>(self, _text: Cow<'de, str>) -> Result<Self::Value, E> {
        self.other()
    }

    fn list<A: SeqAccess<'de>>(self, _list: A) -> Result<Self::Value, A::Error> {
        self.other()
    }

    fn object<A: MapAccess<'de>>(self, _object: A) -> Result<Self::Value, A::Error> {
        self.other()
    }
}

/// Reads a value as the shape that it holds.
pub(super) struct As<S>(pub S);

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for As<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Shape<'de>> Visitor<'de> for As<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(S::KIND)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<S::Value, E> {
        self.0.null()
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<S::Value, E> {
        self.0.boolean(value)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<S::Value, E> {
        self.0.other()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<S::Value, E> {
        self.0.other()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<S::Value, E> {
        self.0.other()
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<S::Value, E> {
        self.0.string(Cow::Borrowed(text))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<S::Value, E> {
        self.0.string(Cow::Owned(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S::Value, A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<S::Value, A::Error> {
        self.0.object(object)
    }
}

/// A string.
pub(super) struct Text<'t>(pub &'t mut Trail);

impl<'de> Shape<'de> for Text<'_> {
    type Value = Cow<'de, str>;
    const KIND: &'static str = "a string";

    fn trail(&mut self) -> &mut Trail {
        self.0
    }

    fn string<E: serde::de::Error>(self, text: Cow<'de, str>) -> Result<Cow<'de, str>, E> {
        Ok(text)
    }
}

/// A string, or `null` for none.
pub(super) struct OptionalText<'t>(pub &'t mut Trail);

impl<'de> Shape<'de> for OptionalText<'_> {
    type Value = Option<Cow<'de, str>>;
    const KIND: &'static str = "a string or null";

    fn trail(&mut self) -> &mut Trail {
        self.0
    }

    fn null<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn string<E: serde::de::Error>(self, text: Cow<'de, str>) -> Result<Self::Value, E> {
        Ok(Some(text))
    }
}

/// A list of strings, each for `take` to judge; or `null`, as an empty one.
pub(super) struct Texts<'t, F> {
    pub trail: &'t mut Trail,
    pub take: F,
}

impl<'de, F: FnMut(Cow<'de, str>) -> crate::Result<()>> Shape<'de> for Texts<'_, F> {
    type Value = ();
    const KIND: &'static str = "a list of strings";

    fn trail(&mut self) -> &mut Trail {
        self.trail
    }

    fn null<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn list<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.trail.enter_index(index);
            match list.next_element_seed(As(Text(self.trail)))? {
                Some(text) => (self.take)(text).map_err(|error| self.trail.fail(error))?,
                None => {
                    self.trail.leave();
                    break;
                }
            }
            self.trail.leave();
        }
        Ok(())
    }
}

/// `true` or `false`.
pub(super) struct Boolean<'t>(pub &'t mut Trail);

impl<'de> Shape<'de> for Boolean<'_> {
    type Value = bool;
    const KIND: &'static str = "true or false";

    fn trail(&mut self) -> &mut Trail {
        self.0
    }

    fn boolean<E: serde::de::Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
}

/// The keys of an object, each known and given once.
pub(super) struct Keys {
    names: &'static [&'static str],
    seen: u32,
}

impl Keys {
    /// The keys that an object may have.
    pub fn new(names: &'static [&'static str]) -> Self {
        Keys { names, seen: 0 }
    }

    /// Goes to the value of the next key, and gives the key.
    pub fn next<'de, A: MapAccess<'de>>(
        &mut self,
        trail: &mut Trail,
        object: &mut A,
    ) -> Result<Option<&'static str>, A::Error> {
        let key = KeyIn { names: self.names, trail: &mut *trail };
        let Some(index) = object.next_key_seed(key)? else { return Ok(None) };
        let name = self.names[index];
        trail.enter_key(name);
        if self.seen & 1 << index != 0 {
            return Err(trail.refuse("is given twice"));
        }
        self.seen |= 1 << index;
        Ok(Some(name))
    }
}

/// Reads a key as its index in `names`.
struct KeyIn<'t> {
    names: &'static [&'static str],
    trail: &'t mut Trail,
}

impl<'de> DeserializeSeed<'de> for KeyIn<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIn<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<usize, E> {
        self.names.iter().position(|name| *name == key).ok_or_else(|| {
            let known = self.names.join(", ");
            self.trail.refuse(format!("unknown key {} (known: {known})", shown(key)))
        })
    }
}

/// Reads a value as the text that it is.
pub(super) struct Raw;

impl<'de> DeserializeSeed<'de> for Raw {
    type Value = &'de str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'de str, D::Error> {
        let raw: &'de RawValue = serde::Deserialize::deserialize(deserializer)?;
        Ok(raw.get())
    }
}
