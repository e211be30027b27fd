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
    #[arg(short = 'a', long, value_name = "POSITION", default_value_t = 0)]
    after: i64,
    /// How many of the events that a condition would fail on to print
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
    limit: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
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
    let after = query::position(arguments.after)?;
    let matches = count(&*store, query.clone(), Position::START)?;
    let failing = count(&*store, query.clone(), after)?;
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
            text.extend_from_slice(format!("],\"candidates\":{}}}", item.candidates).as_bytes());
        }
        text.extend_from_slice(
            format!(
                "],\"matches\":{matches},\"after\":{},\"failing\":{failing},\"events\":[",
                arguments.after
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
    writeln!(out, "store       {head} events")?;
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
        writeln!(out, "item {index}      {} candidates", item.candidates)?;
        for name in &item.names {
            writeln!(
                out,
                "            {} events with the {} {}",
                name.events,
                name.kind,
                table::harmless(&name.name)
            )?;
        }
    }
    writeln!(out, "matches     {matches} events")?;
    writeln!(
        out,
        "condition   with after {} it would {}",
        arguments.after,
        match failing {
            0 => "hold".to_owned(),
            1 => "fail on 1 event:".to_owned(),
            events => format!("fail on {events} events, the first at the lowest position:"),
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
    if failing > events.len() as u64 {
        writeln!(out, "            and {} more: see --limit", failing - events.len() as u64)?;
    }
    out.flush()?;
    Ok(())
}

/// Counts the events that have each name of an item. A search for the item looks at the events that
/// have its rarest tag, or at those that have one of its types if these are fewer.
fn cost(store: &dyn Store, item: &QueryItem, head: Position) -> Result<ItemCost, Failure> {
    let mut names = Vec::new();
    let (mut of_types, mut rarest) = (0, None);
    for wanted in item.types().iter() {
        let mut alone = QueryItem::new();
        alone.or_type(EventType::new(wanted.text())?)?;
        let events = count(store, Query::of(vec![alone])?, Position::START)?;
        of_types += events;
        names.push(Candidates { kind: "type", name: wanted.text().to_owned(), events });
    }
    if !item.types().is_empty() {
        rarest = Some(of_types);
    }
    for wanted in item.tags().iter() {
        let mut alone = QueryItem::new();
        alone.and_tag(Tag::new(wanted.text())?)?;
        let events = count(store, Query::of(vec![alone])?, Position::START)?;
        rarest = Some(rarest.map_or(events, |rarest: u64| rarest.min(events)));
        names.push(Candidates { kind: "tag", name: wanted.text().to_owned(), events });
    }
    Ok(ItemCost { names, candidates: rarest.unwrap_or(head.get().unsigned_abs()) })
}

fn count(store: &dyn Store, query: Query, after: Position) -> Result<u64, Failure> {
    let request = ReadRequest::new(query, after, None, None, Direction::Forward);
    let mut count = 0;
    store::for_each(store, request, &CallOptions::default(), |_| {
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}
