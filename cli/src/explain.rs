//! `dcb explain`: what a query costs, and which events a condition would fail on.

use std::io::{self, Write};

use dcb::{CallOptions, Direction, EventType, Position, Query, QueryItem, ReadRequest, Store, Tag};

use crate::exit::Failure;
use crate::json;
use crate::output::Field;
use crate::query::{self, QueryArguments};
use crate::store::{self, StoreArgument};
use crate::table;
use crate::time;

/// Which query to explain.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    query: QueryArguments,
    /// The `after` of the condition
    #[arg(
        short = 'a',
        long,
        value_name = "POSITION",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    after: i64,
    /// How many of the events that a condition would fail on to print
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
    limit: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How many matches are counted at most, since each of them is read.
const MOST_COUNTED: u64 = 100_000;

/// A number of events that were read.
struct Count {
    events: u64,
    /// Whether there are no more.
    is_complete: bool,
}

impl Count {
    fn shown(&self) -> String {
        let least = if self.is_complete { "" } else { "at least " };
        format!("{least}{}", table::counted(self.events, "event"))
    }
}

/// How many events have a name of an item.
struct Candidates {
    kind: &'static str,
    name: String,
    events: u64,
}

/// What an item of the query leads to.
struct ItemCost {
    names: Vec<Candidates>,
    /// How many events a search for the item has to look at.
    candidates: u64,
    /// Whether the numbers are those of the index, which may be too high.
    is_estimate: bool,
}

/// Prints how many events have the names of the query, how many match, and which of them would make
/// a condition fail.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let query = arguments.query.query()?;
    let store = arguments.store.open_to_read()?;
    let diagnosis = store.diagnose(&CallOptions::default())?;
    let head = diagnosis.head;
    let indexed = diagnosis.sqlite.map(|sqlite| sqlite.indexed);
    let mut items = Vec::new();
    for item in query.items().unwrap_or_default() {
        items.push(cost(&*store, item, head)?);
    }
    let after = query::after(arguments.after)?;
    let matches = count(&*store, query.clone(), Position::START, MOST_COUNTED)?;
    let failing = count(&*store, query.clone(), after, MOST_COUNTED)?;
    let limit = Some(arguments.limit);
    let request = ReadRequest::new(query, after, None, limit, Direction::Forward);
    let (events, _) = store.read_all(request, &CallOptions::default())?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if arguments.json {
        let mut text = format!(
            "{{\"head\":{head},\"indexed\":{},\"items\":[",
            indexed.map_or("null".to_owned(), |indexed| indexed.to_string())
        )
        .into_bytes();
        for (index, item) in items.iter().enumerate() {
            text.extend_from_slice(if index > 0 { b",{\"names\":[" } else { b"{\"names\":[" });
            for (index, name) in item.names.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                text.extend_from_slice(format!("{comma}{{\"{}\":", name.kind).as_bytes());
                json::string(&mut text, &name.name);
                text.extend_from_slice(format!(",\"events\":{}}}", name.events).as_bytes());
            }
            text.extend_from_slice(
                format!("],\"candidates\":{},\"estimate\":{}}}", item.candidates, item.is_estimate)
                    .as_bytes(),
            );
        }
        text.extend_from_slice(
            format!(
                "],\"matches\":{},\"matches_complete\":{},\"after\":{},\"failing\":{},\
                 \"failing_complete\":{},\"events\":[",
                matches.events,
                matches.is_complete,
                arguments.after,
                failing.events,
                failing.is_complete,
            )
            .as_bytes(),
        );
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            json::event(&mut text, &event.view(), &Field::ALL);
        }
        text.extend_from_slice(b"]}\n");
        out.write_all(&text)?;
        out.flush()?;
        return Ok(());
    }
    let stored = table::counted(head.get().unsigned_abs(), "event");
    writeln!(out, "store       {stored}")?;
    if let Some(indexed) = indexed {
        writeln!(
            out,
            "index       covers the events up to position {indexed} in the file; the {} above it are looked up in memory",
            head - indexed
        )?;
    }
    if items.is_empty() {
        writeln!(out, "query       every event: needs no index")?;
    }
    for (index, item) in items.iter().enumerate() {
        let how = if item.is_estimate { ", as the index counts them" } else { "" };
        let candidates = table::counted(item.candidates, "candidate");
        writeln!(out, "item {index}      {candidates}{how}")?;
        for name in &item.names {
            writeln!(
                out,
                "            {} with the {} {}",
                table::counted(name.events, "event"),
                name.kind,
                table::harmless(&name.name)
            )?;
        }
    }
    writeln!(out, "matches     {}", matches.shown())?;
    writeln!(
        out,
        "condition   with after {} it would {}",
        arguments.after,
        match failing.events {
            0 => "hold".to_owned(),
            1 => "fail on 1 event:".to_owned(),
            _ => format!("fail on {}, the first at the lowest position:", failing.shown()),
        }
    )?;
    for event in &events {
        let view = event.view();
        let tags: Vec<&str> = view.tags.iter().collect();
        writeln!(
            out,
            "            {} {} {} {}",
            event.position,
            time::utc(event.timestamp_us),
            table::harmless(view.event_type),
            table::harmless(&tags.join(" "))
        )?;
    }
    let more = failing.events.saturating_sub(events.len() as u64);
    if more > 0 {
        writeln!(out, "            and {more} more: see --limit")?;
    }
    out.flush()?;
    Ok(())
}

/// Counts the events that have each name of an item. A search for the item looks at the events that
/// have its rarest tag, or at those that have one of its types if these are fewer.
fn cost(store: &dyn Store, item: &QueryItem, head: Position) -> Result<ItemCost, Failure> {
    // What the index does not cover yet, or all where there is none, is read.
    let counted = store.index_counts(item, &CallOptions::default())?;
    let after = counted.as_ref().map_or(Position::START, |counts| counts.through);
    let is_estimate = counted.as_ref().is_some_and(|counts| counts.through > Position::START);
    let mut of_index = counted.map(|counts| counts.events.into_iter());
    let mut events = |query: Query| -> Result<u64, Failure> {
        let before = of_index.as_mut().and_then(Iterator::next).unwrap_or(0);
        Ok(before + count(store, query, after, u64::MAX)?.events)
    };
    let mut names = Vec::new();
    let (mut of_types, mut rarest) = (0, None);
    for wanted in item.types().iter() {
        let mut alone = QueryItem::new();
        alone.or_type(EventType::new(wanted.text())?)?;
        let events = events(Query::of(vec![alone])?)?;
        of_types += events;
        names.push(Candidates { kind: "type", name: wanted.text().to_owned(), events });
    }
    if !item.types().is_empty() {
        rarest = Some(of_types);
    }
    for wanted in item.tags().iter() {
        let mut alone = QueryItem::new();
        alone.and_tag(Tag::new(wanted.text())?)?;
        let events = events(Query::of(vec![alone])?)?;
        rarest = Some(rarest.map_or(events, |rarest: u64| rarest.min(events)));
        names.push(Candidates { kind: "tag", name: wanted.text().to_owned(), events });
    }
    let candidates = rarest.unwrap_or(head.get().unsigned_abs());
    Ok(ItemCost { names, candidates, is_estimate })
}

/// Counts the events that match a query, `most` of them at most.
fn count(store: &dyn Store, query: Query, after: Position, most: u64) -> Result<Count, Failure> {
    let request = ReadRequest::new(query, after, None, None, Direction::Forward);
    let mut count = Count { events: 0, is_complete: true };
    store::for_each(store, request, &CallOptions::default(), |_| {
        count.is_complete = count.events < most;
        count.events += u64::from(count.is_complete);
        Ok(count.is_complete)
    })?;
    Ok(count)
}
