//! Finding what a query asks for.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;
use std::sync::Arc;

use crate::domain::{PositionRange, Query, QueryItem, SequencedEvent};
use crate::index::Index;
use crate::index::postings::Postings;

/// How many candidates one [`Index::find`] looks at, so that a lock held around it is short.
const MAX_EXAMINED: usize = 4096;

/// How far a [`Index::find`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing more in the span.
    Exhausted,
    /// Everything up to this position (backwards: down to it) was looked at.
    Reached(i64),
}

/// Some positions of one term, all of which an item has to look at.
struct Run<'a> {
    item: &'a QueryItem,
    postings: &'a Postings,
    left: Range<usize>,
}

impl Run<'_> {
    fn positions(&self) -> impl Iterator<Item = i64> + '_ {
        self.left.clone().map(|index| self.postings.get(index))
    }
}

/// A run and the next position to look at, ordered so that the greatest is the first to look at.
struct Cursor<'a> {
    run: Run<'a>,
    next: i64,
    backwards: bool,
}

impl<'a> Cursor<'a> {
    /// `None`: the run is empty.
    fn new(run: Run<'a>, backwards: bool) -> Option<Self> {
        let mut cursor = Cursor { run, next: 0, backwards };
        cursor.advance().then_some(cursor)
    }

    /// Steps to the next position, if there is one.
    fn advance(&mut self) -> bool {
        let left = &mut self.run.left;
        let index = if self.backwards { left.next_back() } else { left.next() };
        index.map(|index| self.next = self.run.postings.get(index)).is_some()
    }
}

impl Ord for Cursor<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let ascending = self.next.cmp(&other.next);
        if self.backwards { ascending } else { ascending.reverse() }
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
    /// The lowest position in `span` whose event `query` matches.
    pub fn first_match(&self, query: &Query, span: PositionRange) -> Option<i64> {
        let mut span = self.clip(span)?;
        let Some(items) = selective_items(query) else { return Some(span.after + 1) };
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
                // Only what is before it can still matter.
                span.through = first - 1;
                if span.after == span.through {
                    break;
                }
            }
        }
        first
    }

    /// Appends to `out` the next events in `span` that `query` matches, `max` at most, ascending
    /// or, if `backwards`, descending. It looks at a bounded number of events and may end early.
    pub fn find(
        &self,
        query: &Query,
        span: PositionRange,
        backwards: bool,
        max: usize,
        out: &mut Vec<Arc<SequencedEvent>>,
    ) -> Progress {
        let Some(span) = self.clip(span) else { return Progress::Exhausted };
        let Some(items) = selective_items(query) else {
            return self.slice(span, backwards, max, out);
        };
        let mut reached = if backwards { span.through + 1 } else { span.after };
        if max == 0 {
            return Progress::Reached(reached);
        }
        let mut cursors = Vec::new();
        for item in items {
            self.each_run(item, span, |run| cursors.extend(Cursor::new(run, backwards)));
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

    /// [`Index::find`] of every event in a span that is held.
    fn slice(
        &self,
        span: PositionRange,
        backwards: bool,
        max: usize,
        out: &mut Vec<Arc<SequencedEvent>>,
    ) -> Progress {
        let len = (span.through - span.after) as usize;
        let count = len.min(max).min(MAX_EXAMINED);
        let from = (span.after - self.base) as usize;
        let to = (span.through - self.base) as usize;
        if backwards {
            out.extend(self.events[to - count..to].iter().rev().cloned());
        } else {
            out.extend(self.events[from..from + count].iter().cloned());
        }
        match () {
            () if count == len => Progress::Exhausted,
            () if backwards => Progress::Reached(span.through + 1 - count as i64),
            () => Progress::Reached(span.after + count as i64),
        }
    }

    /// Calls `each` with the runs that hold every match of `item` in `span`: that of its rarest
    /// tag, or, if they are rarer, those of its types.
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

/// Whether `event` itself is what `item` asks for. By the two parts that this rests on: a whole
/// view of an event takes longer to make than to judge.
fn allows(item: &QueryItem, event: &SequencedEvent) -> bool {
    item.allows(event.event.event_type(), event.event.tags())
}

/// Whether `runs` hold fewer than `count` positions together.
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

/// The items of a query, unless it matches everything.
fn selective_items(query: &Query) -> Option<&[QueryItem]> {
    query.items().filter(|_| !query.is_all())
}
