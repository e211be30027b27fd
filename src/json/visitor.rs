//! Reading a value that must have a certain shape.
//!
//! Each shape says what it does with the kinds of JSON value that it takes; every other kind is
//! refused in our own words, for those of serde would repeat the value.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, Status};
use crate::json::depth;
use crate::json::path::{JsonPath, shown};
use crate::limits::{MAX_NAME_BYTES, MAX_REQUEST_BYTES};

/// Reads the document `bytes`, called `name` in errors about its root: the quick way, or as `body`
/// says.
pub(super) fn read_document<'de, T>(
    name: &'static str,
    bytes: &'de [u8],
    quick: impl FnOnce(&str) -> Option<T>,
    body: impl Fn(&mut JsonPath, &mut Json<'de>) -> serde_json::Result<T>,
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
    if let Some(read) = quick(text) {
        return Ok(read);
    }
    // The parser keeps a byte for each level that is open. Where those might be many, they are
    // counted before it sees them.
    if text.len() > UNCOUNTED {
        depth::check(text, 0).map_err(|error| error.at(name))?;
    }
    #[expect(clippy::result_large_err, reason = "it stays in this function")]
    let read = |is_wary| {
        let mut trail = JsonPath::new(name, is_wary);
        let mut json = serde_json::Deserializer::from_str(text);
        let read = body(&mut trail, &mut json).and_then(|value| json.end().map(|()| value));
        read.map_err(|error| (trail, error))
    };
    let is_wary = has_long_escaped_string(text.as_bytes());
    let read = match read(is_wary) {
        // What the parser cannot make a number of may be a number all the same, and of the wrong
        // kind where it stands.
        Err((trail, error)) if !is_wary && trail.blames_parser() && is_out_of_range(&error) => {
            read(true)
        }
        read => read,
    };
    read.map_err(|(trail, error)| match trail.into_error(&error) {
        error if error.status == Status::TooLarge => error,
        // The depth goes before a rule that is broken, also where it is not what ended the
        // reading. What was read to its end has no more depth than its shape and its data.
        error => depth::check(text, 0).map_or_else(|too_deep| too_deep.at(name), |()| error),
    })
}

/// Bytes of a document that is given to the parser as it is.
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

/// What a value must be, and what it then means. A kind of value that a shape does not take up
/// is refused as not being [`Shape::KIND`].
pub(super) trait Shape<'de>: Sized {
    /// What the value means.
    type Value;
    /// Completes "must be ...".
    const KIND: &'static str;

    fn trail(&mut self) -> &mut JsonPath;

    fn other<E: serde::de::Error>(mut self) -> Result<Self::Value, E> {
        Err(self.trail().refuse(format!("must be {}", Self::KIND)))
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

/// Reads a value as the shape that it holds.
pub(super) struct As<S>(pub S);

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for As<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<S::Value, D::Error> {
        if !self.0.trail().is_wary() {
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

/// A string that is a name.
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

/// The same, or `null` for none.
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

/// What a string of JSON says, where it may be a name: with escapes, a byte of one takes six at the
/// most, and of a longer one there is no copy made to see that.
fn unescaped<'de, E: serde::de::Error>(
    trail: &mut JsonPath,
    raw: &'de str,
) -> Result<Cow<'de, str>, E> {
    let within = &raw[1..raw.len() - 1];
    if !within.contains('\\') {
        return Ok(Cow::Borrowed(within));
    }
    if within.len() > 6 * MAX_NAME_BYTES {
        let text = format!("a name is over the limit of {MAX_NAME_BYTES} bytes");
        return Err(trail.fail(Error::too_large(text)));
    }
    match serde_json::from_str(raw) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err(trail.refuse("must not have a surrogate without its other half")),
    }
}

/// A list of strings, each for `take` to judge; or `null`, as an empty one.
pub(super) struct Texts<'t, F> {
    pub trail: &'t mut JsonPath,
    pub take: F,
}

impl<'de, F: FnMut(Cow<'de, str>) -> crate::Result<()>> Shape<'de> for Texts<'_, F> {
    type Value = ();
    const KIND: &'static str = "a list of strings";

    fn trail(&mut self) -> &mut JsonPath {
        self.trail
    }

    fn null<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn list<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.trail.enter_index(index);
            match list.next_element_seed(Text(self.trail))? {
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
pub(super) struct Boolean<'t>(pub &'t mut JsonPath);

impl<'de> Shape<'de> for Boolean<'_> {
    type Value = bool;
    const KIND: &'static str = "true or false";

    fn trail(&mut self) -> &mut JsonPath {
        self.0
    }

    fn boolean<E: serde::de::Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
}

/// The keys that an object may have.
pub(super) trait Key: Copy {
    /// Their names, in the order of their numbers.
    const NAMES: &'static [&'static str];

    /// The key of that name.
    fn named(name: &str) -> Option<Self>;

    /// Which key it is, counted from 0.
    fn number(self) -> usize;
}

/// Makes an enum the [`Key`]s of an object.
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

/// Which keys of an object were read already.
#[derive(Default)]
pub(super) struct Seen(u32);

impl Seen {
    /// Goes to the value of the next key, which must be known and new, and gives the key.
    pub fn next_key<'de, K: Key, A: MapAccess<'de>>(
        &mut self,
        trail: &mut JsonPath,
        object: &mut A,
    ) -> Result<Option<K>, A::Error> {
        let key = KeyIn { trail: &mut *trail, keys: PhantomData::<K> };
        let Some(key) = object.next_key_seed(key)? else { return Ok(None) };
        trail.enter_key(K::NAMES[key.number()]);
        if self.0 & 1 << key.number() != 0 {
            return Err(trail.refuse("is given twice"));
        }
        self.0 |= 1 << key.number();
        Ok(Some(key))
    }
}

/// Reads one of the keys `K`.
struct KeyIn<'t, K> {
    trail: &'t mut JsonPath,
    keys: PhantomData<K>,
}

impl<'de, K: Key> DeserializeSeed<'de> for KeyIn<'_, K> {
    type Value = K;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K, D::Error> {
        let raw = Raw.deserialize(deserializer)?;
        // Too long a one is none that is known, and shown as it is written.
        let within = &raw[1..raw.len() - 1];
        let is_long = within.len() > 6 * MAX_NAME_BYTES;
        let name = if is_long { Cow::Borrowed(within) } else { unescaped(self.trail, raw)? };
        K::named(&name).ok_or_else(|| {
            let known = K::NAMES.join(", ");
            self.trail.refuse(format!("unknown key {} (known: {known})", shown(&name)))
        })
    }
}

/// Reads a value as the text that it is, the parser never going back into itself.
pub(super) struct Raw;

impl<'de> DeserializeSeed<'de> for Raw {
    type Value = &'de str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'de str, D::Error> {
        let raw: &'de RawValue = serde::Deserialize::deserialize(deserializer)?;
        Ok(raw.get())
    }
}
