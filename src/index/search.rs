//! Searches of the index in memory.
//!
//! For each item of a query, a search walks the postings of the item's rarest tag or of its types,
//! and checks every candidate against the item.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;
use std::sync::Arc;

use crate::domain::{Direction, PositionRange, Query, QueryItem, SequencedEvent};
use crate::index::Index;
use crate::index::postings::Postings;
use crate::position::Position;

/// The number of candidates that one [`Index::find`] examines, which bounds the time for which its
/// caller holds a lock.
const MAX_EXAMINED: usize = 4096;

/// The progress of an [`Index::find`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// No further event of the range matches.
    Exhausted,
    /// Every position up to this one was examined. A backward search has examined every position
    /// down to it.
    Reached(Position),
}

/// The positions of one term that are candidates for an item.
struct Run<'a> {
    item: &'a QueryItem,
    postings: &'a Postings,
    left: Range<usize>,
}

impl Run<'_> {
    fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        self.left.clone().map(|index| self.postings.get(index))
    }
}

/// A run with its next position. The greatest cursor is the one to advance first.
struct Cursor<'a> {
    run: Run<'a>,
    next: Position,
    direction: Direction,
}

impl<'a> Cursor<'a> {
    /// Returns a cursor at the first position, or `None` if the run is empty.
    fn new(run: Run<'a>, direction: Direction) -> Option<Self> {
        let mut cursor = Cursor { run, next: Position::START, direction };
        cursor.advance().then_some(cursor)
    }

    /// Moves to the next position. Returns whether there is one.
    fn advance(&mut self) -> bool {
        let left = &mut self.run.left;
        let index = if self.direction.is_backward() { left.next_back() } else { left.next() };
        index.map(|index| self.next = self.run.postings.get(index)).is_some()
    }
}

impl Ord for Cursor<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let ascending = self.next.cmp(&other.next);
        if self.direction.is_backward() { ascending } else { ascending.reverse() }
    }
}

impl PartialOrd for Cursor<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.next == other.next
    }
}

impl Eq for Cursor<'_> {}

impl Index {
    /// Returns the lowest position in `span` whose event `query` matches.
    pub fn first_match(&self, query: &Query, span: PositionRange) -> Option<Position> {
        let mut span = self.clip(span)?;
        let Some(items) = selective_items(query) else { return Some(span.after.next()) };
        let mut first = None;
        for item in items {
            self.each_run(item, span, |run| {
                let found = run
                    .positions()
                    .take_while(|&position| first.is_none_or(|first| position < first))
                    .find(|&position| allows(item, self.at(position)));
                first = found.or(first);
            });
            if let Some(first) = first {
                // Only an earlier match of another item can still change the result.
                span.through = first.previous();
                if span.after == span.through {
                    break;
                }
            }
        }
        first
    }

    /// Appends to `out` at most `max` of the next events in `span` that `query` matches, ascending
    /// or, with `backwards`, descending. It examines a bounded number of events, so it may end
    /// early.
    pub fn find(
        &self,
        query: &Query,
        span: PositionRange,
        direction: Direction,
        max: usize,
        out: &mut Vec<Arc<SequencedEvent>>,
    ) -> Progress {
        let Some(span) = self.clip(span) else { return Progress::Exhausted };
        let Some(items) = selective_items(query) else {
            return self.slice(span, direction, max, out);
        };
        let mut reached = if direction.is_backward() { span.through.next() } else { span.after };
        if max == 0 {
            return Progress::Reached(reached);
        }
        let mut cursors = Vec::new();
        for item in items {
            self.each_run(item, span, |run| cursors.extend(Cursor::new(run, direction)));
        }
        let candidates: usize = cursors.iter().map(|cursor| 1 + cursor.run.left.len()).sum();
        out.reserve(candidates.min(max).min(MAX_EXAMINED));
        let mut cursors = BinaryHeap::from(cursors);
        let (mut examined, mut given, mut taken) = (0, 0, false);
        while let Some(mut cursor) = cursors.peek_mut() {
            if cursor.next != reached {
                if examined >= MAX_EXAMINED || given == max {
                    return Progress::Reached(reached);
                }
                reached = cursor.next;
                taken = false;
            }
            if !taken {
                let event = self.at(reached);
                if allows(cursor.run.item, event) {
                    out.push(Arc::clone(event));
                    given += 1;
                    taken = true;
                }
            }
            examined += 1;
            if !cursor.advance() {
                PeekMut::pop(cursor);
            }
        }
        Progress::Exhausted
    }

    /// Does the work of [`Index::find`] for every event in a range that the index has.
    fn slice(
        &self,
        span: PositionRange,
        direction: Direction,
        max: usize,
        out: &mut Vec<Arc<SequencedEvent>>,
    ) -> Progress {
        let len = (span.through - span.after) as usize;
        let count = len.min(max).min(MAX_EXAMINED);
        let from = (span.after - self.base) as usize;
        let to = (span.through - self.base) as usize;
        if direction.is_backward() {
            out.extend(self.events[to - count..to].iter().rev().cloned());
        } else {
            out.extend(self.events[from..from + count].iter().cloned());
        }
        match () {
            () if count == len => Progress::Exhausted,
            () if direction.is_backward() => {
                Progress::Reached(span.through.next().saturating_sub(count as u64))
            }
            () => Progress::Reached(span.after + count),
        }
    }

    /// Calls `each` with runs that contain every match of `item` in `span`. That is the run of its
    /// rarest tag or, if they are shorter together, the runs of its types.
    fn each_run<'a>(
        &'a self,
        item: &'a QueryItem,
        span: PositionRange,
        mut each: impl FnMut(Run<'a>),
    ) {
        let run = |term| {
            let postings = self.terms.get(self.filed(term))?;
            let left = postings.range(span);
            (!left.is_empty()).then_some(Run { item, postings, left })
        };
        let mut rarest: Option<Run<'a>> = None;
        for tag in item.tags().iter() {
            let Some(run) = run(tag.term()) else { return };
            if rarest.as_ref().is_none_or(|rarest| run.left.len() < rarest.left.len()) {
                rarest = Some(run);
            }
        }
        let types = || item.types().iter().filter_map(|wanted| run(wanted.term()));
        match rarest {
            Some(rarest) if item.types().is_empty() || !is_rarer(types(), rarest.left.len()) => {
                each(rarest);
            }
            _ => types().for_each(each),
        }
    }
}

/// Returns whether `item` matches `event`. It examines only the type and the tags, since building a
/// whole view of the event would take longer than the comparison.
fn allows(item: &QueryItem, event: &SequencedEvent) -> bool {
    item.allows(event.event.event_type(), event.event.tags())
}

/// Returns whether `runs` have fewer than `count` positions together.
fn is_rarer<'a>(runs: impl Iterator<Item = Run<'a>>, count: usize) -> bool {
    let mut left = count;
    for run in runs {
        match left.checked_sub(run.left.len()) {
            None | Some(0) => return false,
            Some(rest) => left = rest,
        }
    }
    left > 0
}

/// Returns the items of a query, or `None` if it matches every event.
fn selective_items(query: &Query) -> Option<&[QueryItem]> {
    query.items().filter(|_| !query.is_all())
}
