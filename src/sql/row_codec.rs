//! The encoding in which a host returns rows. It packs many rows into one buffer, so that they take
//! one call.
//!
//! A row is the number of its columns (2 bytes), followed by the columns. A column is a byte for
//! its kind, followed by the value:
//!
//! | kind | value |
//! | --- | --- |
//! | 0, NULL | nothing |
//! | 1, integer | 8 bytes |
//! | 2, text | its length (4 bytes) and its bytes |
//! | 3, blob | its length (4 bytes) and its bytes |
//!
//! All numbers are little-endian.

use crate::error::{Error, Result, Status};
use crate::sql::Value;

/// A reader of packed rows.
pub struct Rows<'a>(&'a [u8]);

impl<'a> Rows<'a> {
    /// Returns a reader of all rows of a reply.
    pub fn new(bytes: &'a [u8]) -> Self {
        Rows(bytes)
    }

    /// Reads the next row into `columns`. Returns `false` if there is none.
    pub fn next(&mut self, columns: &mut Vec<Value<'a>>) -> Result<bool> {
        columns.clear();
        if self.0.is_empty() {
            return Ok(false);
        }
        let count = u16::from_le_bytes(self.array()?);
        for _ in 0..count {
            let [kind] = self.array()?;
            columns.push(match kind {
                0 => Value::Null,
                1 => Value::Integer(i64::from_le_bytes(self.array()?)),
                2 => Value::Text(self.bytes()?),
                3 => Value::Blob(self.bytes()?),
                _ => return Err(broken()),
            });
        }
        Ok(true)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(broken)?;
        self.0 = rest;
        Ok(*head)
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(broken)?;
        self.0 = rest;
        Ok(bytes)
    }
}

fn broken() -> Error {
    Error::new(Status::Internal, "the host's driver returned malformed rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_decoded_and_malformed_ones_are_errors() {
        let bytes = [
            &[4, 0, 0, 1][..],
            &(-7_i64).to_le_bytes(),
            &[2, 2, 0, 0, 0, b'a', b'b', 3, 0, 0, 0, 0],
            &[0, 0],
        ]
        .concat();
        let mut rows = Rows::new(&bytes);
        let mut columns = Vec::new();
        assert_eq!(rows.next(&mut columns), Ok(true));
        let wanted = [Value::Null, Value::Integer(-7), Value::Text(b"ab"), Value::Blob(b"")];
        assert_eq!(columns, wanted);
        assert_eq!(rows.next(&mut columns), Ok(true));
        assert_eq!(columns, []);
        assert_eq!(rows.next(&mut columns), Ok(false));
        for len in 1..bytes.len() - 2 {
            assert_eq!(Rows::new(&bytes[..len]).next(&mut columns), Err(broken()), "{len}");
        }
        assert_eq!(Rows::new(&[1, 0, 4]).next(&mut columns), Err(broken()));
    }
}
