//! Finding, in the part of the file that the segments cover, what a query asks for.
//!
//! The oracle of everything here is [`EventReader::scan`] with [`Query::matches`].

use std::ops::ControlFlow;
use std::time::Instant;

use crate::domain::{EventView, Names, PositionRange, Query, QueryItem, Term, Wanted};
use crate::error::Result;
use crate::index::Progress;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::index::segment_list::Segments;

/// Candidates of each list that are gathered at first, and at the most.
const FIRST_CHUNK: usize = 16;
const MAX_CHUNK: usize = 2048;
/// Candidates that are gathered at a time, of all lists of a query together, and positions of
/// another list that are read to narrow them.
const MAX_GATHERED: usize = 65_536;
/// A row that is scanned costs this part of a row that is fetched by its position.
const SCANS_PER_FETCH: u64 = 4;
/// A list longer than this is worth intersecting with others before rows are fetched.
const WORTH_INTERSECTING: u64 = 64;
/// Positions of another list that are worth reading to spare a fetch.
const POSTINGS_PER_FETCH: u64 = 100;
/// Rows between two looks at the clock.
const ROWS_PER_LOOK: u32 = 64;

/// One transaction's view of the events that the segments cover.
pub struct SegmentSearch<'a> {
    /// The source, in a transaction.
    pub source: Source<'a>,
    /// The segments that this transaction sees.
    pub segments: &'a Segments,
    /// When to stop and tell how far one came; `None`: not before the end.
    pub until: Option<Instant>,
}

/// One list of candidates: every event that an item matches is in it.
struct Driver<'q> {
    /// The list is the union of these.
    of: Vec<Term>,
    /// Other demands of the item, each a union, by which the list may be narrowed.
    narrowed_by: Vec<Vec<Term>>,
    item: &'q QueryItem,
}

fn terms(names: Names<'_>) -> Vec<Term> {
    names.iter().map(Wanted::term).collect()
}

impl SegmentSearch<'_> {
    /// Gives `visit` the events in `span` that `query` matches, in order, until it stops.
    /// `span` ends at or below the mark of the segments.
    pub fn search(
        &self,
        decoder: &mut EventReader,
        query: &Query,
        span: PositionRange,
        backwards: bool,
        visit: &mut dyn FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<Progress> {
        let items = match query.items() {
            Some(items) if !query.is_all() => items,
            _ => return self.scan(decoder, query, span, backwards, visit),
        };
        let mut drivers: Vec<Driver<'_>> = Vec::with_capacity(items.len());
        for item in items {
            drivers.push(self.first_choice(item, span)?);
        }
        let (mut rest, mut size, mut planned) = (span, FIRST_CHUNK, false);
        loop {
            let lists: usize = drivers.iter().map(|driver| driver.of.len()).sum();
            size = size.min((MAX_GATHERED / lists.max(1)).max(1));
            let (mut candidates, end) = self.gather(&drivers, rest, backwards, size)?;
            if end.is_some() && !planned {
                // More than a handful: now it pays to know how much more.
                planned = true;
                let mut total = 0;
                for driver in &mut drivers {
                    total += self.best_choice(driver, rest)?;
                }
                if total.saturating_mul(SCANS_PER_FETCH)
                    >= (rest.through - rest.after).unsigned_abs()
                {
                    return self.scan(decoder, query, rest, backwards, visit);
                }
                continue;
            }
            candidates.sort_unstable();
            candidates.dedup();
            if backwards {
                candidates.reverse();
            }
            let (mut reached, mut count) = (None, 0);
            decoder.fetch(self.source, &candidates, |view| {
                count += 1;
                let walk =
                    if query.matches(view) { visit(view)? } else { ControlFlow::Continue(()) };
                if walk.is_break() || count % ROWS_PER_LOOK == 0 && self.is_time() {
                    reached = Some(view.position);
                    return Ok(ControlFlow::Break(()));
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if let Some(position) = reached {
                return Ok(Progress::Reached(position));
            }
            let Some(end) = end else { return Ok(Progress::Exhausted) };
            if backwards {
                rest.through = end - 1;
            } else {
                rest.after = end;
            }
            if rest.after >= rest.through {
                return Ok(Progress::Exhausted);
            }
            if self.is_time() {
                return Ok(Progress::Reached(end));
            }
            size = (size * 4).min(MAX_CHUNK);
        }
    }

    /// The lowest position in `span` whose event `query` matches.
    pub fn first_match(
        &self,
        decoder: &mut EventReader,
        query: &Query,
        span: PositionRange,
    ) -> ReadResult<Option<i64>> {
        let mut first = None;
        self.search(decoder, query, span, false, &mut |view| {
            first = Some(view.position);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first)
    }

    /// The position of the event with this id in `span`.
    pub fn position_of_id(
        &self,
        decoder: &mut EventReader,
        id: &str,
        span: PositionRange,
    ) -> ReadResult<Option<i64>> {
        let mut candidates = Vec::new();
        let term = Term::of_id(id);
        self.segments.collect(self.source, term, span, false, usize::MAX, &mut candidates)?;
        for position in candidates {
            if decoder.at(self.source, position, |view| Ok(view.id == Some(id)))? {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// Looks at every event of the span.
    pub fn scan(
        &self,
        decoder: &mut EventReader,
        query: &Query,
        span: PositionRange,
        backwards: bool,
        visit: &mut dyn FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<Progress> {
        let (mut progress, mut count, all) = (Progress::Exhausted, 0, query.is_all());
        decoder.scan(self.source, span, backwards, |view| {
            count += 1;
            let mut walk = ControlFlow::Continue(());
            if all || query.matches(view) {
                walk = visit(view)?;
            }
            if walk.is_break() || count % ROWS_PER_LOOK == 0 && self.is_time() {
                progress = Progress::Reached(view.position);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(progress)
    }

    fn is_time(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// A list for `item`, chosen with as little reading as possible.
    fn first_choice<'q>(&self, item: &'q QueryItem, span: PositionRange) -> ReadResult<Driver<'q>> {
        let tags = terms(item.tags());
        let of = match tags[..] {
            [] => terms(item.types()),
            [_] => tags,
            [first, ..] => {
                let mut rarest = (u64::MAX, first);
                for tag in tags {
                    let count = self.segments.estimate(self.source, tag, span)?;
                    rarest = rarest.min((count, tag));
                    if count <= FIRST_CHUNK as u64 {
                        break;
                    }
                }
                vec![rarest.1]
            }
        };
        Ok(Driver { of, narrowed_by: Vec::new(), item })
    }

    /// The shortest list for the driver's item, and others to narrow it by; gives its length.
    fn best_choice(&self, driver: &mut Driver<'_>, span: PositionRange) -> ReadResult<u64> {
        let mut lists: Vec<(u64, Vec<Term>)> = Vec::new();
        for tag in driver.item.tags().iter() {
            let count = self.segments.estimate(self.source, tag.term(), span)?;
            lists.push((count, vec![tag.term()]));
        }
        if !driver.item.types().is_empty() {
            let mut count = 0_u64;
            for wanted in driver.item.types().iter() {
                count += self.segments.estimate(self.source, wanted.term(), span)?;
            }
            lists.push((count, terms(driver.item.types())));
        }
        lists.sort();
        let mut lists = lists.into_iter();
        let (length, of) = lists.next().unwrap_or_default();
        driver.of = of;
        if length > WORTH_INTERSECTING {
            driver.narrowed_by = lists
                .filter(|(count, _)| *count < length.saturating_mul(POSTINGS_PER_FETCH))
                .map(|(_, terms)| terms)
                .collect();
        }
        Ok(length)
    }

    /// The candidates of the next stretch of `span`, unsorted, and where the stretch ends;
    /// `None`: it is all of the span.
    fn gather(
        &self,
        drivers: &[Driver<'_>],
        span: PositionRange,
        backwards: bool,
        size: usize,
    ) -> ReadResult<(Vec<i64>, Option<i64>)> {
        let mut candidates = Vec::new();
        let mut end: Option<i64> = None;
        for driver in drivers {
            let own_first = candidates.len();
            let mut own_end: Option<i64> = None;
            for term in &driver.of {
                let first = candidates.len();
                self.segments.collect(
                    self.source,
                    *term,
                    span,
                    backwards,
                    size,
                    &mut candidates,
                )?;
                if candidates.len() - first == size {
                    own_end = nearer(own_end, candidates.last().copied(), backwards);
                }
            }
            self.narrow(driver, span, backwards, own_end, &mut candidates, own_first)?;
            end = nearer(end, own_end, backwards);
        }
        if let Some(end) = end {
            candidates.retain(|own| if backwards { *own >= end } else { *own <= end });
        }
        Ok((candidates, end))
    }

    /// Keeps of the driver's candidates, those from `first` on, the ones that its other lists hold.
    fn narrow(
        &self,
        driver: &Driver<'_>,
        span: PositionRange,
        backwards: bool,
        end: Option<i64>,
        candidates: &mut Vec<i64>,
        first: usize,
    ) -> ReadResult<()> {
        let stretch = match end {
            Some(end) if backwards => PositionRange { after: end - 1, ..span },
            Some(end) => PositionRange { through: end, ..span },
            None => span,
        };
        for union in &driver.narrowed_by {
            let mut other = Vec::new();
            for term in union {
                let room = MAX_GATHERED.saturating_sub(other.len());
                self.segments.collect(self.source, *term, stretch, false, room, &mut other)?;
            }
            if other.len() >= MAX_GATHERED {
                // Not all of them, so it cannot be told what is missing: the rows will tell.
                continue;
            }
            other.sort_unstable();
            let kept: Vec<i64> = candidates
                .drain(first..)
                .filter(|position| other.binary_search(position).is_ok())
                .collect();
            candidates.extend(kept);
        }
        Ok(())
    }
}

/// Which of two ends of a stretch is met first.
fn nearer(left: Option<i64>, right: Option<i64>, backwards: bool) -> Option<i64> {
    match (left, right) {
        (Some(left), Some(right)) => {
            Some(if backwards { left.max(right) } else { left.min(right) })
        }
        (left, right) => left.or(right),
    }
}
