//! The values of JSON, each parsed or skipped in one pass.

/// A parser at an offset of a text.
pub struct FastParser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> FastParser<'a> {
    /// Creates a parser at the start of `text`.
    pub fn new(text: &'a str) -> Self {
        FastParser { text, at: 0 }
    }

    /// Skips whitespace and returns the next byte without consuming it.
    pub fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Skips whitespace, and consumes the next byte if it is `byte`. Returns whether it was.
    pub fn has(&mut self, byte: u8) -> Option<bool> {
        let has = self.next()? == byte;
        self.at += usize::from(has);
        Some(has)
    }

    pub fn expect(&mut self, byte: u8) -> Option<()> {
        self.has(byte)?.then_some(())
    }

    /// Gives up unless only whitespace is left.
    pub fn end(&mut self) -> Option<()> {
        self.next().is_none().then_some(())
    }

    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        if self.has(b'}')? {
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            member(self, key)?;
            if self.has(b'}')? {
                return Some(());
            }
            self.expect(b',')?;
        }
    }

    pub fn list(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.has(b']')? {
            return Some(());
        }
        loop {
            element(self)?;
            if self.has(b']')? {
                return Some(());
            }
            self.expect(b',')?;
        }
    }

    /// Parses a string. Gives up at an escape.
    pub fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        let end = start + plain(&self.text.as_bytes()[start..]);
        self.at = end + 1;
        // Any other byte here begins an escape or is not allowed in a string.
        (self.text.as_bytes().get(end) == Some(&b'"')).then(|| &self.text[start..end])
    }

    pub fn boolean(&mut self) -> Option<bool> {
        let value = self.next()? == b't';
        self.word(if value { "true" } else { "false" })?;
        Some(value)
    }

    pub fn integer(&mut self) -> Option<i64> {
        self.next()?;
        let start = self.at;
        self.number()?;
        // This fails for a fraction, for an exponent, and for a number that is out of range.
        self.text[start..self.at].parse().ok()
    }

    pub fn word(&mut self, word: &str) -> Option<()> {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        found.then_some(())
    }

    /// Skips one or more digits.
    pub fn digits(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    /// Skips a number.
    pub fn number(&mut self) -> Option<()> {
        let byte = |parser: &Self| parser.text.as_bytes().get(parser.at).copied();
        self.at += usize::from(byte(self) == Some(b'-'));
        if byte(self) == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if byte(self) == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = byte(self) {
            self.at += 1;
            self.at += usize::from(matches!(byte(self), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(())
    }

    /// Skips a string, including its escapes.
    pub fn any_string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.at += plain(&self.text.as_bytes()[self.at..]);
            let escape = match &self.text.as_bytes()[self.at..] {
                [b'"', ..] => {
                    self.at += 1;
                    return Some(());
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
                [b'\\', b'u', a, b, c, d, ..]
                    if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) =>
                {
                    6
                }
                _ => return None,
            };
            self.at += escape;
        }
    }

    /// Returns the text of a value without the whitespace around it. Gives up if it nests more than
    /// 31 levels deep.
    pub fn value(&mut self) -> Option<&'a str> {
        self.next()?;
        let start = self.at;
        // A bit for each open level, the innermost last: 1 for an object, 0 for a list. The highest
        // bit that is set marks the end of the levels.
        let mut open = 1_u32;
        'value: loop {
            match self.next()? {
                b'{' => {
                    self.at += 1;
                    if !self.has(b'}')? {
                        open = enter(open, 1)?;
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if !self.has(b']')? {
                        open = enter(open, 0)?;
                        continue;
                    }
                }
                b'"' => self.any_string()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => self.number()?,
            }
            while open != 1 {
                let in_object = open & 1 == 1;
                match self.next()? {
                    b',' => {
                        self.at += 1;
                        if in_object {
                            self.key()?;
                        }
                        continue 'value;
                    }
                    b'}' if in_object => {}
                    b']' if !in_object => {}
                    _ => return None,
                }
                self.at += 1;
                open >>= 1;
            }
            return Some(&self.text[start..self.at]);
        }
    }

    pub fn key(&mut self) -> Option<()> {
        self.next()?;
        self.any_string()?;
        self.expect(b':')
    }
}

fn enter(open: u32, level: u32) -> Option<u32> {
    (open.leading_zeros() > 0).then_some(open << 1 | level)
}

/// Returns the number of bytes before the first quote, backslash or control character.
fn plain(bytes: &[u8]) -> usize {
    let special = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < b' ');
    // Examines every byte of a block, without an early exit, so that the compiler vectorizes the
    // loop.
    let is_plain = |block: &[u8; 32]| !block.iter().fold(false, |any, byte| any | special(*byte));
    let (blocks, _) = bytes.as_chunks();
    let start = 32 * blocks.iter().take_while(|block| is_plain(block)).count();

    const ONES: u64 = u64::MAX / 255;
    let (words, rest) = bytes[start..].as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Sets the highest bit of each byte that is below `n`. A borrow falsifies only higher
        // bytes, and the lowest bit that is set decides.
        let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
        let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = (below(word, b' ') | equal(b'"') | equal(b'\\')) & (ONES << 7);
        if found != 0 {
            return start + index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest.iter().position(|byte| special(*byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + in_rest
}
