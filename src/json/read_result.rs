//! A read result: `{"events": [...], "position": 42}`.

use crate::domain::EventView;
use crate::error::{Error, Result};
use crate::json::timestamp;
use crate::position::Position;

/// A read result under construction.
#[derive(Debug, Default)]
pub struct ReadResult {
    text: Vec<u8>,
}

impl ReadResult {
    /// Returns a result without events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event. After the error `no_memory` the result is unusable.
    pub fn event(&mut self, event: &EventView<'_>) -> Result<()> {
        self.put(if self.text.is_empty() { b"{\"events\":[" } else { b"," })?;
        self.put(b"{\"position\":")?;
        self.put_position(event.position)?;
        self.put(b",\"type\":")?;
        self.put_string(event.event_type)?;
        self.put(b",\"tags\":[")?;
        for (index, tag) in event.tags.iter().enumerate() {
            if index > 0 {
                self.put(b",")?;
            }
            self.put_string(tag)?;
        }
        self.put(b"],\"data\":")?;
        self.put(event.data.as_bytes())?;
        if let Some(id) = event.id {
            self.put(b",\"id\":")?;
            self.put_string(id)?;
        }
        if let Some(metadata) = event.metadata {
            self.put(b",\"metadata\":")?;
            self.put(metadata.as_bytes())?;
        }
        self.put(b",\"timestamp\":\"")?;
        self.put(&timestamp::text(event.timestamp_us))?;
        self.put(b"\"}")
    }

    /// Returns the complete document.
    pub fn finish(mut self, position: Position) -> Result<Vec<u8>> {
        if self.text.is_empty() {
            self.put(b"{\"events\":[")?;
        }
        self.put(b"],\"position\":")?;
        self.put_position(position)?;
        self.put(b"}")?;
        Ok(self.text)
    }

    #[inline]
    fn put(&mut self, text: &[u8]) -> Result<()> {
        if self.text.capacity() - self.text.len() < text.len() {
            self.grow(text.len())?;
        }
        self.text.extend_from_slice(text);
        Ok(())
    }

    #[cold]
    fn grow(&mut self, more: usize) -> Result<()> {
        let what = "the result of the read: set a limit, or read in batches";
        self.text.try_reserve(more).map_err(|_| Error::no_memory(what))
    }

    fn put_position(&mut self, position: Position) -> Result<()> {
        // The digits of i64::MAX.
        let mut text = [0_u8; 19];
        let mut start = text.len();
        let mut left = position.get().unsigned_abs();
        loop {
            start -= 1;
            text[start] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.put(&text[start..])
    }

    /// Adds a string with the escapes that JSON requires and no others.
    fn put_string(&mut self, text: &str) -> Result<()> {
        self.put(b"\"")?;
        // Examines every byte, without an early exit, so that the compiler vectorizes the loop.
        if !text.bytes().fold(false, |found, byte| found | must_be_escaped(byte)) {
            self.put(text.as_bytes())?;
            return self.put(b"\"");
        }
        let mut plain = 0;
        for (index, &byte) in text.as_bytes().iter().enumerate() {
            if must_be_escaped(byte) {
                self.put(&text.as_bytes()[plain..index])?;
                self.put_escape(byte)?;
                plain = index + 1;
            }
        }
        self.put(&text.as_bytes()[plain..])?;
        self.put(b"\"")
    }

    #[cold]
    fn put_escape(&mut self, byte: u8) -> Result<()> {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => {
                let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
                return self.put(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
            }
        };
        self.put(&[b'\\', short])
    }
}

fn must_be_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}
