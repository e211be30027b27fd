//! `dcb verify`: whether a store is whole.

use std::collections::HashMap;
use std::io::{self, Write};

use dcb::{
    CallOptions, Direction, EventType, EventView, Position, Query, QueryItem, ReadRequest, Status,
    Store, Tag,
};

use crate::digest::Digest;
use crate::exit::Failure;
use crate::json;
use crate::progress::{Progress, Unit};
use crate::scan::{self, Gap};
use crate::store::{self, StoreArgument};

/// Which store to check.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Read every event, but do not compare the index with the events
    #[arg(long)]
    quick: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the index has to find for a type or a tag.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Found {
    events: u64,
    /// A sum over the positions in which each has its own share.
    sum: u64,
}

impl Found {
    fn add(&mut self, position: i64) {
        self.events += 1;
        // The multiplier of a known mixing function: two sums that agree by accident are unlikely.
        let mixed = position.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.sum = self.sum.wrapping_add(mixed ^ (mixed >> 32));
    }
}

/// A type or a tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Type(Box<str>),
    Tag(Box<str>),
}

impl Name {
    fn query(&self) -> Result<Query, Failure> {
        let mut item = QueryItem::new();
        match self {
            Name::Type(name) => item.or_type(EventType::new(name)?)?,
            Name::Tag(name) => item.and_tag(Tag::new(name)?)?,
        }
        Ok(Query::of(vec![item])?)
    }
}

/// How many problems are printed.
const MOST_PROBLEMS: usize = 20;

/// Reads every event of the store and looks each type and tag up in the index.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.store.open_to_read().map_err(|failure| match failure.status {
        Some(Status::Corrupt | Status::UnsupportedFormat) => failure.and(
            "The store cannot be opened, so nothing can be said about its events: restore a backup.",
        ),
        _ => failure,
    })?;
    let head = store.head(&CallOptions::default())?.get();
    let mut digest = Digest::default();
    let mut names: HashMap<Name, Found> = HashMap::new();
    let bar = Progress::new("events", Unit::Events, Some(head.unsigned_abs()));
    let gaps = scan::scan(&*store, head, |event| {
        digest.add(event);
        if !arguments.quick {
            note(&mut names, event);
        }
        let position = event.position.get();
        if position % 4_096 == 0 {
            bar.reach(position.unsigned_abs());
        }
        Ok(())
    })?;
    drop(bar);
    let mut problems: Vec<String> = gaps.iter().map(told).collect();
    let checked = names.len();
    if gaps.is_empty() {
        check_index(&*store, head, &names, &mut problems)?;
    }
    report(arguments, head, &digest, checked, &gaps, &problems)
}

fn note(names: &mut HashMap<Name, Found>, event: &EventView<'_>) {
    let position = event.position.get();
    let mut add = |name: Name| names.entry(name).or_default().add(position);
    add(Name::Type(event.event_type.into()));
    event.tags.iter().for_each(|tag| add(Name::Tag(tag.into())));
}

fn told(gap: &Gap) -> String {
    match gap.first == gap.last {
        true => format!("position {}: {}", gap.first, gap.reason),
        false => format!("positions {} to {}: {}", gap.first, gap.last, gap.reason),
    }
}

/// Looks up each name in the index and compares what it finds with the events.
fn check_index(
    store: &dyn Store,
    head: i64,
    names: &HashMap<Name, Found>,
    problems: &mut Vec<String>,
) -> Result<(), Failure> {
    let bar = Progress::new("index", Unit::Events, Some(names.len() as u64));
    for (index, (name, expected)) in names.iter().enumerate() {
        let mut found = Found::default();
        let before = Some(Position::clamped(head).next());
        let request =
            ReadRequest::new(name.query()?, Position::START, before, None, Direction::Forward);
        let read = store::try_for_each(store, request, &CallOptions::default(), |event| {
            found.add(event.position.get());
            Ok(true)
        })?;
        let what = match name {
            Name::Type(name) => format!("the type {name:?}"),
            Name::Tag(name) => format!("the tag {name:?}"),
        };
        match read {
            Err(error) => problems.push(format!("index: {what}: {error}")),
            Ok(_) if found != *expected => problems.push(format!(
                "index: {what}: {} events have it, and {} are found",
                expected.events, found.events
            )),
            Ok(_) => {}
        }
        if index % 256 == 0 {
            bar.reach(index as u64);
        }
    }
    Ok(())
}

fn report(
    arguments: &Arguments,
    head: i64,
    digest: &Digest,
    names: usize,
    gaps: &[Gap],
    problems: &[String],
) -> Result<(), Failure> {
    let good = gaps.first().map_or(head, |gap| gap.first - 1);
    let mut out = io::BufWriter::new(io::stdout().lock());
    if arguments.json {
        let mut text = format!(
            "{{\"head\":{head},\"events\":{},\"good_through\":{good},\"names\":{names},\"digest\":\"{}\",\"problems\":[",
            digest.events(),
            digest.hex()
        )
        .into_bytes();
        for (index, problem) in problems.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            json::string(&mut text, problem);
        }
        text.extend_from_slice(b"]}\n");
        out.write_all(&text)?;
    } else {
        writeln!(out, "events   {} of {head} can be read", digest.events())?;
        writeln!(out, "digest   {}", digest.hex())?;
        if arguments.quick {
            writeln!(out, "index    not compared with the events")?;
        } else if gaps.is_empty() {
            writeln!(out, "index    {names} types and tags compared with the events")?;
        }
        for problem in problems.iter().take(MOST_PROBLEMS) {
            writeln!(out, "problem  {problem}")?;
        }
        if problems.len() > MOST_PROBLEMS {
            writeln!(out, "         and {} more: see --json", problems.len() - MOST_PROBLEMS)?;
        }
    }
    out.flush()?;
    if problems.is_empty() {
        return Ok(());
    }
    let uri = store::shown(&arguments.store.uri);
    Err(Failure::new(if gaps.is_empty() {
        format!(
            "{uri}: the events are good and the index is not: dcb copy {uri} to a new store, which \
             writes a new index"
        )
    } else {
        format!(
            "{uri}: good up to position {good}: restore a backup, or dcb salvage {uri} writes all that \
             can be read to a new store"
        )
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn other_positions_have_another_sum() {
        let of = |positions: &[i64]| {
            let mut found = Found::default();
            positions.iter().for_each(|position| found.add(*position));
            found
        };
        let sums: HashSet<u64> =
            [&[1, 4][..], &[2, 3], &[1, 2], &[5]].iter().map(|list| of(list).sum).collect();
        assert_eq!(sums.len(), 4);
        assert_eq!(of(&[1, 2]), of(&[2, 1]));
    }
}
