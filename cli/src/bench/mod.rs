//! `dcb bench`: how fast a store is on this machine and its disk.

mod scratch;
mod workload;

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use dcb::{CallOptions, Options};

use crate::exit::Failure;
use crate::json;
use crate::signals;
use crate::store;
use crate::table::Table;
use scratch::Scratch;
use workload::{Bench, Row};

/// What to measure, and for how long.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the store is to be, such as `sqlite:/mnt/new/bench.db`
    #[arg(value_name = "URI")]
    uri: Option<String>,
    /// Append to the store of the URI although it has events
    #[arg(long, requires = "uri")]
    existing: bool,
    /// The events that are loaded before the rest is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    events: u64,
    /// How long each row is measured
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(10..=600_000))]
    time: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was measured, and on what.
struct Report {
    uri: String,
    /// The store's own description: the kind, and the version of the database under it.
    store: String,
    processors: usize,
    events: u64,
    time: u64,
    rows: Vec<Row>,
    /// The median of a sync of the disk, where the store is in a file.
    sync: Option<Duration>,
}

/// Measures the store, and prints a table.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let stop = signals::stop_token()?;
    let scratch = Scratch::new(arguments.uri.as_deref())?;
    let store = store::open(scratch.uri(), &Options::default())?;
    let head = store.head(&CallOptions::default())?;
    if head.get() > 0 && !arguments.existing {
        return Err(Failure::usage(format!(
            "{} has {head} events: to append the events of a measurement to it for good, use --existing",
            store::shown(scratch.uri())
        )));
    }
    let diagnosis = store.diagnose(&CallOptions::default())?;
    let description = match (&diagnosis.sqlite, &diagnosis.postgres) {
        (Some(sqlite), _) => format!("SQLite {}", sqlite.sqlite),
        (None, Some(postgres)) => format!("PostgreSQL {}", postgres.server),
        (None, None) => "memory".to_owned(),
    };
    let folder =
        store::path_of(scratch.uri()).map(|path| path.parent().unwrap_or(Path::new("")).join("."));
    let sync = folder
        .map(|folder| {
            workload::sync(&folder, Duration::from_millis(arguments.time) / 4)
                .map_err(|error| Failure::from(error).at(&folder.display().to_string()))
        })
        .transpose()?;
    let time = Duration::from_millis(arguments.time);
    let mut bench = Bench::new(&*store, arguments.events, time, stop)?;
    bench.run()?;
    let report = Report {
        uri: store::shown(scratch.uri()),
        store: description,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        events: arguments.events,
        time: arguments.time,
        rows: bench.rows,
        sync,
    };
    drop(store);
    let stays = scratch.stays();
    drop(scratch);
    let mut out = io::BufWriter::new(io::stdout().lock());
    match arguments.json {
        true => print_json(&mut out, &report)?,
        false => print(&mut out, &report)?,
    }
    out.flush()?;
    if let Some(how) = stays {
        eprintln!("dcb: {how}");
    }
    Ok(())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn print_json(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let mut text = b"{\"uri\":".to_vec();
    json::string(&mut text, &report.uri);
    text.extend_from_slice(b",\"store\":");
    json::string(&mut text, &report.store);
    let sync = report.sync.map_or("null".to_owned(), |sync| format!("{:.1}", micros(sync)));
    text.extend_from_slice(
        format!(
            ",\"version\":\"{}\",\"processors\":{},\"events\":{},\"time_ms\":{},\"sync_us\":{sync},\"rows\":[",
            env!("CARGO_PKG_VERSION"),
            report.processors,
            report.events,
            report.time,
        )
        .as_bytes(),
    );
    for (index, row) in report.rows.iter().enumerate() {
        text.extend_from_slice(if index > 0 { b",{\"what\":" } else { b"{\"what\":" });
        json::string(&mut text, row.what);
        let micros = |duration: Option<Duration>| {
            duration.map_or("null".to_owned(), |duration| format!("{:.1}", micros(duration)))
        };
        text.extend_from_slice(
            format!(
                ",\"threads\":{},\"unit\":\"{}\",\"per_second\":{:.1},\"p50_us\":{},\"p99_us\":{}}}",
                row.threads,
                row.unit,
                row.per_second,
                micros(row.p50),
                micros(row.p99),
            )
            .as_bytes(),
        );
    }
    text.extend_from_slice(b"]}\n");
    out.write_all(&text)
}

fn print(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let plural = |number: usize, word: &str| {
        format!("{number} {word}{}", if number == 1 { "" } else { "s" })
    };
    writeln!(out, "store      {} ({})", report.uri, report.store)?;
    writeln!(
        out,
        "with       {} of about 250 bytes with two tags; dcb {}, {}, {} ms a row",
        plural(report.events as usize, "event"),
        env!("CARGO_PKG_VERSION"),
        plural(report.processors, "processor"),
        report.time,
    )?;
    writeln!(out)?;
    let mut table = Table::new(&["what", "#threads", "#a second", "unit", "#p50 µs", "#p99 µs"]);
    for row in &report.rows {
        let micros = |duration: Option<Duration>| {
            duration.map_or("-".to_owned(), |duration| format!("{:.0}", micros(duration)))
        };
        table.row(vec![
            row.what.to_owned(),
            row.threads.to_string(),
            format!("{:.0}", row.per_second),
            row.unit.to_owned(),
            micros(row.p50),
            micros(row.p99),
        ]);
    }
    table.print(out, None)?;
    writeln!(out)?;
    let single = report.rows.iter().find(|row| row.what == workload::APPEND && row.threads == 1);
    let Some(sync) = report.sync else {
        return writeln!(out, "No disk of this machine is involved, so no sync is measured.");
    };
    writeln!(
        out,
        "A sync of this disk takes {:.0} µs, so one thread after the other could append {:.0} times a \
         second\nat most.{} Threads that append at the same time share syncs.",
        micros(sync),
        1.0 / sync.as_secs_f64().max(1e-9),
        // A row that was short has none.
        single.and_then(|row| row.p50).map_or_else(String::new, |append| format!(
            " An append of one thread takes {:.0} µs.",
            micros(append)
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_told_where_no_append_ended_in_time() {
        let report = Report {
            uri: "sqlite:a.db".to_owned(),
            store: "SQLite".to_owned(),
            processors: 1,
            events: 1,
            time: 1,
            rows: Vec::new(),
            sync: Some(Duration::from_micros(100)),
        };
        let mut out = Vec::new();
        print(&mut out, &report).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let told = "A sync of this disk takes 100 µs, so one thread after the other could append 10000 \
                    times a second\nat most. Threads that";
        assert!(shown.contains(told), "{shown}");
    }
}
