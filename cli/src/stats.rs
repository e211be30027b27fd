//! `dcb stats`: what a store holds, in numbers.

use std::collections::BTreeMap;
use std::io::{self, Write};

use dcb::{CallOptions, EventView, ReadRequest};

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
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
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
        let (time, position) = (event.timestamp_us, event.position);
        self.events += 1;
        self.bytes += event.text_len() as u64;
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
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
    store::for_each(&*store, ReadRequest::default(), &CallOptions::default(), |event| {
        stats.add(event);
        Ok(true)
    })?;
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
    for (key, kind, names, most) in [
        ("types", "type", &stats.types, usize::MAX),
        ("tags", "tag", &stats.tags, top),
        ("tag_keys", "key", &stats.keys, top),
    ] {
        let names = names.sorted();
        write!(out, ",\"{key}\":")?;
        out.write_all(&names::json_of(kind, &names[..names.len().min(most)]))?;
    }
    out.write_all(b",\"days\":[")?;
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
        writeln!(out, "rate        {rate:.1} events a day")?;
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
        if all.len() > most {
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
