//! A password, which no message shows.

use std::fmt;

/// A password. Its `Debug` text does not contain it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Returns a password with this text.
    pub(crate) fn new(text: String) -> Self {
        Password(text)
    }

    /// Returns the password itself, for the server alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}
