//! `dcb types` and `dcb tags`: the names that the events of a store have.

use std::collections::HashMap;
use std::io::{self, Write};

use dcb::{CallOptions, Position, ReadRequest};

use crate::exit::Failure;
use crate::json;
use crate::store::{self, StoreArgument};
use crate::table::{self, Table};

/// Which store to look at.
#[derive(clap::Args)]
pub struct TypesArguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which tags to print.
#[derive(clap::Args)]
pub struct TagsArguments {
    /// The store, such as `sqlite:events.db`; may be left out if DCB_URI is set
    #[arg(value_name = "URI")]
    first: Option<String>,
    /// Only tags that begin with this, such as `course:`
    #[arg(value_name = "PREFIX")]
    second: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is known of a type or a tag.
#[derive(Default, Clone, Copy)]
pub struct Use {
    /// The number of events that have it.
    pub events: i64,
    /// The position of the first of them.
    pub first: Position,
    /// The position of the last of them.
    pub last: Position,
}

/// Counts the events that have each name.
#[derive(Default)]
pub struct Names(HashMap<Box<str>, Use>);

impl Names {
    /// Counts the event at `position` for a name.
    pub fn add(&mut self, name: &str, position: Position) {
        let found = match self.0.get_mut(name) {
            Some(found) => found,
            None => self.0.entry(name.into()).or_insert(Use { first: position, ..Use::default() }),
        };
        found.events += 1;
        found.last = position;
    }

    /// Returns the names, those of most events first.
    pub fn sorted(&self) -> Vec<(&str, Use)> {
        let mut names: Vec<(&str, Use)> =
            self.0.iter().map(|(name, found)| (&**name, *found)).collect();
        names.sort_unstable_by(|left, right| {
            right.1.events.cmp(&left.1.events).then_with(|| left.0.cmp(right.0))
        });
        names
    }
}

/// Prints the types of the events of a store.
pub fn types(arguments: &TypesArguments) -> Result<(), Failure> {
    let store = arguments.store.open_to_read()?;
    let mut types = Names::default();
    store::for_each(&*store, ReadRequest::default(), &CallOptions::default(), |event| {
        types.add(event.event_type, event.position);
        Ok(true)
    })?;
    print("type", &types, arguments.json)
}

/// Prints the tags of the events of a store.
pub fn tags(arguments: &TagsArguments) -> Result<(), Failure> {
    let default = std::env::var("DCB_URI").ok();
    let (uri, prefix) = match (&arguments.first, &arguments.second, &default) {
        (Some(uri), Some(prefix), _) => (uri, prefix.as_str()),
        (Some(prefix), None, Some(uri)) if !store::is_uri(prefix) => (uri, prefix.as_str()),
        (Some(uri), None, _) | (None, _, Some(uri)) => (uri, ""),
        (None, _, None) => {
            return Err(Failure::usage(
                "which store? Give its URI, such as sqlite:events.db, or set DCB_URI",
            ));
        }
    };
    let store = store::open_to_read(uri)?;
    let mut tags = Names::default();
    store::for_each(&*store, ReadRequest::default(), &CallOptions::default(), |event| {
        event
            .tags
            .iter()
            .filter(|tag| tag.starts_with(prefix))
            .for_each(|tag| tags.add(tag, event.position));
        Ok(true)
    })?;
    print("tag", &tags, arguments.json)
}

fn print(kind: &'static str, names: &Names, is_json: bool) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if is_json {
        out.write_all(&json_of(kind, &names.sorted()))?;
        writeln!(out)?;
    } else {
        let mut table = Table::new(&["#events", "#first", "#last", kind]);
        for (name, found) in names.sorted() {
            let Use { events, first, last } = found;
            table.row(vec![
                events.to_string(),
                first.to_string(),
                last.to_string(),
                table::harmless(name),
            ]);
        }
        table.print(&mut out, table::terminal_width())?;
    }
    out.flush()?;
    Ok(())
}

/// Returns a list of objects, each with a name under the key `kind` and what is known of it.
pub fn json_of(kind: &str, names: &[(&str, Use)]) -> Vec<u8> {
    let mut text = b"[".to_vec();
    for (index, (name, found)) in names.iter().enumerate() {
        text.extend_from_slice(if index > 0 { b",{\"" } else { b"{\"" });
        text.extend_from_slice(kind.as_bytes());
        text.extend_from_slice(b"\":");
        json::string(&mut text, name);
        let Use { events, first, last } = found;
        text.extend_from_slice(
            format!(",\"events\":{events},\"first\":{first},\"last\":{last}}}").as_bytes(),
        );
    }
    text.push(b']');
    text
}
