//! `dcb types` and `dcb tags`: the names that the events of a store have.

use std::collections::HashMap;
use std::io::{self, Write};

use dcb::{CallOptions, Direction, EventView, Position, Query, ReadRequest, Store};

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

/// Counts the events that have each name, for a bounded number of names.
///
/// As long as there are no more than so many names, the counts are exact. Beyond that, the names of
/// fewest events are left out, as the algorithm of Misra and Gries does it: when there is no room, the
/// median of all counts is subtracted from each, and the names that have nothing left go. So a name
/// that is not there has no more events than were subtracted in all. The counts of those that are
/// there are exact after [`Names::begin_again`] and a second pass over the same events.
pub struct Names {
    kept: HashMap<Box<str>, Use>,
    /// How many names are kept at most.
    most: usize,
    /// What was subtracted from each count in all.
    left_out: i64,
    /// Whether no other names are taken in.
    is_second_pass: bool,
}

/// How many names are kept at most: about 20 MiB of them.
const MOST: usize = 200_000;

impl Default for Names {
    fn default() -> Self {
        Names::with_most(MOST)
    }
}

impl Names {
    fn with_most(most: usize) -> Self {
        Names { kept: HashMap::new(), most, left_out: 0, is_second_pass: false }
    }

    /// Counts the event at `position` for a name.
    pub fn add(&mut self, name: &str, position: Position) {
        let found = match self.kept.get_mut(name) {
            Some(found) => found,
            None if self.is_second_pass => return,
            None => {
                if self.kept.len() >= self.most {
                    self.make_room();
                }
                self.kept.entry(name.into()).or_default()
            }
        };
        if found.events == 0 {
            found.first = position;
        }
        found.events += 1;
        found.last = position;
    }

    /// Leaves out half of the names, those of fewest events.
    fn make_room(&mut self) {
        let mut counts: Vec<i64> = self.kept.values().map(|found| found.events).collect();
        let middle = counts.len().saturating_sub(1) / 2;
        let (_, &mut median, _) = counts.select_nth_unstable(middle);
        self.left_out += median;
        self.kept.retain(|_, found| {
            found.events -= median;
            found.events > 0
        });
    }

    /// Prepares for counting all events again, for the names that are there.
    pub fn begin_again(&mut self) {
        self.is_second_pass = true;
        self.kept.values_mut().for_each(|found| *found = Use::default());
    }

    /// Returns how many events a name has at most that was left out; `None`: no name was.
    pub fn left_out(&self) -> Option<i64> {
        (self.left_out > 0).then_some(self.left_out)
    }

    /// Returns the names, those of most events first.
    pub fn sorted(&self) -> Vec<(&str, Use)> {
        let mut names: Vec<(&str, Use)> =
            self.kept.iter().map(|(name, found)| (&**name, *found)).collect();
        names.sort_unstable_by(|left, right| {
            right.1.events.cmp(&left.1.events).then_with(|| left.0.cmp(right.0))
        });
        names
    }
}

/// Counts the names of the events of a store. `add` counts those of one event.
fn count(store: &dyn Store, add: impl Fn(&mut Names, &EventView<'_>)) -> Result<Names, Failure> {
    let mut names = Names::default();
    let pass = |names: &mut Names, before| {
        let request =
            ReadRequest::new(Query::all(), Position::START, before, None, Direction::Forward);
        store::for_each(store, request, &CallOptions::default(), |event| {
            add(names, event);
            Ok(true)
        })
    };
    let head = pass(&mut names, None)?;
    if names.left_out().is_some() {
        names.begin_again();
        pass(&mut names, Some(head.next()))?;
    }
    Ok(names)
}

/// Prints the types of the events of a store.
pub fn types(arguments: &TypesArguments) -> Result<(), Failure> {
    let store = arguments.store.open_to_read()?;
    let types = count(&*store, |types, event| types.add(event.event_type, event.position))?;
    print("type", &types, arguments.json)
}

/// Prints the tags of the events of a store.
pub fn tags(arguments: &TagsArguments) -> Result<(), Failure> {
    let (store, prefix) =
        store::with_optional(arguments.first.as_deref(), arguments.second.clone())?;
    let prefix = prefix.as_deref().unwrap_or_default();
    let store = store.open_to_read()?;
    let tags = count(&*store, |tags, event| {
        let wanted = event.tags.iter().filter(|tag| tag.starts_with(prefix));
        wanted.for_each(|tag| tags.add(tag, event.position));
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
    if let Some(note) = note_of(kind, names, usize::MAX) {
        let hint = if kind == "tag" { "; a longer PREFIX selects fewer" } else { "" };
        eprintln!("dcb: {note}{hint}");
    }
    Ok(())
}

/// Returns what is to be said where names were left out, of which the first `shown` are listed.
pub fn note_of(kind: &str, names: &Names, shown: usize) -> Option<String> {
    let left_out = names.left_out()?;
    let next = names.sorted().get(shown).map_or(0, |(_, found)| found.events);
    let most = table::counted(left_out.max(next).unsigned_abs(), "event");
    Some(format!(
        "there are more than {} {kind}s: those that are not listed have at most {most} each",
        names.most
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of which a few have many events and most have one, in an order that is not theirs.
    fn stream(seed: u64) -> Vec<String> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        (0..5_000)
            .map(|_| match next() % 4 {
                0 => format!("often:{}", next() % 5),
                1 => format!("sometimes:{}", next() % 60),
                _ => format!("rare:{}", next() % 3_000),
            })
            .collect()
    }

    #[test]
    fn a_bounded_number_of_names_is_counted_as_by_counting_all() {
        for (seed, most) in [(1, 10_000), (2, 200), (3, 40), (4, 12), (5, 1)] {
            let events = stream(seed);
            let mut all = Names::with_most(usize::MAX);
            let mut some = Names::with_most(most);
            let pass = |names: &mut Names| {
                for (index, name) in events.iter().enumerate() {
                    names.add(name, Position::clamped(index as i64 + 1));
                    assert!(names.kept.len() <= most.max(names.most));
                }
            };
            pass(&mut all);
            pass(&mut some);
            if some.left_out().is_some() {
                some.begin_again();
                pass(&mut some);
            }
            assert_eq!(some.left_out().is_none(), some.kept.len() == all.kept.len(), "{most}");
            assert_eq!(some.left_out().is_none(), most == 10_000);
            let left_out = some.left_out().unwrap_or(0);
            // What each subtraction takes from more than half of the names, no name has left.
            assert!(left_out <= 2 * 5_000 / most as i64 + 1, "{most}: {left_out}");
            for (name, expected) in &all.kept {
                match some.kept.get(name) {
                    Some(found) => assert_eq!(
                        (found.events, found.first, found.last),
                        (expected.events, expected.first, expected.last)
                    ),
                    None => assert!(expected.events <= left_out, "{most}: {name}"),
                }
            }
        }
    }

    #[test]
    fn it_is_said_that_names_are_left_out() {
        let mut names = Names::with_most(2);
        ["a", "b", "a", "c"].iter().for_each(|name| names.add(name, Position::START));
        let said = |names: &Names, shown| note_of("tag", names, shown).unwrap();
        let expected =
            "there are more than 2 tags: those that are not listed have at most 1 event each";
        assert_eq!(said(&names, usize::MAX), expected);
        // One that was counted, but is not shown, may have more than those that were left out.
        (0..9).for_each(|_| names.add("a", Position::START));
        assert!(said(&names, 0).ends_with("at most 10 events each"), "{}", said(&names, 0));
        assert_eq!(said(&names, 1), expected);
        assert_eq!(note_of("type", &Names::default(), 0), None);
    }
}
