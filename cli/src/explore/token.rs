//! The secret part of the page's address.

use dcb::{Error, Result, Status};

/// A secret that every request has in its path.
pub struct Token(String);

/// How many letters a token that a person chose has at least.
const SHORTEST: usize = 20;

impl Token {
    /// Returns a token of 128 random bits.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::new(Status::Io, format!("the system gave no random bytes: {error}"))
        })?;
        Ok(Token(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Returns the token that a person chose.
    pub fn given(text: &str) -> Result<Self> {
        let is_plain =
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if text.len() < SHORTEST || !is_plain {
            return Err(Error::invalid(format!(
                "--token: must be at least {SHORTEST} letters, digits, `-` or `_`"
            )));
        }
        Ok(Token(text.to_owned()))
    }

    /// Returns the text of the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `text` is the token. The time that this takes does not tell how much of the
    /// text is right.
    pub fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        own.len() == other.len()
            && own.iter().zip(other).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_tokens_are_long_and_differ() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!(one.as_str().len(), 32);
        assert!(one.is(one.as_str()) && !one.is(other.as_str()));
        assert!(!one.is("") && !one.is(&one.as_str()[1..]));
    }

    #[test]
    fn a_token_that_could_be_guessed_or_break_an_address_is_refused() {
        assert!(Token::given("abcdefghij-_ABCDE12345").is_ok());
        for text in
            ["", "short", "abcdefghijabcdefghi", "abcdefghijabcdefghij/", "ä".repeat(20).as_str()]
        {
            assert!(Token::given(text).is_err(), "{text}");
        }
    }
}
