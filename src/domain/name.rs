//! Types, tags and ids, which are short strings with rules, and the terms that an index files them
//! under.

use twox_hash::XxHash3_64;

use crate::error::{Error, Result};
use crate::limits::MAX_NAME_BYTES;

/// Checks the rules that types, tags and ids share.
fn check(text: &str, what: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(format!("{what} must not be empty")));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(Error::too_large(format!(
            "{what} of {} bytes exceeds the limit of {MAX_NAME_BYTES}",
            text.len()
        )));
    }
    if text.as_bytes().contains(&0) {
        return Err(Error::invalid(format!("{what} must not contain a NUL")));
    }
    Ok(())
}

/// A valid event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType<'a>(&'a str);

impl<'a> EventType<'a> {
    /// Returns the type `text`, which must be 1 to 255 bytes without a NUL.
    pub fn new(text: &'a str) -> Result<Self> {
        check(text, "a type").map(|()| EventType(text))
    }

    /// Returns the text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// A valid tag: either a bare key, or `key:value`, split at the first colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag<'a>(&'a str);

impl<'a> Tag<'a> {
    /// Returns the tag `text`, which must be 1 to 255 bytes without a NUL. If it has a colon,
    /// neither side of the first colon may be empty.
    pub fn new(text: &'a str) -> Result<Self> {
        check(text, "a tag")?;
        match text.split_once(':') {
            Some(("", _)) => Err(Error::invalid("a tag with a colon needs a key before it")),
            Some((_, "")) => Err(Error::invalid("a tag with a colon needs a value after it")),
            _ => Ok(Tag(text)),
        }
    }

    /// Returns the text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// A valid event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId<'a>(&'a str);

impl<'a> EventId<'a> {
    /// Returns the id `text`, which must be 1 to 255 bytes without a NUL.
    pub fn new(text: &'a str) -> Result<Self> {
        check(text, "an id").map(|()| EventId(text))
    }

    /// Returns the text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// The hash that an index files an event under: that of its type, of one of its tags, or of its id.
///
/// Two names may share a term, so every hit is checked against the event itself. The values are
/// part of the file format: XXH3-64 of the UTF-8 bytes, with a seed for each kind of name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(pub u64);

impl Term {
    /// Returns the term of a type.
    pub fn of_type(text: &str) -> Self {
        Term(XxHash3_64::oneshot_with_seed(0, text.as_bytes()))
    }

    /// Returns the term of a tag.
    pub fn of_tag(text: &str) -> Self {
        Term(XxHash3_64::oneshot_with_seed(1, text.as_bytes()))
    }

    /// Returns the term of an event id.
    pub fn of_id(text: &str) -> Self {
        Term(XxHash3_64::oneshot_with_seed(2, text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    #[test]
    fn a_name_is_checked_for_length_and_nul() {
        assert!(EventType::new("CourseDefined").is_ok());
        assert!(EventType::new(&"x".repeat(255)).is_ok());
        assert_eq!(EventType::new("").unwrap_err().status, Status::InvalidArgument);
        assert_eq!(EventType::new("a\0b").unwrap_err().status, Status::InvalidArgument);
        assert_eq!(EventId::new(&"é".repeat(128)).unwrap_err().status, Status::TooLarge);
    }

    #[test]
    fn a_tag_splits_at_its_first_colon() {
        for good in ["bare", "k:v", "k:v:w", "k::", "k: "] {
            assert!(Tag::new(good).is_ok(), "{good}");
        }
        for bad in [":", ":v", "k:", ""] {
            assert_eq!(Tag::new(bad).unwrap_err().status, Status::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn terms_are_the_hashes_of_the_file_format() {
        assert_ne!(Term::of_type("a"), Term::of_tag("a"));
        assert_ne!(Term::of_tag("a"), Term::of_id("a"));
        // From the reference implementation: XXH3_64bits("", seed 0).
        assert_eq!(Term::of_type("").0, 0x2d06_8005_38d3_94c2);
    }
}
