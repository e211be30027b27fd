//! Tables for a person to read.

use std::io::{self, Write};

use dcb::EventView;
use unicode_width::UnicodeWidthChar;

use crate::output::Field;
use crate::time;

/// Returns the width of the terminal that stdout is, if it is one.
pub fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// Returns a text without what would control a terminal or turn the direction of writing: such
/// characters are shown as escapes.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let is_harmful = c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match (c, is_harmful) {
            ('\n' | '\r' | '\t', _) => shown.push(' '),
            (_, true) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    shown
}

/// Returns a number of things, such as `1 event` or `2 events`.
pub fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Returns the number of columns that a text takes.
fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Returns a text in at most `most` columns. Where something is cut off, it ends with `…`.
fn shortened(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let (mut shown, mut taken) = (String::new(), 0);
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken + 1 > most {
            break;
        }
        shown.push(c);
    }
    if most > 0 {
        shown.push('…');
    }
    shown
}

/// Rows that are printed in columns. A number is aligned to the right.
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
    /// Whether a column is aligned to the right.
    numbers: Vec<bool>,
    has_header: bool,
}

/// The blanks between two columns.
const GAP: usize = 2;

impl Table {
    /// Returns a table with these columns. One whose name begins with `#` has numbers, and the name
    /// is shown without it.
    pub fn new(columns: &[&'static str]) -> Self {
        Table {
            header: columns.iter().map(|name| name.trim_start_matches('#')).collect(),
            rows: Vec::new(),
            widths: columns.iter().map(|name| width(name.trim_start_matches('#'))).collect(),
            numbers: columns.iter().map(|name| name.starts_with('#')).collect(),
            has_header: true,
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        for (own, cell) in self.widths.iter_mut().zip(&cells) {
            *own = (*own).max(width(cell));
        }
        self.rows.push(cells);
    }

    /// Prints the rows that are not printed yet, before the first ones the header. The last column
    /// is cut where a row is wider than `most`.
    pub fn print(&mut self, out: &mut dyn Write, most: Option<usize>) -> io::Result<()> {
        if std::mem::take(&mut self.has_header) {
            let header: Vec<String> = self.header.iter().map(|name| (*name).to_owned()).collect();
            self.line(out, &header, most)?;
        }
        for cells in std::mem::take(&mut self.rows) {
            self.line(out, &cells, most)?;
        }
        Ok(())
    }

    fn line(&self, out: &mut dyn Write, cells: &[String], most: Option<usize>) -> io::Result<()> {
        let (mut line, mut taken) = (String::new(), 0);
        for (index, cell) in cells.iter().enumerate() {
            let is_last = index + 1 == cells.len();
            let left = most.map_or(usize::MAX, |most| most.saturating_sub(taken));
            let cell = shortened(cell, left);
            let blanks = self.widths[index].saturating_sub(width(&cell));
            if self.numbers[index] {
                line.push_str(&" ".repeat(blanks));
            }
            line.push_str(&cell);
            if !is_last {
                let after = if self.numbers[index] { 0 } else { blanks };
                line.push_str(&" ".repeat(after + GAP));
            }
            taken += width(&cell) + blanks + GAP;
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Events as a table, whose columns are as wide as the first of them need.
pub struct EventTable {
    table: Table,
    fields: Vec<Field>,
    data_only: bool,
    is_terminal: bool,
    width: Option<usize>,
}

impl EventTable {
    /// How many rows are looked at before they are printed.
    const PAGE: usize = 256;
    /// The columns that are shown unless others are asked for.
    const COLUMNS: [Field; 5] =
        [Field::Position, Field::Timestamp, Field::Type, Field::Tags, Field::Data];
    /// The width below which a terminal is narrow: times have no year and no fraction there.
    const NARROW: usize = 100;

    /// Returns a table with the columns `fields`, or the usual ones if there are none.
    pub fn new(fields: &[Field], data_only: bool, is_terminal: bool, width: Option<usize>) -> Self {
        let fields = if fields.is_empty() { &Self::COLUMNS[..] } else { fields };
        let names: Vec<&'static str> = fields
            .iter()
            .map(|field| match field {
                Field::Position => "#position",
                Field::Timestamp => "time",
                field => field.name(),
            })
            .collect();
        EventTable {
            table: Table::new(&names),
            fields: fields.to_vec(),
            data_only,
            is_terminal,
            width,
        }
    }

    /// Adds an event, and returns whether it is time to print.
    pub fn event(&mut self, event: &EventView<'_>) -> bool {
        let cells = match self.data_only {
            true => vec![harmless(event.data)],
            false => self.fields.iter().map(|field| self.cell(*field, event)).collect(),
        };
        self.table.row(cells);
        self.table.rows.len() >= Self::PAGE
    }

    fn is_narrow(&self) -> bool {
        self.width.is_some_and(|width| width < Self::NARROW)
    }

    fn cell(&self, field: Field, event: &EventView<'_>) -> String {
        let text = match field {
            Field::Position => return event.position.to_string(),
            Field::Timestamp if self.is_narrow() => return time::local_short(event.timestamp_us),
            Field::Timestamp if self.is_terminal => return time::local(event.timestamp_us),
            Field::Timestamp => return time::utc(event.timestamp_us),
            Field::Type => event.event_type.to_owned(),
            Field::Tags => event.tags.iter().collect::<Vec<&str>>().join(" "),
            Field::Data => event.data.to_owned(),
            Field::Id => event.id.unwrap_or_default().to_owned(),
            Field::Metadata => event.metadata.unwrap_or_default().to_owned(),
        };
        let is_last = self.fields.last() == Some(&field);
        match self.width {
            // The last column needs room too.
            Some(width) if !is_last => {
                let share = if self.is_narrow() { 5 } else { 3 };
                shortened(&harmless(&text), (width / share).max(8))
            }
            _ => harmless(&text),
        }
    }

    /// Prints what was added since the last time.
    pub fn print(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.table.rows.is_empty() {
            return Ok(());
        }
        if self.data_only {
            self.table.has_header = false;
        }
        self.table.print(out, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_controlled_by_what_an_event_holds() {
        assert_eq!(harmless("a\u{1b}[31m\n\u{202e}b"), "a\\u{1b}[31m \\u{202e}b");
    }

    #[test]
    fn the_last_column_is_cut_to_the_width() {
        let mut table = Table::new(&["#n", "text"]);
        table.row(vec!["7".into(), "一二三四五".into()]);
        table.row(vec!["10".into(), "short".into()]);
        let mut out = Vec::new();
        table.print(&mut out, Some(11)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), " n  text\n 7  一二三…\n10  short\n");
    }
}
