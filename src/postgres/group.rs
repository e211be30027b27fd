//! A group of appends as the values of one call of the server's function `append`, and its answers.
//!
//! The server checks each request against what is stored. What requests of the same call would do
//! to each other is worked out here, before the call, with the index in memory: which events of
//! earlier requests each condition matches. The server knows which of these are accepted.

use smallvec::SmallVec;

use crate::commit::Appended;
use crate::commit::deadline::Deadline;
use crate::commit::group_commit::Outcome;
use crate::domain::{
    AppendCondition, AppendRequest, Direction, Event, PositionRange, Query, Verdict, check_ids,
};
use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, has};
use crate::index::{Index, PreparedEvents, Progress};
use crate::position::Position;
use crate::postgres::values::{Row, Values, array_literal};

/// The number of events with which a call is full, unless its first request has more.
const MAX_EVENTS: usize = 4_096;
/// The number of bytes with which a call is full, unless its first request has more.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The number of matches between requests of a call with which it is full.
const MAX_PAIRS: usize = 4_096;

/// A request with all that can be made of it before its turn.
#[derive(Debug)]
pub struct PreparedAppend {
    prepared: PreparedEvents,
    conditions: SmallVec<[AppendCondition; 1]>,
    bytes: usize,
    /// The deadline of its call, for as long as nothing of it is stored.
    pub deadline: Deadline,
}

impl PreparedAppend {
    /// Prepares a request. Fails with `no_memory`.
    pub fn new(request: AppendRequest, deadline: Deadline) -> Result<Self> {
        let (events, conditions) = request.into_parts();
        let bytes = events.iter().map(|event| event.row_text().len()).sum();
        let prepared = PreparedEvents::new(events)?;
        Ok(PreparedAppend { prepared, conditions, bytes, deadline })
    }

    /// Returns how many events the request has.
    pub fn len(&self) -> usize {
        self.prepared.sequenced().len()
    }

    /// Returns its event, if it is the only one, and if the server sets its time.
    pub fn only_event(&self) -> Option<&Event> {
        let event = self.prepared.events().next()?;
        (self.len() == 1 && self.prepared.given_times().is_empty()).then_some(event)
    }

    /// Returns its conditions.
    pub fn conditions(&self) -> &[AppendCondition] {
        &self.conditions
    }
}

/// Which events of earlier requests of a call the conditions of later ones match: one entry of each
/// list for each match, in the order of the later requests.
#[derive(Debug, Default)]
struct Pairs {
    request: Vec<i32>,
    condition: Vec<i32>,
    after: Vec<Position>,
    earlier: Vec<i32>,
    place: Vec<i32>,
}

/// The requests of a call that are planned so far, as if all of them were stored from position 1.
struct Staged {
    index: Index,
    /// The position before the first event of each request.
    bases: Vec<Position>,
    pairs: Pairs,
}

impl Staged {
    fn new() -> Self {
        Staged { index: Index::new(Position::START), bases: Vec::new(), pairs: Pairs::default() }
    }

    /// Adds a request. Returns whether it fits: it does not if it has an id in common with an
    /// earlier one, or if its conditions match too many events of earlier ones.
    fn add(&mut self, request: &mut PreparedAppend) -> bool {
        let repeats = |id| self.index.position_of_id(id).is_some();
        if request.prepared.events().filter_map(|event| event.id()).any(repeats) {
            return false;
        }
        let mut pairs = Vec::new();
        if !self.index.is_empty() && !has(SeededBug::ForgetGroup) {
            for (condition, own) in (0..).zip(&request.conditions) {
                if !self.find(condition, own, &mut pairs) {
                    return false;
                }
            }
        }
        // Both counts are bounded by the limits of a call.
        let number = self.bases.len() as i32 + 1;
        for (condition, after, position) in pairs {
            let earlier = self.bases.partition_point(|&base| base < position);
            self.pairs.request.push(number);
            self.pairs.condition.push(condition);
            self.pairs.after.push(after);
            self.pairs.earlier.push(earlier as i32);
            self.pairs.place.push((position - self.bases[earlier - 1]) as i32);
        }
        let base = self.index.head();
        self.bases.push(base);
        request.prepared.place(base, 0);
        request.prepared.add_to(&mut self.index);
        true
    }

    /// Finds what a condition matches. Returns whether that is not too much.
    fn find(
        &self,
        number: i32,
        condition: &AppendCondition,
        pairs: &mut Vec<(i32, Position, Position)>,
    ) -> bool {
        let mut span = PositionRange { after: Position::START, through: Position::MAX };
        let mut found = Vec::new();
        loop {
            let (query, max) = (condition.query(), MAX_PAIRS);
            let progress = self.index.find(query, span, Direction::Forward, max, &mut found);
            let matches = found.drain(..).map(|event| (number, condition.after(), event.position));
            pairs.extend(matches);
            if self.pairs.request.len() + pairs.len() > MAX_PAIRS {
                return false;
            }
            match progress {
                Progress::Exhausted => return true,
                Progress::Reached(position) => span.after = position,
            }
        }
    }
}

/// Returns how many of the requests one call takes, and the values of that call. `append_ids` gives
/// the id of each request. At least one request is taken, and at most `max`.
pub fn plan(
    requests: &mut [PreparedAppend],
    max: usize,
    lock_ms: i32,
    append_ids: impl Fn(usize) -> [u8; 16],
) -> (usize, Values) {
    let mut staged = Staged::new();
    // A request that is alone in its call has nothing to be compared with.
    let max = max.min(requests.len());
    let (mut events, mut bytes, mut count) = (0, 0, 0);
    for request in &mut requests[..max] {
        events += request.len();
        bytes += request.bytes;
        let has_room = events <= MAX_EVENTS && bytes <= MAX_BYTES;
        let fits = has_room && max > 1 && staged.add(request);
        if fits || count == 0 {
            count += 1;
        }
        if !fits {
            break;
        }
    }
    let values = values(&requests[..count], &staged.pairs, lock_ms, append_ids);
    (count, values)
}

fn values(
    requests: &[PreparedAppend],
    pairs: &Pairs,
    lock_ms: i32,
    append_ids: impl Fn(usize) -> [u8; 16],
) -> Values {
    let mut values = Values::new();
    let append_ids: Vec<_> = (0..requests.len()).map(append_ids).collect();
    values.uuids(&append_ids).int(lock_ms);
    add_events(requests, &mut values);
    add_conditions(requests, &mut values);
    values
        .ints(&pairs.request)
        .ints(&pairs.condition)
        .positions(&pairs.after)
        .ints(&pairs.earlier)
        .ints(&pairs.place);
    values
}

fn add_events(requests: &[PreparedAppend], values: &mut Values) {
    let (mut numbers, mut places, mut types) = (Vec::new(), Vec::new(), Vec::new());
    let (mut tags, mut data) = (Vec::new(), Vec::new());
    let (mut metadata, mut ids, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for (number, request) in (1..).zip(requests) {
        let given = request.prepared.given_times();
        times.extend((0..request.len()).map(|place| given.get(place).copied().flatten()));
        for (place, event) in (1..).zip(request.prepared.events()) {
            numbers.push(number);
            places.push(place);
            types.push(event.event_type());
            tags.push(array_literal(event.tags().iter()));
            data.push(event.data());
            metadata.push(event.metadata());
            ids.push(event.id());
        }
    }
    if ids.iter().all(Option::is_none) {
        // Saves the server the look-up.
        ids.clear();
    }
    if times.iter().all(Option::is_none) {
        // The server sets the time of every event.
        times.clear();
    }
    values
        .ints(&numbers)
        .ints(&places)
        .texts(&types)
        .texts(&tags)
        .texts(&data)
        .optional_texts(&metadata)
        .optional_texts(&ids)
        .optional_times(&times);
}

fn add_conditions(requests: &[PreparedAppend], values: &mut Values) {
    let (mut numbers, mut conditions, mut afters) = (Vec::new(), Vec::new(), Vec::new());
    let (mut tags, mut types) = (Vec::new(), Vec::new());
    for (number, request) in (1..).zip(requests) {
        for (condition, own) in (0..).zip(&request.conditions) {
            let mut add = |item_tags: String, item_types: String| {
                numbers.push(number);
                conditions.push(condition);
                afters.push(own.after());
                tags.push(item_tags);
                types.push(item_types);
            };
            for (item_tags, item_types) in items(own.query()) {
                add(item_tags, item_types);
            }
        }
    }
    values.ints(&numbers).ints(&conditions).positions(&afters).texts(&tags).texts(&types);
}

/// Returns the tags and the types of each item of a query, as literals of arrays. A query for every
/// event has one item without any.
fn items(query: &Query) -> Vec<(String, String)> {
    match query.items() {
        Some(items) if !query.is_all() => items
            .iter()
            .map(|item| {
                let tags = array_literal(item.tags().iter().map(|tag| tag.text()));
                (tags, array_literal(item.types().iter().map(|own| own.text())))
            })
            .collect(),
        _ => vec![("{}".to_owned(), "{}".to_owned())],
    }
}

/// A row of the function's result.
#[derive(Debug)]
pub struct Finding<'a> {
    /// The number of the request, from 1.
    pub request: i32,
    /// What it says.
    pub kind: &'a str,
    /// Where.
    pub position: Position,
    /// The place of an event, or the number of a condition.
    pub place: i32,
    /// Whether an event is the same as the one that is stored.
    pub is_same: bool,
}

impl<'a> Finding<'a> {
    /// Reads a row.
    pub fn of_row(row: &'a Row) -> Result<Self> {
        let kind = row.text(1)?;
        Ok(Finding {
            request: row.int(0)?,
            kind,
            position: row.position(2)?,
            place: if kind == "failed" || kind == "found" { row.int(3)? } else { 0 },
            is_same: kind == "found" && row.boolean(4)?,
        })
    }

    /// Reads a row that was written as a text: its columns with blanks between them.
    pub fn of_text(text: &'a str) -> Result<Self> {
        let mut columns = text.split(' ');
        let mut next = || columns.next().ok_or_else(contradiction);
        Ok(Finding {
            request: next()?.parse().map_err(|_| contradiction())?,
            kind: next()?,
            position: next()?
                .parse()
                .map_err(|_| contradiction())
                .and_then(|number| Position::new(number).map_err(|_| contradiction()))?,
            place: next()?.parse().map_err(|_| contradiction())?,
            is_same: next()? == "t",
        })
    }
}

/// What the server says about one request.
#[derive(Debug, Default)]
struct Judgement {
    answer: Option<Result<Appended>>,
    /// Of each of its events whose id is stored: its place from 1, the position of the stored
    /// event, and whether that is the same event.
    found: Vec<(i32, Position, bool)>,
}

/// Returns the outcomes of the requests of a call, in order, and the head.
pub fn judge<'a>(
    requests: &[PreparedAppend],
    findings: impl Iterator<Item = Result<Finding<'a>>>,
) -> Result<(Vec<Outcome>, Position)> {
    let mut judgements: Vec<Judgement> = requests.iter().map(|_| Judgement::default()).collect();
    let mut head = None;
    for finding in findings {
        let Finding { request, kind, position, place, is_same } = finding?;
        if kind == "head" {
            head = Some(position);
            continue;
        }
        let own = usize::try_from(request - 1).ok().and_then(|index| judgements.get_mut(index));
        let own = own.ok_or_else(contradiction)?;
        match kind {
            "stored" => own.answer = Some(Ok(Appended::new(position))),
            "failed" => {
                let condition = usize::try_from(place).map_err(|_| contradiction())?;
                let error = Error::condition_failed(position).of_condition(condition);
                own.answer = Some(Err(error));
            }
            "found" => own.found.push((place, position, is_same)),
            _ => return Err(contradiction()),
        }
    }
    let outcomes = requests
        .iter()
        .zip(judgements)
        .map(|(request, judgement)| {
            let answer = match judgement.answer {
                Some(answer) => answer,
                None => judged_by_ids(request, &judgement.found)?,
            };
            Ok(Outcome::new(answer))
        })
        .collect::<Result<_>>()?;
    Ok((outcomes, head.ok_or_else(contradiction)?))
}

/// Returns the answer to a request of which some ids are stored. The outer error is a contradiction.
fn judged_by_ids(
    request: &PreparedAppend,
    found: &[(i32, Position, bool)],
) -> Result<Result<Appended>> {
    if found.is_empty() {
        return Err(contradiction());
    }
    let place_of = |id: &str| {
        let place = request.prepared.events().position(|event| event.id() == Some(id));
        place.and_then(|place| i32::try_from(place + 1).ok())
    };
    let verdict = check_ids(
        request.prepared.events(),
        |id| {
            let place = place_of(id);
            let stored = found.iter().find(|(own, ..)| Some(*own) == place);
            Ok(stored.map(|(_, position, _)| *position))
        },
        |position, _| Ok(found.iter().any(|(_, own, is_same)| *own == position && *is_same)),
    );
    match verdict {
        Ok(Verdict::Repeated(last)) => Ok(Ok(Appended::repeated(last))),
        Ok(Verdict::New) => Err(contradiction()),
        Err(error) => Ok(Err(error)),
    }
}

/// Returns the error of an answer that cannot be.
pub fn contradiction() -> Error {
    Error::new(
        Status::Internal,
        "the functions in the schema of the store gave an answer that contradicts itself",
    )
}
