//! What a store remembers of its history, so that it notices when the server has another one.
//!
//! A standby that takes over may lack the last events, and so may a database that was restored from
//! a backup. Then others get their positions. The store remembers the newest event that it knows of
//! by the id of its append, which no other append has, and looks whether the server has that event:
//! on each new connection, whenever it asks for the head, and in each append behind a pooler, which
//! may change the server without a new connection.

use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result, Status};
use crate::position::Position;
use crate::postgres::failure::as_number;
use crate::postgres::values::{Row, Values};

/// The id of an append, which each of its events has.
pub type AppendId = [u8; 16];

/// The newest event that a store knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Where it is. At the start, no event is known.
    pub position: Position,
    append_id: AppendId,
}

/// What was known before a statement was sent.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// A position at or below the head.
    pub head: Position,
    /// The newest event of which more is known than its position.
    pub mark: Mark,
}

/// What a store remembers of its history.
#[derive(Debug)]
pub struct History {
    mark: Mutex<Mark>,
}

impl History {
    /// Returns the memory of a store that knows of no event.
    pub fn new() -> Self {
        History { mark: Mutex::new(Mark { position: Position::START, append_id: [0; 16] }) }
    }

    /// Returns the newest event that is known.
    pub fn mark(&self) -> Mark {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which append the event at a position is from.
    pub fn note(&self, position: Position, append_id: AppendId) {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if position > mark.position {
            *mark = Mark { position, append_id };
        }
    }
}

impl Known {
    /// Checks the head of a server. On one that follows no other, the head never falls.
    pub fn check_head(&self, head: Position, is_standby: bool) -> Result<()> {
        if head < self.head && !is_standby {
            return Err(rewound(&format!(
                "its newest event is at position {head}, but there had been one at {}",
                self.head
            )));
        }
        Ok(())
    }
}

impl Mark {
    /// Returns whether there is an event that is known.
    pub fn is_known(&self) -> bool {
        self.position > Position::START
    }

    /// Adds the event to a statement that demands it: its position, and a list with the id of its append.
    pub fn add_to(&self, values: &mut Values) {
        values.position(self.position).uuids(&[self.append_id]);
    }

    /// Returns the error of a server that does not have the event.
    pub fn missing(&self) -> Error {
        rewound(&format!(
            "there is no event at position {} any more, or another one",
            self.position
        ))
    }

    /// Checks that the server has the event. The row has the id of the append that its position is
    /// from, or NULL, in one column, and in another whether the server follows another one. Such a
    /// server may not have the event yet.
    pub fn check(&self, row: &Row, append_id: usize, standby: usize) -> Result<()> {
        if !self.is_known() {
            return Ok(());
        }
        let position = self.position;
        match row.optional_uuid(append_id)? {
            Some(append_id) if append_id == self.append_id => Ok(()),
            None if row.boolean(standby)? => Ok(()),
            Some(_) => Err(rewound(&format!("there is another event at position {position}"))),
            None => Err(rewound(&format!("there is no event at position {position} any more"))),
        }
    }
}

/// The code of the error of a store whose history was rewound, which is like an SQLSTATE.
const REWOUND: &str = "DCB03";

/// Returns whether an error says that the history was rewound.
///
/// Such an answer is asked for a second time. The server says whether it follows another after it
/// has taken the snapshot, and a standby that was promoted in between has more by now.
pub fn is_rewound(error: &Error) -> bool {
    error.status == Status::Corrupt && error.detail == as_number(REWOUND)
}

/// Returns the error of a store whose history is not the one that it knows.
fn rewound(what: &str) -> Error {
    let error = Error::new(
        Status::Corrupt,
        format!(
            "the history of the store was rewound: {what}; close the store, and build again what \
             was made from its events"
        ),
    );
    error.with_detail(as_number(REWOUND))
}
