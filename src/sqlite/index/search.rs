//! Planning and running a query over the positions that the segments cover.
//!
//! The oracle of this module is [`EventReader::scan`] with [`Query::matches`].

use std::ops::ControlFlow;

use crate::domain::{Direction, EventView, Names, PositionRange, Query, QueryItem, Term, Wanted};
use crate::error::Result;
use crate::index::Progress;
use crate::position::Position;
use crate::sqlite::cache::{CacheUse, PostingList};
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::{ReadResult, ReadStop, Source};
use crate::sqlite::index::limit::Limit;
use crate::sqlite::index::segment_list::Segments;

/// How many candidates of each list the first round gathers: as many as a cached list has at most.
const FIRST_CHUNK: usize = PostingList::MAX;
/// How many candidates of each list a later round gathers at most.
const MAX_CHUNK: usize = 2048;
/// A limit on the candidates of all lists in one round, and on the positions of another list that
/// are read to narrow them.
const MAX_GATHERED: usize = 65_536;
/// Reading a row in a scan costs this fraction of fetching a row by its position.
const SCANS_PER_FETCH: u64 = 4;
/// A list longer than this is worth intersecting with others before its rows are fetched.
const WORTH_INTERSECTING: u64 = 64;
/// Reading this many positions of another list is worthwhile if it saves one fetch.
const POSTINGS_PER_FETCH: u64 = 100;
/// How many rows are read between two checks of the clock.
const ROWS_PER_CLOCK_CHECK: u32 = 64;

/// A search in the events that the segments cover, in one transaction.
pub struct SegmentSearch<'a> {
    /// The source of rows, in the transaction.
    pub source: Source<'a>,
    /// The segments that the transaction sees.
    pub segments: &'a Segments,
    /// What the reader does with the caches of its store.
    pub cache: CacheUse,
    /// When to stop and return how far the search came.
    pub limit: Limit<'a>,
}

/// What a search looks for, and where.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The query that selects the events.
    pub query: &'a Query,
    /// The positions that are searched.
    pub range: PositionRange,
    /// The order in which the events are visited.
    pub direction: Direction,
}

/// A list of candidates that holds every event that one query item matches.
struct Driver<'q> {
    /// The terms whose postings are the list.
    terms: Vec<Term>,
    /// The item's other criteria, each a union of terms, which can narrow the list.
    narrowed_by: Vec<Vec<Term>>,
    item: &'q QueryItem,
}

fn terms(names: Names<'_>) -> Vec<Term> {
    names.iter().map(Wanted::term).collect()
}

impl SegmentSearch<'_> {
    /// Calls `visit` with the events that `search` looks for, in order, until it breaks. Its range
    /// must end at or below the indexed position.
    pub fn search(
        &self,
        reader: &mut EventReader,
        search: Search<'_>,
        visit: &mut dyn FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<Progress> {
        let Search { query, range, direction } = search;
        let items = match query.items() {
            Some(items) if !query.is_all() => items,
            _ => return self.scan(reader, search, visit),
        };
        let mut drivers: Vec<Driver<'_>> = Vec::with_capacity(items.len());
        for item in items {
            drivers.push(self.first_choice(item, range)?);
        }
        let (mut rest, mut size, mut planned) = (range, FIRST_CHUNK, false);
        loop {
            let lists: usize = drivers.iter().map(|driver| driver.terms.len()).sum();
            size = size.min((MAX_GATHERED / lists.max(1)).max(1));
            let (mut candidates, end) = self.gather(&drivers, rest, direction, size)?;
            self.limit.count((lists + candidates.len()) as u64);
            if end.is_some() && !planned {
                // There is more than one round: now it pays to estimate how much more.
                planned = true;
                let mut total = 0;
                for driver in &mut drivers {
                    total += self.best_choice(driver, rest)?;
                }
                if total.saturating_mul(SCANS_PER_FETCH)
                    >= (rest.through - rest.after).unsigned_abs()
                {
                    return self.scan(reader, Search { range: rest, ..search }, visit);
                }
                continue;
            }
            candidates.sort_unstable();
            candidates.dedup();
            if direction.is_backward() {
                candidates.reverse();
            }
            let (mut reached, mut count) = (None, 0);
            reader.fetch(self.source, &candidates, |view| {
                count += 1;
                let flow =
                    if query.matches(view) { visit(view)? } else { ControlFlow::Continue(()) };
                if flow.is_break() || count % ROWS_PER_CLOCK_CHECK == 0 && self.limit.is_reached() {
                    reached = Some(view.position);
                    return Ok(ControlFlow::Break(()));
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if let Some(position) = reached {
                return Ok(Progress::Reached(position));
            }
            let Some(end) = end else { return Ok(Progress::Exhausted) };
            rest = rest.beyond(end, direction);
            if rest.is_empty() {
                return Ok(Progress::Exhausted);
            }
            if self.limit.is_reached() {
                return Ok(Progress::Reached(end));
            }
            size = (size * 4).min(MAX_CHUNK);
        }
    }

    /// Returns the lowest position in `span` whose event `query` matches. Fails if a limit is
    /// reached before.
    pub fn first_match(
        &self,
        reader: &mut EventReader,
        query: &Query,
        span: PositionRange,
    ) -> ReadResult<Option<Position>> {
        let mut first = None;
        let search = Search { query, range: span, direction: Direction::Forward };
        let progress = self.search(reader, search, &mut |view| {
            first = Some(view.position);
            Ok(ControlFlow::Break(()))
        })?;
        if first.is_none() && progress != Progress::Exhausted {
            return Err(ReadStop::TooMuchWork);
        }
        Ok(first)
    }

    /// Calls `visit` with the event that has this id, if it is in `span`, and returns what `visit`
    /// does. Fails if a limit is reached before.
    pub fn find<T>(
        &self,
        reader: &mut EventReader,
        id: &str,
        span: PositionRange,
        visit: &mut impl FnMut(&EventView<'_>) -> Result<T>,
    ) -> ReadResult<Option<T>> {
        let mut candidates = Vec::new();
        let term = Term::of_id(id);
        self.segments.collect(
            self.source,
            &CacheUse::default(),
            term,
            span,
            Direction::Forward,
            usize::MAX,
            &mut candidates,
        )?;
        for position in candidates {
            if self.limit.is_reached() {
                return Err(ReadStop::TooMuchWork);
            }
            self.limit.count(1);
            let visit = |view: &EventView<'_>| match view.id {
                Some(own) if own == id => visit(view).map(Some),
                _ => Ok(None),
            };
            let value = reader.at(self.source, position, visit)?;
            if value.is_some() {
                return Ok(value);
            }
        }
        Ok(None)
    }

    /// Does what [`Self::search`] does, and reads every event of the range for it.
    pub fn scan(
        &self,
        reader: &mut EventReader,
        search: Search<'_>,
        visit: &mut dyn FnMut(&EventView<'_>) -> Result<ControlFlow<()>>,
    ) -> ReadResult<Progress> {
        let Search { query, range, direction } = search;
        let (mut progress, mut count, all) = (Progress::Exhausted, 0, query.is_all());
        reader.scan(self.source, range, direction, |view| {
            count += 1;
            self.limit.count(1);
            let mut flow = ControlFlow::Continue(());
            if all || query.matches(view) {
                flow = visit(view)?;
            }
            if flow.is_break() || count % ROWS_PER_CLOCK_CHECK == 0 && self.limit.is_reached() {
                progress = Progress::Reached(view.position);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(progress)
    }

    /// Chooses a list for `item` with as little reading as possible.
    fn first_choice<'q>(&self, item: &'q QueryItem, span: PositionRange) -> ReadResult<Driver<'q>> {
        let tags = terms(item.tags());
        let driving = match tags[..] {
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
        Ok(Driver { terms: driving, narrowed_by: Vec::new(), item })
    }

    /// Chooses the shortest list for the driver's item, and others to narrow it by. Returns an
    /// estimate of its length.
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
        let (length, shortest) = lists.next().unwrap_or_default();
        driver.terms = shortest;
        if length > WORTH_INTERSECTING {
            driver.narrowed_by = lists
                .filter(|(count, _)| *count < length.saturating_mul(POSTINGS_PER_FETCH))
                .map(|(_, terms)| terms)
                .collect();
        }
        Ok(length)
    }

    /// Returns the candidates of the next stretch of `span`, unsorted, and where the stretch ends.
    /// `None` means that the stretch is all of `span`.
    fn gather(
        &self,
        drivers: &[Driver<'_>],
        span: PositionRange,
        direction: Direction,
        size: usize,
    ) -> ReadResult<(Vec<Position>, Option<Position>)> {
        let mut candidates = Vec::new();
        let mut end: Option<Position> = None;
        for driver in drivers {
            let driver_first = candidates.len();
            let mut driver_end: Option<Position> = None;
            for term in &driver.terms {
                let first = candidates.len();
                self.segments.collect(
                    self.source,
                    &self.cache,
                    *term,
                    span,
                    direction,
                    size,
                    &mut candidates,
                )?;
                if candidates.len() - first == size {
                    driver_end = nearer(driver_end, candidates.last().copied(), direction);
                }
            }
            self.narrow(driver, span, direction, driver_end, &mut candidates, driver_first)?;
            end = nearer(end, driver_end, direction);
        }
        if let Some(end) = end {
            candidates
                .retain(|own| if direction.is_backward() { *own >= end } else { *own <= end });
        }
        Ok((candidates, end))
    }

    /// Removes the driver's candidates, which start at `first`, that its other lists lack.
    fn narrow(
        &self,
        driver: &Driver<'_>,
        span: PositionRange,
        direction: Direction,
        end: Option<Position>,
        candidates: &mut Vec<Position>,
        first: usize,
    ) -> ReadResult<()> {
        let stretch = match end {
            Some(end) if direction.is_backward() => PositionRange { after: end.previous(), ..span },
            Some(end) => PositionRange { through: end, ..span },
            None => span,
        };
        for union in &driver.narrowed_by {
            let mut other = Vec::new();
            for term in union {
                let room = MAX_GATHERED.saturating_sub(other.len());
                self.segments.collect(
                    self.source,
                    &self.cache,
                    *term,
                    stretch,
                    Direction::Forward,
                    room,
                    &mut other,
                )?;
            }
            self.limit.count(other.len() as u64 / POSTINGS_PER_FETCH);
            if other.len() >= MAX_GATHERED {
                // The list is incomplete, so it cannot exclude a candidate: the rows decide.
                continue;
            }
            other.sort_unstable();
            let kept: Vec<Position> = candidates
                .drain(first..)
                .filter(|position| other.binary_search(position).is_ok())
                .collect();
            candidates.extend(kept);
        }
        Ok(())
    }
}

/// Returns the end that the search reaches first.
fn nearer(
    left: Option<Position>,
    right: Option<Position>,
    direction: Direction,
) -> Option<Position> {
    match (left, right) {
        (Some(left), Some(right)) => {
            Some(if direction.is_backward() { left.max(right) } else { left.min(right) })
        }
        (left, right) => left.or(right),
    }
}
