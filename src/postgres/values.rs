//! The values of statements and rows in PostgreSQL's binary format.

use std::ops::Range;

use bytes::{BufMut, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::DataRowBody;
use smallvec::SmallVec;

use crate::error::{Error, Result, Status};
use crate::position::Position;

// The built-in types, by the numbers that every server has for them.
pub(super) const BIGINT: u32 = 20;
pub(super) const INT: u32 = 23;
pub(super) const TEXT: u32 = 25;
pub(super) const INT_ARRAY: u32 = 1007;
pub(super) const TEXT_ARRAY: u32 = 1009;
pub(super) const BIGINT_ARRAY: u32 = 1016;
pub(super) const TIMESTAMPTZ: u32 = 1184;
pub(super) const TIMESTAMPTZ_ARRAY: u32 = 1185;
pub(super) const UUID_ARRAY: u32 = 2951;
pub(super) const UUID: u32 = 2950;

/// The microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH_US: i64 = 946_684_800_000_000;

/// The values of a statement's parameters, in order.
#[derive(Debug, Default)]
pub struct Values {
    types: Vec<u32>,
    /// Where each value ends in `bytes`.
    ends: Vec<usize>,
    bytes: BytesMut,
}

impl Values {
    /// Returns an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the types of the parameters.
    pub fn types(&self) -> &[u32] {
        &self.types
    }

    /// Returns the number of bytes of all values.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the bytes of each value.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().enumerate().map(|(index, &end)| {
            let start = if index == 0 { 0 } else { self.ends[index - 1] };
            &self.bytes[start..end]
        })
    }

    fn end(&mut self, kind: u32) -> &mut Self {
        self.types.push(kind);
        self.ends.push(self.bytes.len());
        self
    }

    /// Adds a `bigint`.
    pub fn bigint(&mut self, value: i64) -> &mut Self {
        self.bytes.put_i64(value);
        self.end(BIGINT)
    }

    /// Adds a position as a `bigint`.
    pub fn position(&mut self, value: Position) -> &mut Self {
        self.bigint(value.get())
    }

    /// Adds an `int`.
    pub fn int(&mut self, value: i32) -> &mut Self {
        self.bytes.put_i32(value);
        self.end(INT)
    }

    /// Adds a `text`.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.bytes.put_slice(value.as_bytes());
        self.end(TEXT)
    }

    /// Adds a `uuid`.
    pub fn uuid(&mut self, value: [u8; 16]) -> &mut Self {
        self.bytes.put_slice(&value);
        self.end(UUID)
    }

    /// Adds an `int[]`.
    pub fn ints(&mut self, values: &[i32]) -> &mut Self {
        self.array(INT, values, |value, bytes| {
            bytes.put_i32(4);
            bytes.put_i32(*value);
        });
        self.end(INT_ARRAY)
    }

    /// Adds positions as a `bigint[]`.
    pub fn positions(&mut self, values: &[Position]) -> &mut Self {
        self.array(BIGINT, values, |value, bytes| {
            bytes.put_i32(8);
            bytes.put_i64(value.get());
        });
        self.end(BIGINT_ARRAY)
    }

    /// Adds a `uuid[]`.
    pub fn uuids(&mut self, values: &[[u8; 16]]) -> &mut Self {
        self.array(UUID, values, |value, bytes| {
            bytes.put_i32(16);
            bytes.put_slice(value);
        });
        self.end(UUID_ARRAY)
    }

    /// Adds a `text[]`.
    pub fn texts<T: AsRef<str>>(&mut self, values: &[T]) -> &mut Self {
        self.array(TEXT, values, |value, bytes| put_text(value.as_ref(), bytes));
        self.end(TEXT_ARRAY)
    }

    /// Adds a `text[]` in which a text may be NULL.
    pub fn optional_texts(&mut self, values: &[Option<&str>]) -> &mut Self {
        self.array(TEXT, values, |value, bytes| match value {
            Some(text) => put_text(text, bytes),
            None => bytes.put_i32(-1),
        });
        self.end(TEXT_ARRAY)
    }

    /// Adds times, in microseconds since 1970, as a `timestamptz[]` in which one may be NULL.
    pub fn optional_times(&mut self, values: &[Option<i64>]) -> &mut Self {
        self.array(TIMESTAMPTZ, values, |value, bytes| match value {
            Some(micros) => {
                bytes.put_i32(8);
                bytes.put_i64(micros.saturating_sub(EPOCH_US));
            }
            None => bytes.put_i32(-1),
        });
        self.end(TIMESTAMPTZ_ARRAY)
    }

    fn array<T>(&mut self, kind: u32, values: &[T], put: impl Fn(&T, &mut BytesMut)) {
        let bytes = &mut self.bytes;
        bytes.put_i32(i32::from(!values.is_empty()));
        // Whether there may be a NULL.
        bytes.put_i32(1);
        bytes.put_u32(kind);
        if !values.is_empty() {
            // The limits on a request keep the number far below 2^31.
            bytes.put_i32(values.len() as i32);
            bytes.put_i32(1);
        }
        values.iter().for_each(|value| put(value, bytes));
    }
}

fn put_text(text: &str, bytes: &mut BytesMut) {
    bytes.put_i32(text.len() as i32);
    bytes.put_slice(text.as_bytes());
}

/// Writes texts as the literal of a `text[]`, by which a list of lists is passed.
pub fn array_literal<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut literal = String::from("{");
    for text in texts {
        if literal.len() > 1 {
            literal.push(',');
        }
        push_quoted(&mut literal, text);
    }
    literal.push('}');
    literal
}

/// Adds a text to the literal of an array, in quotes.
pub(super) fn push_quoted(literal: &mut String, text: &str) {
    literal.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            literal.push('\\');
        }
        literal.push(character);
    }
    literal.push('"');
}

/// A row that the server returned.
#[derive(Debug)]
pub struct Row {
    body: DataRowBody,
    columns: SmallVec<[Option<Column>; COLUMNS]>,
}

/// Where the value of a column is.
#[derive(Debug, Clone, Copy)]
struct Column {
    start: u32,
    end: u32,
}

/// How many columns a row has room for without further memory: those of an event.
const COLUMNS: usize = 9;

impl Row {
    /// Returns the row of a message, or an error if its lengths contradict each other.
    pub fn new(body: DataRowBody) -> std::io::Result<Self> {
        // A message has less than 2 GiB.
        let column =
            |range: Range<usize>| Column { start: range.start as u32, end: range.end as u32 };
        let mut columns = SmallVec::new();
        body.ranges().for_each(|range| {
            columns.push(range.map(column));
            Ok(())
        })?;
        Ok(Row { body, columns })
    }

    fn bytes(&self, column: usize) -> Option<&[u8]> {
        let column = (*self.columns.get(column)?)?;
        self.body.buffer().get(column.start as usize..column.end as usize)
    }

    /// Returns whether a column is NULL or missing.
    pub fn is_null(&self, column: usize) -> bool {
        self.bytes(column).is_none()
    }

    /// Returns how many bytes the row has.
    pub fn len_bytes(&self) -> usize {
        self.body.buffer().len()
    }

    /// Returns a `bigint`.
    pub fn bigint(&self, column: usize) -> Result<i64> {
        let bytes = self.bytes(column).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i64::from_be_bytes).ok_or_else(|| wrong(column))
    }

    /// Returns a `bigint` that is a position.
    pub fn position(&self, column: usize) -> Result<Position> {
        Position::new(self.bigint(column)?).map_err(|_| wrong(column))
    }

    /// Returns an `int`.
    pub fn int(&self, column: usize) -> Result<i32> {
        let bytes = self.bytes(column).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i32::from_be_bytes).ok_or_else(|| wrong(column))
    }

    /// Returns a `boolean`.
    pub fn boolean(&self, column: usize) -> Result<bool> {
        match self.bytes(column) {
            Some([byte]) => Ok(*byte != 0),
            _ => Err(wrong(column)),
        }
    }

    /// Returns a `uuid`, which may be NULL.
    pub fn optional_uuid(&self, column: usize) -> Result<Option<[u8; 16]>> {
        let uuid = self.bytes(column).map(<[u8; 16]>::try_from);
        uuid.transpose().map_err(|_| wrong(column))
    }

    /// Returns a `timestamptz` in microseconds since 1970.
    pub fn timestamp(&self, column: usize) -> Result<i64> {
        Ok(self.bigint(column)?.saturating_add(EPOCH_US))
    }

    /// Returns a `text`, which may be NULL.
    pub fn optional_text(&self, column: usize) -> Result<Option<&str>> {
        self.bytes(column).map(str::from_utf8).transpose().map_err(|_| wrong(column))
    }

    /// Returns a `text`.
    pub fn text(&self, column: usize) -> Result<&str> {
        self.optional_text(column)?.ok_or_else(|| wrong(column))
    }

    /// Returns the numbers of a `bigint[]` of this length.
    pub fn bigints<const N: usize>(&self, column: usize) -> Result<[i64; N]> {
        let bytes = self.bytes(column).ok_or_else(|| wrong(column))?;
        read_bigints(bytes).ok_or_else(|| wrong(column))
    }

    /// Adds the texts of a `text[]` to `texts`.
    pub fn texts<'a>(&'a self, column: usize, texts: &mut Vec<&'a str>) -> Result<()> {
        let bytes = self.bytes(column).ok_or_else(|| wrong(column))?;
        read_texts(bytes, texts).ok_or_else(|| wrong(column))
    }
}

fn read_texts<'a>(mut bytes: &'a [u8], texts: &mut Vec<&'a str>) -> Option<()> {
    let number = |bytes: &mut &'a [u8]| {
        let (first, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(i32::from_be_bytes(*first))
    };
    let dimensions = number(&mut bytes)?;
    number(&mut bytes)?;
    number(&mut bytes)?;
    if dimensions == 0 {
        return Some(());
    }
    let count = number(&mut bytes)?;
    number(&mut bytes)?;
    if dimensions != 1 {
        return None;
    }
    for _ in 0..count {
        let len = usize::try_from(number(&mut bytes)?).ok()?;
        let (text, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        texts.push(str::from_utf8(text).ok()?);
    }
    Some(())
}

/// Reads an array of one dimension, after whose header of 20 bytes each number has its length before it.
fn read_bigints<const N: usize>(bytes: &[u8]) -> Option<[i64; N]> {
    let (header, elements) = bytes.split_first_chunk::<20>()?;
    let mut numbers = [0; N];
    if header[..4] != 1_i32.to_be_bytes() || elements.len() != 12 * N {
        return None;
    }
    for (number, element) in numbers.iter_mut().zip(elements.chunks_exact(12)) {
        let (len, value) = element.split_first_chunk::<4>()?;
        if *len != 8_i32.to_be_bytes() {
            return None;
        }
        *number = i64::from_be_bytes(value.try_into().ok()?);
    }
    Some(numbers)
}

fn wrong(column: usize) -> Error {
    Error::new(
        Status::Corrupt,
        format!("the PostgreSQL server returned a value of an unexpected type in column {column}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_of_texts_is_read_as_it_was_written() {
        for texts in [&[][..], &["a"], &["", "é\"\\{}", "b"]] {
            let mut values = Values::new();
            values.texts(texts);
            let mut read = Vec::new();
            read_texts(values.iter().next().unwrap(), &mut read).unwrap();
            assert_eq!(read, texts);
            // Cut short anywhere, it is not read.
            let bytes = values.iter().next().unwrap();
            for end in 0..bytes.len() {
                assert_eq!(read_texts(&bytes[..end], &mut Vec::new()), None);
            }
        }
    }

    #[test]
    fn an_array_of_numbers_is_read_as_it_was_written() {
        let mut values = Values::new();
        let positions = [0, 7, i64::MAX].map(crate::position::at);
        values.positions(&positions);
        let bytes = values.iter().next().unwrap();
        assert_eq!(read_bigints(bytes), Some([0, 7, i64::MAX]));
        assert_eq!(read_bigints::<2>(bytes), None);
        for end in 0..bytes.len() {
            assert_eq!(read_bigints::<3>(&bytes[..end]), None);
        }
        let mut values = Values::new();
        values.ints(&[1, 2, 3]);
        assert_eq!(read_bigints::<3>(values.iter().next().unwrap()), None);
    }

    #[test]
    fn a_literal_quotes_every_text() {
        let literal = |texts: &[&str]| array_literal(texts.iter().copied());
        assert_eq!(literal(&[]), "{}");
        assert_eq!(literal(&["a", "NULL", "b,c\"\\"]), r#"{"a","NULL","b,c\"\\"}"#);
    }
}
