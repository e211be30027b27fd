//! The values of a statement as texts, for a client that is told no types.

use std::fmt::Write;

use crate::error::Result;
use crate::postgres::values::{
    BIGINT, BIGINT_ARRAY, INT, INT_ARRAY, TEXT, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ_ARRAY, UUID,
    UUID_ARRAY, Values, push_quoted,
};
use crate::postgres::wire::unexpected;

/// The number of microseconds of a day.
const DAY_US: i64 = 86_400_000_000;
/// The Julian day on which PostgreSQL's time begins, 2000-01-01.
const EPOCH_DAY: i64 = 2_451_545;

/// Returns each value as a text that the server reads as the same value.
pub fn text_form(values: &Values) -> Result<Vec<String>> {
    let texts = values.types().iter().zip(values.iter()).map(|(&kind, bytes)| {
        let mut text = String::with_capacity(bytes.len() + 2);
        let written = match kind {
            INT_ARRAY | BIGINT_ARRAY | TEXT_ARRAY | TIMESTAMPTZ_ARRAY | UUID_ARRAY => {
                write_array(&mut text, bytes)
            }
            _ => write_value(&mut text, kind, bytes),
        };
        written.map(|()| text)
    });
    // They were written by the library, so they can be read.
    texts.collect::<Option<_>>().ok_or_else(|| unexpected().into())
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

fn write_array(text: &mut String, mut bytes: &[u8]) -> Option<()> {
    let dimensions = i32::from_be_bytes(*take(&mut bytes)?);
    let _may_have_null: &[u8; 4] = take(&mut bytes)?;
    let kind = u32::from_be_bytes(*take(&mut bytes)?);
    text.push('{');
    if dimensions > 0 {
        let count = i32::from_be_bytes(*take(&mut bytes)?);
        let _first_index: &[u8; 4] = take(&mut bytes)?;
        for index in 0..count {
            if index > 0 {
                text.push(',');
            }
            let Ok(len) = usize::try_from(i32::from_be_bytes(*take(&mut bytes)?)) else {
                text.push_str("NULL");
                continue;
            };
            let (element, rest) = bytes.split_at_checked(len)?;
            bytes = rest;
            match kind {
                TEXT => push_quoted(text, str::from_utf8(element).ok()?),
                _ => write_value(text, kind, element)?,
            }
        }
    }
    text.push('}');
    Some(())
}

fn write_value(text: &mut String, kind: u32, mut bytes: &[u8]) -> Option<()> {
    match kind {
        INT => write!(text, "{}", i32::from_be_bytes(*take(&mut bytes)?)).ok(),
        BIGINT => write!(text, "{}", i64::from_be_bytes(*take(&mut bytes)?)).ok(),
        UUID => bytes.iter().try_for_each(|byte| write!(text, "{byte:02x}").ok()),
        TIMESTAMPTZ => {
            let micros = i64::from_be_bytes(*take(&mut bytes)?);
            let (day, time) = (micros.div_euclid(DAY_US) + EPOCH_DAY, micros.rem_euclid(DAY_US));
            let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            write!(text, "J{day} {hours:02}:{minutes:02}:{seconds:02}.{fraction:06}+00").ok()
        }
        TEXT => {
            text.push_str(str::from_utf8(bytes).ok()?);
            Some(())
        }
        _ => None,
    }
}
