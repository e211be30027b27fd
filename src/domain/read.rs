//! A read and how far it has come: the positions of the contract's section 3, for every store.

use crate::domain::Query;
use crate::error::{Error, Result};

/// What a read asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadRequest {
    query: Query,
    after: i64,
    before: Option<i64>,
    limit: Option<u64>,
    backwards: bool,
}

impl ReadRequest {
    /// The events that match `query`; positions are exclusive bounds, -1 as 0.
    pub fn new(
        query: Query,
        after: i64,
        before: Option<i64>,
        limit: Option<i64>,
        backwards: bool,
    ) -> Result<Self> {
        if after < -1 {
            return Err(Error::invalid("after: must be -1 or more"));
        }
        if before.is_some_and(|before| before < 0) {
            return Err(Error::invalid("before: must not be negative"));
        }
        let limit = match limit.map(u64::try_from) {
            Some(Err(_)) => return Err(Error::invalid("limit: must not be negative")),
            Some(Ok(limit)) => Some(limit),
            None => None,
        };
        Ok(ReadRequest { query, after: after.max(0), before, limit, backwards })
    }
}

/// The positions above one and up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionRange {
    /// The range begins above this position: an exclusive bound.
    pub after: i64,
    /// The range ends with this position: an inclusive bound.
    pub through: i64,
}

/// A read under way: its request, its snapshot, and what is left of it.
///
/// A store begins it at the head of its snapshot, then gives what matches in [`ReadState::span`],
/// in the order of [`ReadState::backwards`], and tells how far it got.
#[derive(Debug, Clone)]
pub struct ReadState {
    request: ReadRequest,
    /// The highest position that the request's bounds and the snapshot allow; `None` before
    /// the snapshot is taken.
    upper: Option<i64>,
    /// What is not looked at yet: above `low`, up to `high`.
    low: i64,
    high: i64,
    left: Option<u64>,
    last: i64,
}

impl ReadState {
    /// A read that has not begun.
    pub fn new(request: ReadRequest) -> Self {
        let (low, left) = (request.after, request.limit);
        ReadState { upper: None, low, high: 0, left, last: low, request }
    }

    /// Takes the snapshot: the read sees the positions up to `head`, now and ever.
    /// Only the first call counts.
    pub fn begin(&mut self, head: i64) {
        if self.upper.is_none() {
            let bound = self.request.before.map_or(head, |before| head.min((before - 1).max(0)));
            self.upper = Some(bound);
            self.high = bound;
        }
    }

    /// Whether the snapshot is taken.
    pub fn has_begun(&self) -> bool {
        self.upper.is_some()
    }

    /// What is asked for.
    pub fn query(&self) -> &Query {
        &self.request.query
    }

    /// Whether the newest come first.
    pub fn backwards(&self) -> bool {
        self.request.backwards
    }

    /// The positions still to be looked at; `None`: the read is at its end.
    pub fn span(&self) -> Option<PositionRange> {
        (self.left != Some(0) && self.low < self.high)
            .then_some(PositionRange { after: self.low, through: self.high })
    }

    /// How many events may still be given, `max` at most.
    pub fn remaining(&self, max: usize) -> usize {
        self.left.map_or(max, |left| usize::try_from(left).unwrap_or(usize::MAX).min(max))
    }

    /// The event at `position` was given; it is the next match in the span.
    pub fn delivered(&mut self, position: i64) {
        self.advance_to(position);
        self.last = position;
        self.left = self.left.map(|left| left - 1);
    }

    /// Everything up to `position` (backwards: down to it) was looked at.
    pub fn advance_to(&mut self, position: i64) {
        if self.request.backwards {
            self.high = self.high.min(position - 1);
        } else {
            self.low = self.low.max(position);
        }
    }

    /// Nothing more matches in the span.
    pub fn finish(&mut self) {
        if self.request.backwards {
            self.high = self.low;
        } else {
            self.low = self.high.max(self.low);
        }
    }

    /// The position that is safe as the `after` of a condition with the same query; before the
    /// end of a forward read, that of the last event given.
    ///
    /// A backward read with limit 0 has looked at nothing, so it promises nothing above `after`.
    pub fn position(&self) -> i64 {
        let after = self.request.after;
        if self.request.limit == Some(0) {
            return after;
        }
        let forward_unfinished =
            !self.request.backwards && (self.left == Some(0) || self.span().is_some());
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
    use super::*;

    fn reading(after: i64, before: Option<i64>, limit: Option<i64>, backwards: bool) -> ReadState {
        ReadState::new(ReadRequest::new(Query::all(), after, before, limit, backwards).unwrap())
    }

    /// Plays a read of everything over positions 1 to `head`.
    fn play(mut reading: ReadState, head: i64) -> (Vec<i64>, i64) {
        reading.begin(head);
        let mut given = Vec::new();
        while let Some(span) = reading.span() {
            let next = if reading.backwards() { span.through } else { span.after + 1 };
            reading.delivered(next);
            given.push(next);
        }
        (given, reading.position())
    }

    #[test]
    fn forward_positions() {
        assert_eq!(play(reading(0, None, None, false), 3), (vec![1, 2, 3], 3));
        assert_eq!(play(reading(-1, None, Some(2), false), 3), (vec![1, 2], 2));
        assert_eq!(play(reading(0, Some(3), None, false), 5), (vec![1, 2], 2));
        assert_eq!(play(reading(0, None, Some(0), false), 5), (vec![], 0));
        assert_eq!(play(reading(9, None, None, false), 5), (vec![], 9));
        assert_eq!(play(reading(0, Some(0), None, false), 5), (vec![], 0));
        assert_eq!(play(reading(2, Some(1), None, false), 5), (vec![], 2));
        assert_eq!(play(reading(i64::MAX, None, None, false), 5), (vec![], i64::MAX));
    }

    #[test]
    fn backward_positions() {
        assert_eq!(play(reading(0, None, None, true), 3), (vec![3, 2, 1], 3));
        assert_eq!(play(reading(0, None, Some(1), true), 3), (vec![3], 3));
        assert_eq!(play(reading(1, Some(3), None, true), 5), (vec![2], 2));
        assert_eq!(play(reading(4, None, Some(0), true), 5), (vec![], 4));
    }

    #[test]
    fn a_snapshot_is_taken_once() {
        let mut reading = reading(0, None, None, false);
        assert_eq!(reading.position(), 0);
        reading.begin(2);
        reading.begin(7);
        assert_eq!(reading.span(), Some(PositionRange { after: 0, through: 2 }));
        reading.finish();
        assert_eq!((reading.span(), reading.position()), (None, 2));
    }

    #[test]
    fn an_open_read_stands_at_the_last_event_given() {
        let mut forward = reading(0, None, None, false);
        forward.begin(5);
        forward.delivered(2);
        assert_eq!(forward.position(), 2);
        let mut backward = reading(0, None, None, true);
        backward.begin(5);
        backward.delivered(4);
        assert_eq!(backward.position(), 5);
        assert_eq!(backward.span(), Some(PositionRange { after: 0, through: 3 }));
    }
}
