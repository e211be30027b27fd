//! How events are printed: the formats, and the fields that are asked for.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use dcb::{EventView, Position};

use crate::cloudevents;
use crate::csv;
use crate::exit::Failure;
use crate::json;
use crate::table::{self, EventTable};

/// A format of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table, as wide as the terminal.
    Table,
    /// The JSON document of a read result.
    Json,
    /// A JSON object a line.
    Ndjson,
    /// A CloudEvent as JSON a line.
    Cloudevents,
    /// Comma-separated values with a header.
    Csv,
}

/// A part of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // each is named as in the documents
pub enum Field {
    Position,
    Type,
    Tags,
    Data,
    Id,
    Metadata,
    Timestamp,
}

impl Field {
    /// Every field, in the order of the documents.
    pub const ALL: [Field; 7] = [
        Field::Position,
        Field::Type,
        Field::Tags,
        Field::Data,
        Field::Id,
        Field::Metadata,
        Field::Timestamp,
    ];

    /// Returns the name that documents have for the field.
    pub fn name(self) -> &'static str {
        match self {
            Field::Position => "position",
            Field::Type => "type",
            Field::Tags => "tags",
            Field::Data => "data",
            Field::Id => "id",
            Field::Metadata => "metadata",
            Field::Timestamp => "timestamp",
        }
    }
}

/// How to print events.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Output")]
pub struct OutputArguments {
    /// The format; a table on a terminal, else ndjson, if not given
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// The same as `--output json`
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
    /// Only the data of each event
    #[arg(long)]
    pub data_only: bool,
    /// Only these fields, such as `position,type,data`
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "FIELDS",
        conflicts_with = "data_only"
    )]
    pub fields: Vec<Field>,
}

/// Prints events to stdout.
pub struct EventPrinter {
    out: Box<dyn Write>,
    format: Format,
    /// The fields to print, or nothing for what the format shows by default.
    fields: Vec<Field>,
    data_only: bool,
    table: EventTable,
    has_begun: bool,
    text: Vec<u8>,
}

impl EventPrinter {
    /// Returns a printer to stdout.
    pub fn new(arguments: &OutputArguments) -> Result<Self, Failure> {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let format = match (arguments.output, arguments.json) {
            (_, true) => Format::Json,
            (Some(format), _) => format,
            (None, _) if is_terminal => Format::Table,
            (None, _) => Format::Ndjson,
        };
        let is_narrowed = arguments.data_only || !arguments.fields.is_empty();
        if format == Format::Cloudevents && is_narrowed {
            return Err(Failure::usage(
                "a CloudEvent has fields of its own: use --fields and --data-only with another format",
            ));
        }
        let width = if is_terminal { table::terminal_width() } else { None };
        Ok(EventPrinter {
            out: Box::new(io::BufWriter::with_capacity(1 << 16, stdout.lock())),
            format,
            table: EventTable::new(&arguments.fields, arguments.data_only, is_terminal, width),
            fields: arguments.fields.clone(),
            data_only: arguments.data_only,
            has_begun: false,
            text: Vec::new(),
        })
    }

    /// Prints an event, now or with [`EventPrinter::flush`].
    pub fn event(&mut self, event: &EventView<'_>) -> Result<(), Failure> {
        self.text.clear();
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let fields = if self.fields.is_empty() { &Field::ALL[..] } else { &self.fields };
        match self.format {
            Format::Table => {
                if self.table.event(event) {
                    self.table.print(&mut self.out)?;
                }
            }
            Format::Json | Format::Ndjson => {
                let is_document = self.format == Format::Json;
                if is_document {
                    self.text.extend_from_slice(if is_first { b"{\"events\":[" } else { b"," });
                }
                match self.data_only {
                    true => json::value(&mut self.text, event.data),
                    false => json::event(&mut self.text, event, fields),
                }
                if !is_document {
                    self.text.push(b'\n');
                }
            }
            Format::Cloudevents => {
                cloudevents::write(&mut self.text, event);
                self.text.push(b'\n');
            }
            Format::Csv => {
                let fields = if self.data_only { &[Field::Data][..] } else { fields };
                if is_first {
                    csv::header(&mut self.text, fields);
                }
                csv::record(&mut self.text, event, fields);
            }
        }
        self.out.write_all(&self.text)?;
        Ok(())
    }

    /// Writes what is printed so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.table.print(&mut self.out)?;
        self.out.flush()?;
        Ok(())
    }

    /// Ends the output of a read that is complete up to `position`.
    pub fn finish(mut self, position: Position) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let start = if self.has_begun { "" } else { "{\"events\":[" };
                writeln!(self.out, "{start}],\"position\":{position}}}")?;
            }
            Format::Csv if !self.has_begun => {
                let mut text = Vec::new();
                let fields = match (self.data_only, self.fields.as_slice()) {
                    (true, _) => &[Field::Data][..],
                    (false, []) => &Field::ALL[..],
                    (false, fields) => fields,
                };
                csv::header(&mut text, fields);
                self.out.write_all(&text)?;
            }
            _ => {}
        }
        self.flush()
    }
}
