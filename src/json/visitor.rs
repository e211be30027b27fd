//! Reads a JSON value that must have a certain shape.
//!
//! A shape handles the kinds of JSON value that it accepts. Every other kind is refused with a
//! message of this library, since serde's message would repeat the value.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, Status};
use crate::json::depth;
use crate::json::path::{JsonPath, shown};
use crate::limits::{MAX_NAME_BYTES, MAX_REQUEST_BYTES};

/// Parses the document `bytes`, which errors about its root call `name`. It tries `fast` first; if
/// that gives up, `body` parses the document.
pub(super) fn read_document<'de, T>(
    name: &'static str,
    bytes: &'de [u8],
    fast: impl FnOnce(&str) -> Option<T>,
    body: impl Fn(&mut JsonPath, &mut Json<'de>) -> serde_json::Result<T>,
) -> crate::Result<T> {
    if bytes.len() > MAX_REQUEST_BYTES {
        return Err(Error::too_large(format!(
            "{name}: {} bytes exceed the limit of {MAX_REQUEST_BYTES}",
            bytes.len()
        )));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::invalid(format!("{name}: not valid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    if let Some(value) = fast(text) {
        return Ok(value);
    }
    // serde_json keeps a byte for each open level. If there could be many, the depth is checked
    // before it sees them.
    if text.len() > UNCOUNTED {
        depth::check(text, 0).map_err(|error| error.at(name))?;
    }
    #[expect(clippy::result_large_err, reason = "it stays in this function")]
    let read = |is_wary| {
        let mut path = JsonPath::new(name, is_wary);
        let mut json = serde_json::Deserializer::from_str(text);
        let read = body(&mut path, &mut json).and_then(|value| json.end().map(|()| value));
        read.map_err(|error| (path, error))
    };
    let is_wary = has_long_escaped_string(text.as_bytes());
    let read = match read(is_wary) {
        // What the parser cannot make a number of may be a number all the same, and of the wrong
        // kind where it stands.
        Err((path, error)) if !is_wary && path.blames_parser() && is_out_of_range(&error) => {
            read(true)
        }
        read => read,
    };
    read.map_err(|(path, error)| match path.into_error(&error) {
        error if error.status == Status::TooLarge => error,
        // An excessive depth takes precedence over a broken rule, even if the rule ended the
        // parsing. A document that was parsed to its end needs no check: its shape and the checked
        // payloads bound its depth.
        error => depth::check(text, 0).map_or_else(|too_deep| too_deep.at(name), |()| error),
    })
}

/// The size in bytes up to which a document is parsed without a check of its depth.
const UNCOUNTED: usize = 16 * 1024 * 1024;

/// Bytes of a string that the parser may copy to undo its escapes.
const MAY_BE_COPIED: usize = 64 * 1024;

/// Whether there is a string of which the parser would make a long copy if it were asked what it
/// says. That copy cannot fail softly.
fn has_long_escaped_string(json: &[u8]) -> bool {
    let mut rest = if json.len() > MAY_BE_COPIED { json } else { &[] };
    while let Some(start) = rest.iter().position(|byte| *byte == b'"') {
        rest = &rest[start + 1..];
        let (mut len, mut is_escaped) = (0, false);
        while let Some(byte) = rest.get(len).filter(|byte| **byte != b'"') {
            is_escaped |= *byte == b'\\';
            len += if *byte == b'\\' { 2 } else { 1 };
        }
        if is_escaped && len > MAY_BE_COPIED {
            return true;
        }
        rest = rest.get(len + 1..).unwrap_or_default();
    }
    false
}

/// Whether the parser met a number that is beyond its own.
fn is_out_of_range(error: &serde_json::Error) -> bool {
    error.is_syntax() && error.to_string().starts_with("number out of range")
}

/// The parser of a document.
pub(super) type Json<'de> = serde_json::Deserializer<serde_json::de::StrRead<'de>>;

/// The shape that a value must have, and what to read from it. A kind of value that a shape does
/// not accept is refused with "must be" and [`Shape::KIND`].
pub(super) trait Shape<'de>: Sized {
    /// The type that the value is read as.
    type Value;
    /// The words that complete the error "must be ...".
    const KIND: &'static str;

    fn path(&mut self) -> &mut JsonPath;

    fn other<E: serde::de::Error>(mut self) -> Result<Self::Value, E> {
        Err(self.path().refuse(format!("must be {}", Self::KIND)))
    }

    fn null<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.other()
    }

    fn boolean<E: serde::de::Error>(self, _value: bool) -> Result<Self::Value, E> {
        self.other()
    }

    fn list<A: SeqAccess<'de>>(self, _list: A) -> Result<Self::Value, A::Error> {
        self.other()
    }

    fn object<A: MapAccess<'de>>(self, _object: A) -> Result<Self::Value, A::Error> {
        self.other()
    }
}

/// Reads a value of the shape `S`.
pub(super) struct As<S>(pub S);

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for As<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<S::Value, D::Error> {
        if !self.0.path().is_wary() {
            return deserializer.deserialize_any(self);
        }
        // The parser is given a string or a number only as a text, and what holds others once more.
        let raw = Raw.deserialize(deserializer)?;
        if raw.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit()) {
            return self.0.other();
        }
        let mut json = serde_json::Deserializer::from_str(raw);
        json.deserialize_any(self).map_err(D::Error::custom)
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

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<S::Value, E> {
        self.0.other()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S::Value, A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<S::Value, A::Error> {
        self.0.object(object)
    }
}

/// Reads a string that is a name.
pub(super) struct Text<'t>(pub &'t mut JsonPath);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match Raw.deserialize(deserializer)? {
            raw if raw.starts_with('"') => unescaped(self.0, raw),
            _ => Err(self.0.refuse("must be a string")),
        }
    }
}

/// Reads a string that is a name, or `None` if the value is `null`.
pub(super) struct OptionalText<'t>(pub &'t mut JsonPath);

impl<'de> DeserializeSeed<'de> for OptionalText<'_> {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match Raw.deserialize(deserializer)? {
            "null" => Ok(None),
            raw if raw.starts_with('"') => unescaped(self.0, raw).map(Some),
            _ => Err(self.0.refuse("must be a string or null")),
        }
    }
}

/// Returns the text of a JSON string that should be a name. An escape takes at most six bytes for a
/// byte of the name, so a string that is too long for any name is refused without a copy.
fn unescaped<'de, E: serde::de::Error>(
    path: &mut JsonPath,
    raw: &'de str,
) -> Result<Cow<'de, str>, E> {
    let within = &raw[1..raw.len() - 1];
    if !within.contains('\\') {
        return Ok(Cow::Borrowed(within));
    }
    if within.len() > 6 * MAX_NAME_BYTES {
        let text = format!("a name exceeds the limit of {MAX_NAME_BYTES} bytes");
        return Err(path.fail(Error::too_large(text)));
    }
    match serde_json::from_str(raw) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err(path.refuse("must not contain an unpaired surrogate")),
    }
}

/// Reads a list of strings, each of which `take` checks and keeps. `null` means an empty list.
pub(super) struct Texts<'t, F> {
    pub path: &'t mut JsonPath,
    pub take: F,
}

impl<'de, F: FnMut(Cow<'de, str>) -> crate::Result<()>> Shape<'de> for Texts<'_, F> {
    type Value = ();
    const KIND: &'static str = "a list of strings";

    fn path(&mut self) -> &mut JsonPath {
        self.path
    }

    fn null<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn list<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.path.enter_index(index);
            match list.next_element_seed(Text(self.path))? {
                Some(text) => (self.take)(text).map_err(|error| self.path.fail(error))?,
                None => {
                    self.path.leave();
                    break;
                }
            }
            self.path.leave();
        }
        Ok(())
    }
}

/// Reads `true` or `false`.
pub(super) struct Boolean<'t>(pub &'t mut JsonPath);

impl<'de> Shape<'de> for Boolean<'_> {
    type Value = bool;
    const KIND: &'static str = "true or false";

    fn path(&mut self) -> &mut JsonPath {
        self.0
    }

    fn boolean<E: serde::de::Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
}

/// A set of keys that an object may have.
pub(super) trait Key: Copy {
    /// The names of the keys, in the order of their numbers.
    const NAMES: &'static [&'static str];

    /// Returns the key with a name.
    fn named(name: &str) -> Option<Self>;

    /// Returns the number of the key, counted from 0.
    fn number(self) -> usize;
}

/// Defines an enum of the [`Key`]s of an object.
macro_rules! keys {
    ($keys:ident { $($key:ident = $name:literal),* $(,)? }) => {
        #[derive(Clone, Copy)]
        enum $keys { $($key),* }

        impl $crate::json::visitor::Key for $keys {
            const NAMES: &'static [&'static str] = &[$($name),*];

            fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some($keys::$key),)*
                    _ => None,
                }
            }

            fn number(self) -> usize {
                self as usize
            }
        }
    };
}
pub(super) use keys;

/// The keys of an object that have been read already.
#[derive(Default)]
pub(super) struct Seen(u32);

impl Seen {
    /// Reads the next key, which must be known and not repeated, and adds it to the path.
    pub fn next_key<'de, K: Key, A: MapAccess<'de>>(
        &mut self,
        path: &mut JsonPath,
        object: &mut A,
    ) -> Result<Option<K>, A::Error> {
        let key = KeyIn { path: &mut *path, keys: PhantomData::<K> };
        let Some(key) = object.next_key_seed(key)? else { return Ok(None) };
        path.enter_key(K::NAMES[key.number()]);
        if self.0 & 1 << key.number() != 0 {
            return Err(path.refuse("is given twice"));
        }
        self.0 |= 1 << key.number();
        Ok(Some(key))
    }
}

/// Reads one of the keys `K`.
struct KeyIn<'t, K> {
    path: &'t mut JsonPath,
    keys: PhantomData<K>,
}

impl<'de, K: Key> DeserializeSeed<'de> for KeyIn<'_, K> {
    type Value = K;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K, D::Error> {
        let raw = Raw.deserialize(deserializer)?;
        // A key that is too long for any name is not known. The error shows it as it is written.
        let within = &raw[1..raw.len() - 1];
        let is_long = within.len() > 6 * MAX_NAME_BYTES;
        let name = if is_long { Cow::Borrowed(within) } else { unescaped(self.path, raw)? };
        K::named(&name).ok_or_else(|| {
            let known = K::NAMES.join(", ");
            self.path.refuse(format!("unknown key {} (known: {known})", shown(&name)))
        })
    }
}

/// Reads a value as its JSON text. The parser does not recurse into it.
pub(super) struct Raw;

impl<'de> DeserializeSeed<'de> for Raw {
    type Value = &'de str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'de str, D::Error> {
        let raw: &'de RawValue = serde::Deserialize::deserialize(deserializer)?;
        Ok(raw.get())
    }
}
