//! Read requests, and the state of a read that every store advances.
//!
//! The rules for positions are those of section 3 of the contract.

use crate::domain::Query;
use crate::error::{Error, Result};
use crate::position::Position;

/// The order in which a read delivers events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// The oldest event comes first.
    #[default]
    Forward,
    /// The newest event comes first.
    Backward,
}

impl Direction {
    /// Returns the direction that a request asks for with its `backwards`.
    pub fn from_backwards(backwards: bool) -> Self {
        if backwards { Direction::Backward } else { Direction::Forward }
    }

    /// Returns whether the newest event comes first.
    pub fn is_backward(self) -> bool {
        self == Direction::Backward
    }
}

/// A read request: a query, the bounds of the positions, a limit and a direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadRequest {
    query: Query,
    after: Position,
    before: Option<Position>,
    limit: Option<u64>,
    direction: Direction,
}

impl ReadRequest {
    /// Returns a request for the events that match `query`, above `after` and below `before`.
    ///
    /// Both bounds are exclusive. A read gives at most `limit` events, in the order of `direction`.
    pub fn new(
        query: Query,
        after: Position,
        before: Option<Position>,
        limit: Option<u64>,
        direction: Direction,
    ) -> Self {
        ReadRequest { query, after, before, limit, direction }
    }

    /// Returns the request whose document has these numbers, each of which may be absent.
    pub(crate) fn of_numbers(
        query: Query,
        after: Option<i64>,
        before: Option<i64>,
        limit: Option<i64>,
        direction: Direction,
    ) -> Result<Self> {
        let after = position_of_after(after.unwrap_or(0))?;
        let before = before.map(Position::new).transpose();
        let before = before.map_err(|_| Error::invalid("before: must not be negative"))?;
        let limit = limit.map(u64::try_from).transpose();
        let limit = limit.map_err(|_| Error::invalid("limit: must not be negative"))?;
        Ok(ReadRequest { query, after, before, limit, direction })
    }
}

/// Returns the position of an `after` as documents and the C interface write it, where -1 and 0
/// both mean [`Position::START`].
pub fn position_of_after(after: i64) -> Result<Position> {
    if after < -1 {
        return Err(Error::invalid("after: must be -1 or more"));
    }
    Ok(Position::clamped(after))
}

/// A range of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionRange {
    /// The exclusive lower bound: the range begins above this position.
    pub after: Position,
    /// The inclusive upper bound: the range ends with this position.
    pub through: Position,
}

impl PositionRange {
    /// Returns whether the range holds no position.
    pub fn is_empty(self) -> bool {
        self.after >= self.through
    }

    /// Returns whether the range holds a position.
    pub fn contains(self, position: Position) -> bool {
        self.after < position && position <= self.through
    }

    /// Returns the position of a range with positions at which a read in `direction` begins.
    pub fn first(self, direction: Direction) -> Position {
        match direction {
            Direction::Forward => self.after.next(),
            Direction::Backward => self.through,
        }
    }

    /// Returns the position of a range with positions at which a read in `direction` ends.
    pub fn last(self, direction: Direction) -> Position {
        match direction {
            Direction::Forward => self.through,
            Direction::Backward => self.after.next(),
        }
    }

    /// Returns the first `positions` positions of the range in `direction`, and what is left of it.
    pub fn split(self, positions: u64, direction: Direction) -> (Self, Self) {
        let PositionRange { after, through } = self;
        match direction {
            Direction::Forward => {
                let middle = after.saturating_add(positions).min(through);
                (PositionRange { after, through: middle }, PositionRange { after: middle, through })
            }
            Direction::Backward => {
                let middle = through.saturating_sub(positions).max(after);
                (PositionRange { after: middle, through }, PositionRange { after, through: middle })
            }
        }
    }

    /// Returns the number of positions in the range.
    pub fn len(self) -> u64 {
        u64::try_from(self.through - self.after).unwrap_or(0)
    }

    /// Returns what is left of the range after a read in `direction` has examined `position`.
    #[must_use]
    pub fn beyond(self, position: Position, direction: Direction) -> Self {
        match direction {
            Direction::Forward => PositionRange { after: position, ..self },
            Direction::Backward => PositionRange { through: position.previous(), ..self },
        }
    }
}

/// The state of a read: its request, its snapshot, and what is left of it.
///
/// A store calls [`ReadState::begin`] with the head of its snapshot. It then delivers the matching
/// events of [`ReadState::span`] in the order of [`ReadState::direction`], and records its
/// progress.
#[derive(Debug, Clone)]
pub struct ReadState {
    request: ReadRequest,
    /// The highest position that the request's bounds and the snapshot allow, or `None` before the
    /// snapshot is taken.
    upper: Option<Position>,
    /// The exclusive lower bound of the positions that are not examined yet.
    low: Position,
    /// The inclusive upper bound of the positions that are not examined yet.
    high: Position,
    left: Option<u64>,
    last: Position,
}

impl ReadState {
    /// Returns the state of a read that has not begun.
    pub fn new(request: ReadRequest) -> Self {
        let (low, left) = (request.after, request.limit);
        ReadState { upper: None, low, high: Position::START, left, last: low, request }
    }

    /// Takes the snapshot: from now on the read sees exactly the positions up to `head`. Only the
    /// first call has an effect.
    pub fn begin(&mut self, head: Position) {
        if self.upper.is_none() {
            let bound = self.request.before.map_or(head, |before| head.min(before.previous()));
            self.upper = Some(bound);
            self.high = bound;
        }
    }

    /// Returns whether the snapshot is taken.
    pub fn has_begun(&self) -> bool {
        self.upper.is_some()
    }

    /// Returns the query of the request.
    pub fn query(&self) -> &Query {
        &self.request.query
    }

    /// Returns the order in which the read delivers events.
    pub fn direction(&self) -> Direction {
        self.request.direction
    }

    /// Returns the positions that are not examined yet, or `None` if the read has ended.
    pub fn span(&self) -> Option<PositionRange> {
        (self.left != Some(0) && self.low < self.high)
            .then_some(PositionRange { after: self.low, through: self.high })
    }

    /// Returns how many events the limit still allows, at most `max`.
    pub fn remaining(&self, max: usize) -> usize {
        self.left.map_or(max, |left| usize::try_from(left).unwrap_or(usize::MAX).min(max))
    }

    /// Records that the event at `position`, the next match of the range, was delivered.
    pub fn delivered(&mut self, position: Position) {
        self.advance_to(position);
        self.last = position;
        self.left = self.left.map(|left| left - 1);
    }

    /// Records that every position up to `position` was examined. A backward read has examined
    /// every position down to it.
    pub fn advance_to(&mut self, position: Position) {
        if self.request.direction.is_backward() {
            self.high = self.high.min(position.previous());
        } else {
            self.low = self.low.max(position);
        }
    }

    /// Returns the state of a read of a part of the positions that are not examined yet.
    pub fn part(&self, range: PositionRange) -> Self {
        ReadState { low: range.after, high: range.through, ..self.clone() }
    }

    /// Returns the position that was examined last: the read goes on beyond it.
    pub fn examined(&self) -> Position {
        if self.request.direction.is_backward() { self.high.next() } else { self.low }
    }

    /// Records that no further event of the range matches.
    pub fn finish(&mut self) {
        if self.request.direction.is_backward() {
            self.high = self.low;
        } else {
            self.low = self.high.max(self.low);
        }
    }

    /// Returns the position that is safe as the `after` of a condition with the same query. Before
    /// the end of a forward read, it is the position of the last event delivered.
    ///
    /// A read with limit 0 has examined nothing, so it promises nothing above `after`.
    pub fn position(&self) -> Position {
        let after = self.request.after;
        if self.request.limit == Some(0) {
            return after;
        }
        let forward_unfinished = !self.request.direction.is_backward()
            && (self.left == Some(0) || self.span().is_some());
        let reached = match self.upper {
            None => after,
            Some(_) if forward_unfinished => self.last,
            Some(upper) => upper,
        };
        reached.max(after)
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Backward, Forward};
    use super::*;
    use crate::position::at;

    fn state(
        after: i64,
        before: Option<i64>,
        limit: Option<u64>,
        direction: Direction,
    ) -> ReadState {
        let (after, before) = (at(after), before.map(at));
        ReadState::new(ReadRequest::new(Query::all(), after, before, limit, direction))
    }

    /// Runs a read of every event at the positions 1 to `head`.
    fn run(mut state: ReadState, head: i64) -> (Vec<i64>, i64) {
        state.begin(at(head));
        let mut delivered = Vec::new();
        while let Some(range) = state.span() {
            let next = range.first(state.direction());
            state.delivered(next);
            delivered.push(next.get());
        }
        (delivered, state.position().get())
    }

    #[test]
    fn a_forward_read_reports_its_position() {
        assert_eq!(run(state(0, None, None, Forward), 3), (vec![1, 2, 3], 3));
        assert_eq!(run(state(0, None, Some(2), Forward), 3), (vec![1, 2], 2));
        assert_eq!(run(state(0, Some(3), None, Forward), 5), (vec![1, 2], 2));
        assert_eq!(run(state(0, None, Some(0), Forward), 5), (vec![], 0));
        assert_eq!(run(state(9, None, None, Forward), 5), (vec![], 9));
        assert_eq!(run(state(0, Some(0), None, Forward), 5), (vec![], 0));
        assert_eq!(run(state(2, Some(1), None, Forward), 5), (vec![], 2));
        assert_eq!(run(state(i64::MAX, None, None, Forward), 5), (vec![], i64::MAX));
    }

    #[test]
    fn a_backward_read_reports_its_position() {
        assert_eq!(run(state(0, None, None, Backward), 3), (vec![3, 2, 1], 3));
        assert_eq!(run(state(0, None, Some(1), Backward), 3), (vec![3], 3));
        assert_eq!(run(state(1, Some(3), None, Backward), 5), (vec![2], 2));
        assert_eq!(run(state(4, None, Some(0), Backward), 5), (vec![], 4));
    }

    #[test]
    fn a_snapshot_is_taken_once() {
        let mut state = state(0, None, None, Forward);
        assert_eq!(state.position(), at(0));
        state.begin(at(2));
        state.begin(at(7));
        assert_eq!(state.span(), Some(PositionRange { after: at(0), through: at(2) }));
        state.finish();
        assert_eq!((state.span(), state.position()), (None, at(2)));
    }

    #[test]
    fn an_unfinished_forward_read_is_at_its_last_event() {
        let mut forward = state(0, None, None, Forward);
        forward.begin(at(5));
        forward.delivered(at(2));
        assert_eq!(forward.position(), at(2));
        let mut backward = state(0, None, None, Backward);
        backward.begin(at(5));
        backward.delivered(at(4));
        assert_eq!(backward.position(), at(5));
        assert_eq!(backward.span(), Some(PositionRange { after: at(0), through: at(3) }));
    }

    #[test]
    fn an_after_is_at_least_minus_one() {
        assert_eq!(position_of_after(7), Ok(at(7)));
        assert_eq!(position_of_after(0), Ok(Position::START));
        assert_eq!(position_of_after(-1), Ok(Position::START));
        assert_eq!(position_of_after(-2).unwrap_err().status, crate::Status::InvalidArgument);
    }
}
