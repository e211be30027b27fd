//! Positions of events in the sequence.
//!
//! This module uses no other one: errors name positions, and `tests/model` compiles it beside the
//! commit protocol.

use std::fmt;
use std::ops::{Add, Sub};

/// A position in the sequence of events. The first event has position 1, and positions have no gap.
///
/// A position is never negative. [`Position::START`], which is 0, is before the first event: it is
/// the head of an empty store.
///
/// ```
/// use dcb::Position;
///
/// let position = Position::from(7);
/// assert_eq!(position.next(), Position::new(8)?);
/// assert_eq!(position - Position::START, 7);
/// assert_eq!(position.get(), 7);
/// assert!(Position::new(-1).is_err());
/// # Ok::<(), dcb::Error>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Position(i64);

impl Position {
    /// The position before the first event.
    pub const START: Position = Position(0);

    /// The highest position, which no event reaches.
    pub const MAX: Position = Position(i64::MAX);

    /// Returns the position with this number, which must not be negative.
    pub const fn new(number: i64) -> Result<Self, NegativePosition> {
        if number < 0 { Err(NegativePosition(number)) } else { Ok(Position(number)) }
    }

    /// Returns the position with this number, or [`Position::START`] for a negative number.
    pub const fn clamped(number: i64) -> Self {
        if number < 0 { Position::START } else { Position(number) }
    }

    /// Returns the number of the position.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Returns the position after this one. [`Position::MAX`] returns itself.
    #[must_use]
    pub const fn next(self) -> Self {
        self.saturating_add(1)
    }

    /// Returns the position before this one. [`Position::START`] returns itself.
    #[must_use]
    pub const fn previous(self) -> Self {
        self.saturating_sub(1)
    }

    /// Returns the position `events` after this one, at most [`Position::MAX`].
    #[must_use]
    pub const fn saturating_add(self, events: u64) -> Self {
        Position(self.0.saturating_add_unsigned(events))
    }

    /// Returns the position `events` before this one, at least [`Position::START`].
    #[must_use]
    pub const fn saturating_sub(self, events: u64) -> Self {
        Position::clamped(self.0.saturating_sub_unsigned(events))
    }

    /// Returns the position `events` after this one, or `None` if it would exceed
    /// [`Position::MAX`].
    #[must_use]
    pub const fn checked_add(self, events: u64) -> Option<Self> {
        match self.0.checked_add_unsigned(events) {
            Some(number) => Some(Position(number)),
            None => None,
        }
    }
}

/// Returns the position so many events after this one.
///
/// # Panics
/// Panics if it would exceed [`Position::MAX`], also in a release build.
impl Add<usize> for Position {
    type Output = Position;

    fn add(self, events: usize) -> Position {
        self.checked_add(events as u64).expect("a position is at most 2^63 - 1")
    }
}

/// Returns the distance between two positions, which is negative if the right one is higher. It
/// cannot overflow.
impl Sub for Position {
    type Output = i64;

    fn sub(self, other: Position) -> i64 {
        self.0 - other.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl From<u32> for Position {
    fn from(number: u32) -> Self {
        Position(i64::from(number))
    }
}

impl TryFrom<i64> for Position {
    type Error = NegativePosition;

    fn try_from(number: i64) -> Result<Self, NegativePosition> {
        Position::new(number)
    }
}

impl From<Position> for i64 {
    fn from(position: Position) -> Self {
        position.0
    }
}

/// The error of a number that is no position, since it is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position must not be negative, but is {0}")]
pub struct NegativePosition(pub i64);

/// Returns the position with this number, for a test.
#[cfg(test)]
pub fn at(number: i64) -> Position {
    Position::new(number).expect("a test names a position")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_never_negative() {
        assert_eq!(Position::new(0), Ok(Position::START));
        assert_eq!(Position::try_from(i64::MAX), Ok(Position::MAX));
        assert_eq!(Position::new(-1), Err(NegativePosition(-1)));
        assert_eq!(Position::clamped(i64::MIN), Position::START);
        assert_eq!(Position::from(7).saturating_sub(8), Position::START);
        assert_eq!(Position::MAX.saturating_sub(u64::MAX), Position::START);
        assert_eq!(Position::START.previous(), Position::START);
    }

    #[test]
    fn arithmetic_ends_at_the_highest_position() {
        assert_eq!(Position::MAX.next(), Position::MAX);
        assert_eq!(Position::MAX.previous().next(), Position::MAX);
        assert_eq!(Position::START.checked_add(i64::MAX as u64), Some(Position::MAX));
        assert_eq!(Position::from(1).checked_add(i64::MAX as u64), None);
        assert_eq!(Position::START - Position::MAX, -i64::MAX);
    }

    #[test]
    #[should_panic(expected = "a position is at most")]
    fn an_addition_that_overflows_panics() {
        let _ = Position::MAX + 1;
    }
}
