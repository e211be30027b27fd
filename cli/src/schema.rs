//! `dcb schema`: the format, tables and size of a store, and the SQL that creates one.

use std::fs;
use std::io::{self, Write};

use dcb::{CallOptions, Diagnosis};

use crate::exit::Failure;
use crate::json;
use crate::store::{self, OpenStore};
use crate::table::Table;

/// Which store to look at, or which schema to create.
#[derive(clap::Args)]
pub struct Arguments {
    /// The store, such as `sqlite:events.db`; may be left out if DCB_URI is set. With `--sql` a
    /// `postgres:` URI, or nothing
    #[arg(value_name = "URI")]
    uri: Option<String>,
    /// Print the SQL that creates a store on a PostgreSQL server, and connect to none
    #[arg(long, conflicts_with = "json")]
    sql: bool,
    /// The name of the schema in the SQL; if not given, that of the URI, or `dcb`
    #[arg(long, value_name = "NAME", requires = "sql")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The tables of a file, and what is in them. `docs/file-format.md` says it all.
const TABLES: [(&str, &str); 5] = [
    ("dcb_events", "the events"),
    ("dcb_filters", "filters of the index"),
    ("dcb_meta", "the format, and counters"),
    ("dcb_postings", "lists of the index"),
    ("dcb_segments", "parts of the index"),
];

/// What a store is made of.
struct Layout {
    kind: &'static str,
    format: Option<i64>,
    events: i64,
    /// The bytes of all of it, on the disk or on the server.
    bytes: Option<u64>,
    /// The names of the tables, and their bytes where the store knows them.
    tables: Vec<(String, Option<i64>)>,
}

/// Prints what a store is made of, or the SQL that creates one.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.sql {
        let name = store::schema_of(arguments.name.as_deref(), arguments.uri.as_deref())?;
        io::stdout().write_all(dcb::postgres_schema(&name)?.as_bytes())?;
        return Ok(());
    }
    let uri = store::given(arguments.uri.as_deref())?;
    let store = store::open_to_read(&uri)?;
    let layout = layout(&store)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match arguments.json {
        true => print_json(&mut out, &layout)?,
        false => print(&mut out, &layout)?,
    }
    out.flush()?;
    Ok(())
}

fn layout(store: &OpenStore) -> Result<Layout, Failure> {
    let Diagnosis { head, sqlite, postgres } = store.diagnose(&CallOptions::default())?;
    let mut layout = Layout {
        kind: "memory",
        format: None,
        events: head.get(),
        bytes: None,
        tables: Vec::new(),
    };
    if let Some(sqlite) = sqlite {
        layout.kind = "sqlite";
        layout.format = Some(sqlite.format);
        let file = sqlite.path.and_then(|path| fs::metadata(path).ok()).map(|file| file.len());
        layout.bytes = file.map(|bytes| bytes + sqlite.log_bytes.unwrap_or(0));
        layout.tables = TABLES.iter().map(|(name, _)| ((*name).to_owned(), None)).collect();
    }
    if let Some(postgres) = postgres {
        layout.kind = "postgres";
        layout.format = Some(postgres.format);
        let bytes: i64 = postgres.tables.iter().map(|table| table.bytes).sum();
        layout.bytes = Some(bytes.unsigned_abs());
        layout.tables =
            postgres.tables.into_iter().map(|table| (table.name, Some(table.bytes))).collect();
    }
    Ok(layout)
}

fn print_json(out: &mut dyn Write, layout: &Layout) -> io::Result<()> {
    let number = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let mut text = format!(
        "{{\"store\":\"{}\",\"format\":{},\"events\":{},\"bytes\":{},\"tables\":[",
        layout.kind,
        number(layout.format.map(|format| format.to_string())),
        layout.events,
        number(layout.bytes.map(|bytes| bytes.to_string())),
    )
    .into_bytes();
    for (index, (name, bytes)) in layout.tables.iter().enumerate() {
        text.extend_from_slice(if index > 0 { b",{\"name\":" } else { b"{\"name\":" });
        json::string(&mut text, name);
        let bytes = number(bytes.map(|bytes| bytes.to_string()));
        text.extend_from_slice(format!(",\"bytes\":{bytes}}}").as_bytes());
    }
    text.extend_from_slice(b"]}\n");
    out.write_all(&text)
}

fn print(out: &mut dyn Write, layout: &Layout) -> io::Result<()> {
    writeln!(out, "store   {}", layout.kind)?;
    if let Some(format) = layout.format {
        writeln!(out, "format  {format}")?;
    }
    writeln!(out, "events  {}", layout.events)?;
    if let Some(bytes) = layout.bytes {
        writeln!(out, "bytes   {bytes}")?;
    }
    if layout.tables.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let has_sizes = layout.tables.iter().any(|(_, bytes)| bytes.is_some());
    let mut table = Table::new(&["table", if has_sizes { "#bytes" } else { "content" }]);
    for (name, bytes) in &layout.tables {
        let content = TABLES.iter().find(|(own, _)| own == name).map_or("", |(_, content)| content);
        let second = bytes.map_or(content.to_owned(), |bytes| bytes.to_string());
        table.row(vec![name.clone(), second]);
    }
    table.print(out, None)
}
