//! The path to the value that is being read, which an error names.

use std::fmt::{self, Write};

use serde::de;

use crate::error::{Error, Status};

/// A step from a value to one inside it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Key(&'static str),
    Index(usize),
}

/// The highest number of steps that a path may have. The longest one,
/// `condition[1].failIfEventsMatch.items[0].types[2]`, has 7.
const DEEPEST: usize = 8;

/// The path from the root of a document to the value being read, and the error that was found
/// there.
///
/// A step is removed only once its value has been read. So when reading fails, the path still leads
/// to the value that caused it.
#[derive(Debug)]
pub(super) struct JsonPath {
    root: &'static str,
    steps: [Step; DEEPEST],
    len: usize,
    error: Option<Error>,
    is_wary: bool,
}

impl JsonPath {
    /// At the root, which errors call by `name`.
    pub fn new(name: &'static str, is_wary: bool) -> Self {
        JsonPath { root: name, steps: [Step::Index(0); DEEPEST], len: 0, error: None, is_wary }
    }

    /// Whether a value is looked at before the parser is asked what it says. It takes longer.
    pub fn is_wary(&self) -> bool {
        self.is_wary
    }

    /// Whether it was the parser that ended the reading, and no rule of ours.
    pub fn blames_parser(&self) -> bool {
        self.error.is_none()
    }

    /// Adds the step to the value of a key.
    pub fn enter_key(&mut self, key: &'static str) {
        self.push(Step::Key(key));
    }

    /// Adds the step to an element of a list.
    pub fn enter_index(&mut self, index: usize) {
        self.push(Step::Index(index));
    }

    /// Removes the last step.
    pub fn leave(&mut self) {
        self.len -= 1;
    }

    fn push(&mut self, step: Step) {
        self.steps[self.len] = step;
        self.len += 1;
    }

    /// Ends the parsing with an error about the value at this path.
    #[cold]
    pub fn fail<E: de::Error>(&mut self, error: Error) -> E {
        self.error = Some(error.at(&self.to_string()));
        E::custom("")
    }

    /// Ends the parsing with an error whose message begins with a path inside the value at this
    /// path.
    #[cold]
    pub fn fail_within<E: de::Error>(&mut self, error: Error) -> E {
        self.error = Some(match self.len {
            0 => error,
            _ => Error { message: format!("{self}.{}", error.message).into(), ..error },
        });
        E::custom("")
    }

    /// Ends the parsing with the error that the value at this path breaks a rule.
    #[cold]
    pub fn refuse<E: de::Error>(&mut self, rule: impl Into<std::borrow::Cow<'static, str>>) -> E {
        self.fail(Error::invalid(rule))
    }

    /// Returns the error that ended the parsing: the one recorded here, or that of serde_json.
    #[cold]
    pub fn into_error(self, error: &serde_json::Error) -> Error {
        match self.error {
            Some(error) => error,
            None => Error::new(Status::InvalidArgument, format!("not valid JSON: {error}"))
                .at(&self.to_string()),
        }
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len == 0 {
            return f.write_str(self.root);
        }
        for (depth, step) in self.steps[..self.len].iter().enumerate() {
            match step {
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Returns a key from the request in quotes, escaped and shortened for an error message.
pub(super) fn shown(key: &str) -> String {
    const SHOWN: usize = 40;
    let mut text = String::from('"');
    for character in key.chars().flat_map(char::escape_debug).take(SHOWN) {
        text.push(character);
    }
    let cut = key.chars().flat_map(char::escape_debug).nth(SHOWN).is_some();
    let _ = text.write_str(if cut { "...\"" } else { "\"" });
    text
}
