//! `dcb stats`: what a store holds, in numbers.

use std::collections::BTreeMap;
use std::io::{self, Write};

use dcb::{CallOptions, Direction, EventView, Position, Query, ReadRequest};

use crate::exit::Failure;
use crate::json;
use crate::names::{self, Names};
use crate::store::{self, StoreArgument};
use crate::table::{self, Table};
use crate::time;

/// Which store to look at.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// How many tags, tag keys and days to print
    #[arg(long, value_name = "NUMBER", default_value_t = 10, allow_negative_numbers = true)]
    top: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// What one pass over the events counts.
#[derive(Default)]
struct Stats {
    events: i64,
    /// The bytes of all texts of the events.
    bytes: u64,
    /// The earliest and the latest time.
    times: Option<(i64, i64)>,
    types: Names,
    tags: Names,
    keys: Names,
    days: BTreeMap<String, u64>,
    /// The time of the event before, and its day: most events have the same day as that.
    last_day: Option<(i64, String)>,
}

impl Stats {
    fn add(&mut self, event: &EventView<'_>) {
        let time = event.timestamp_us;
        self.events += 1;
        self.bytes += event.text_len() as u64;
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
        self.add_names(event);
        let day = match &self.last_day {
            Some((before, day)) if *before == time => day.clone(),
            _ => time::day(time),
        };
        match self.days.get_mut(&day) {
            Some(count) => *count += 1,
            None => {
                self.days.insert(day.clone(), 1);
            }
        }
        self.last_day = Some((time, day));
    }

    fn add_names(&mut self, event: &EventView<'_>) {
        let position = event.position;
        self.types.add(event.event_type, position);
        let mut keys: Vec<&str> = Vec::new();
        for tag in event.tags.iter() {
            self.tags.add(tag, position);
            let key = tag.split_once(':').map_or(tag, |(key, _)| key);
            if !keys.contains(&key) {
                keys.push(key);
                self.keys.add(key, position);
            }
        }
    }

    /// Returns the names, each with the key of its list in JSON and that of one of them.
    fn names(&self) -> [(&'static str, &'static str, &Names); 3] {
        [
            ("types", "type", &self.types),
            ("tags", "tag", &self.tags),
            ("tag_keys", "key", &self.keys),
        ]
    }

    /// Returns the events a day between the first and the last time.
    fn rate(&self) -> Option<f64> {
        let (first, last) = self.times?;
        (last > first).then(|| self.events as f64 * MICROS_PER_DAY as f64 / (last - first) as f64)
    }
}

/// Prints what the store holds.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.store.open_to_read()?;
    let mut stats = Stats::default();
    let call = CallOptions::default();
    let head = store::for_each(&*store, ReadRequest::default(), &call, |event| {
        stats.add(event);
        Ok(true)
    })?;
    if stats.names().iter().any(|(_, _, names)| names.left_out().is_some()) {
        let Stats { types, tags, keys, .. } = &mut stats;
        [types, tags, keys].into_iter().for_each(Names::begin_again);
        let request = ReadRequest::new(
            Query::all(),
            Position::START,
            Some(head.next()),
            None,
            Direction::Forward,
        );
        store::for_each(&*store, request, &call, |event| {
            stats.add_names(event);
            Ok(true)
        })?;
    }
    let file_bytes = store::path_of(&arguments.store.uri)
        .and_then(|path| std::fs::metadata(path).ok())
        .map(|file| file.len());
    let mut out = io::BufWriter::new(io::stdout().lock());
    match arguments.json {
        true => print_json(&mut out, &stats, file_bytes, arguments.top)?,
        false => print(&mut out, &stats, file_bytes, arguments.top)?,
    }
    out.flush()?;
    Ok(())
}

fn print_json(
    out: &mut dyn Write,
    stats: &Stats,
    file_bytes: Option<u64>,
    top: usize,
) -> io::Result<()> {
    let number = |number: Option<String>| number.unwrap_or_else(|| "null".to_owned());
    let time =
        |micros: Option<i64>| number(micros.map(|micros| format!("\"{}\"", time::utc(micros))));
    write!(
        out,
        "{{\"events\":{},\"bytes\":{},\"file_bytes\":{},\"first_time\":{},\"last_time\":{},\"events_per_day\":{}",
        stats.events,
        stats.bytes,
        number(file_bytes.map(|bytes| bytes.to_string())),
        time(stats.times.map(|times| times.0)),
        time(stats.times.map(|times| times.1)),
        number(stats.rate().map(|rate| format!("{rate:.3}"))),
    )?;
    for (key, kind, names) in stats.names() {
        let most = if key == "types" { usize::MAX } else { top };
        let names = names.sorted();
        write!(out, ",\"{key}\":")?;
        out.write_all(&names::json_of(kind, &names[..names.len().min(most)]))?;
    }
    out.write_all(b",\"left_out\":{")?;
    for (index, (key, _, names)) in stats.names().iter().enumerate() {
        let left_out = number(names.left_out().map(|events| events.to_string()));
        write!(out, "{}\"{key}\":{left_out}", if index > 0 { "," } else { "" })?;
    }
    out.write_all(b"},\"days\":[")?;
    for (index, (day, count)) in stats.days.iter().enumerate() {
        let mut text = Vec::new();
        json::string(&mut text, day);
        write!(out, "{}{{\"day\":", if index > 0 { "," } else { "" })?;
        out.write_all(&text)?;
        write!(out, ",\"events\":{count}}}")?;
    }
    writeln!(out, "]}}")
}

fn print(
    out: &mut dyn Write,
    stats: &Stats,
    file_bytes: Option<u64>,
    top: usize,
) -> io::Result<()> {
    writeln!(out, "events      {}", stats.events)?;
    let file = file_bytes.map_or(String::new(), |bytes| format!(", {} in the file", size(bytes)));
    writeln!(out, "bytes       {}{file}", size(stats.bytes))?;
    if let Some((first, last)) = stats.times {
        writeln!(out, "first time  {}", time::local(first))?;
        writeln!(out, "last time   {}", time::local(last))?;
    }
    if let Some(rate) = stats.rate() {
        let (rate, unit) = match stats.times {
            Some((first, last)) if last - first < MICROS_PER_DAY / 24 => {
                (rate / 86_400.0, "a second")
            }
            Some((first, last)) if last - first < MICROS_PER_DAY => (rate / 24.0, "an hour"),
            _ => (rate, "a day"),
        };
        writeln!(out, "rate        {rate:.1} events {unit}")?;
    }
    let width = table::terminal_width();
    for (title, names, most) in [
        ("type", &stats.types, usize::MAX),
        ("tag", &stats.tags, top),
        ("tag key", &stats.keys, top),
    ] {
        let all = names.sorted();
        if all.is_empty() {
            continue;
        }
        writeln!(out)?;
        let mut table = Table::new(&["#events", title]);
        for (name, found) in all.iter().take(most) {
            table.row(vec![found.events.to_string(), table::harmless(name)]);
        }
        table.print(out, width)?;
        if let Some(note) = names::note_of(title, names, most) {
            writeln!(out, "{note}: see dcb tags, or --top")?;
        } else if all.len() > most {
            writeln!(out, "and {} more: see dcb tags, or --top", all.len() - most)?;
        }
    }
    print_days(out, stats, top)
}

/// The columns of the longest bar of the chart.
const BAR: u64 = 40;

fn print_days(out: &mut dyn Write, stats: &Stats, top: usize) -> io::Result<()> {
    let skipped = stats.days.len().saturating_sub(top);
    let days: Vec<(&String, &u64)> = stats.days.iter().skip(skipped).collect();
    let Some(most) = days.iter().map(|(_, count)| **count).max() else { return Ok(()) };
    writeln!(out)?;
    let mut table = Table::new(&["day", "#events", ""]);
    for (day, count) in days {
        let bar = (*count * BAR).div_ceil(most);
        table.row(vec![day.clone(), count.to_string(), "█".repeat(bar as usize)]);
    }
    table.print(out, None)?;
    if skipped > 0 {
        writeln!(out, "and {skipped} days before: see --top")?;
    }
    Ok(())
}

/// Returns a number of bytes for a person.
fn size(bytes: u64) -> String {
    let mut shown = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if shown < 1024.0 {
            return if unit == "bytes" {
                format!("{bytes} bytes")
            } else {
                format!("{shown:.1} {unit}")
            };
        }
        shown /= 1024.0;
    }
    format!("{shown:.1} TiB")
}
