//! A strict reader of JSON (RFC 8259) that keeps what the documents' rules ask for: the text of
//! each value, repeated keys, and strings that are none. Written to be clear, not to be fast.

/// A value, and its text.
#[derive(Debug)]
pub struct Json<'a> {
    pub raw: &'a str,
    pub kind: Kind<'a>,
}

/// What a value is. A string that has half of a surrogate pair is `None`: there is no such text.
#[derive(Debug)]
pub enum Kind<'a> {
    Null,
    Boolean(bool),
    Number,
    String(Option<String>),
    List(Vec<Json<'a>>),
    Object(Vec<(Option<String>, Json<'a>)>),
}

/// Deeper than any document may be; here the reader gives up.
const MAX_DEPTH: usize = 600;

/// Why a text is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// It is not JSON.
    Syntax,
    /// It nests so deep that nothing more is said about it.
    Depth,
}

/// Reads a document.
pub fn parse(bytes: &[u8]) -> Result<Json<'_>, Broken> {
    let text = std::str::from_utf8(bytes).map_err(|_| Broken::Syntax)?;
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = reader.value()?;
    reader.space();
    if reader.at == text.len() { Ok(value) } else { Err(Broken::Syntax) }
}

impl Json<'_> {
    /// How many lists and objects are inside each other.
    pub fn depth(&self) -> usize {
        match &self.kind {
            Kind::List(values) => 1 + values.iter().map(Json::depth).max().unwrap_or(0),
            Kind::Object(values) => {
                1 + values.iter().map(|(_, value)| value.depth()).max().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        let takes = self.peek() == Some(byte);
        self.at += usize::from(takes);
        takes
    }

    fn needs(&mut self, word: &str) -> Result<(), Broken> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Broken::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    fn value(&mut self) -> Result<Json<'a>, Broken> {
        self.space();
        let start = self.at;
        let kind = match self.peek().ok_or(Broken::Syntax)? {
            b'n' => self.needs("null").map(|()| Kind::Null)?,
            b't' => self.needs("true").map(|()| Kind::Boolean(true))?,
            b'f' => self.needs("false").map(|()| Kind::Boolean(false))?,
            b'"' => Kind::String(self.string()?),
            b'[' => Kind::List(self.inside(b'[', b']', Self::value)?),
            b'{' => Kind::Object(self.inside(b'{', b'}', |reader| {
                reader.space();
                let key = reader.string()?;
                reader.space();
                reader.needs(":")?;
                Ok((key, reader.value()?))
            })?),
            _ => self.number().map(|()| Kind::Number)?,
        };
        Ok(Json { raw: &self.text[start..self.at], kind })
    }

    fn inside<T>(
        &mut self,
        open: u8,
        close: u8,
        mut part: impl FnMut(&mut Self) -> Result<T, Broken>,
    ) -> Result<Vec<T>, Broken> {
        let mut parts = Vec::new();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Broken::Depth);
        }
        assert!(self.takes(open), "its caller saw it");
        self.space();
        if !self.takes(close) {
            loop {
                parts.push(part(self)?);
                self.space();
                if self.takes(close) {
                    break;
                }
                self.needs(",")?;
            }
        }
        self.depth -= 1;
        Ok(parts)
    }

    fn digits(&mut self) -> Result<(), Broken> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Broken::Syntax) }
    }

    fn number(&mut self) -> Result<(), Broken> {
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Option<String>, Broken> {
        self.needs("\"")?;
        let mut units = Vec::new();
        loop {
            let next = self.text[self.at..].chars().next().ok_or(Broken::Syntax)?;
            self.at += next.len_utf8();
            match next {
                '"' => return Ok(String::from_utf16(&units).ok()),
                '\\' => units.push(self.escape()?),
                '\0'..='\u{1f}' => return Err(Broken::Syntax),
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Result<u16, Broken> {
        let byte = self.peek().ok_or(Broken::Syntax)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte.into(),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4).ok_or(Broken::Syntax)?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return Err(Broken::Syntax);
                }
                self.at += 4;
                u16::from_str_radix(digits, 16).map_err(|_| Broken::Syntax)?
            }
            _ => return Err(Broken::Syntax),
        })
    }
}
