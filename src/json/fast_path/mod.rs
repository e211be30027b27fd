//! The fast path for a request: a parser that examines each byte once, and knows neither escapes in
//! names nor errors.
//!
//! If it gives up, for whatever reason, serde_json parses the request again: it knows all of JSON,
//! and reports what is wrong. So the fast path may give up at any point, but its result must equal
//! that of the slow path. A property test compares the two.

use smallvec::{Array, SmallVec};

use crate::domain::{
    AppendCondition, AppendRequest, Direction, Event, EventBuilder, EventId, EventType, Query,
    QueryItem, ReadRequest, Tag, position_of_after,
};
use crate::json::timestamp;
use crate::limits::{
    MAX_CONDITIONS_PER_APPEND, MAX_EVENTS_PER_APPEND, MAX_ITEMS_PER_QUERY, MAX_TAGS_PER_EVENT,
};

/// A parser at an offset of a text.
pub(super) struct FastParser<'a> {
    text: &'a str,
    at: usize,
}

/// Parses an append request, or gives up.
pub(super) fn append(text: &str) -> Option<AppendRequest> {
    let mut parser = FastParser { text, at: 0 };
    let (mut events, mut conditions) = (None, None);
    parser.object(|parser, key| match key {
        "events" => once(&mut events, parser.events()?),
        "condition" => once(&mut conditions, parser.conditions()?),
        _ => None,
    })?;
    parser.end()?;
    AppendRequest::of(events?, conditions.unwrap_or_default()).ok()
}

/// Parses a read request, or gives up.
pub(super) fn read(text: &str) -> Option<ReadRequest> {
    let mut parser = FastParser { text, at: 0 };
    let (mut query, mut backwards) = (None, None);
    let (mut after, mut before, mut limit) = (None, None, None);
    parser.object(|parser, key| match key {
        "query" => once(&mut query, parser.query()?),
        "after" => once(&mut after, parser.integer()?),
        "before" => once(&mut before, parser.integer()?),
        "limit" => once(&mut limit, parser.integer()?),
        "backwards" => once(&mut backwards, parser.boolean()?),
        _ => None,
    })?;
    parser.end()?;
    let query = query.unwrap_or_else(Query::all);
    let direction = Direction::from_backwards(backwards.unwrap_or(false));
    ReadRequest::of_numbers(query, after, before, limit, direction).ok()
}

/// Keeps a member's value. Gives up if there is one already.
fn once<T>(kept: &mut Option<T>, value: T) -> Option<()> {
    kept.replace(value).is_none().then_some(())
}

/// Adds to a list. Gives up if it has `most` elements already or memory is exhausted.
fn push<A: Array>(list: &mut SmallVec<A>, most: usize, value: A::Item) -> Option<()> {
    if list.len() == most || list.try_reserve(1).is_err() {
        return None;
    }
    list.push(value);
    Some(())
}

impl<'a> FastParser<'a> {
    fn events(&mut self) -> Option<SmallVec<[Event; 1]>> {
        let (mut events, mut tags) = (SmallVec::new(), SmallVec::new());
        self.list(|parser| {
            let event = parser.event(&mut tags)?;
            push(&mut events, MAX_EVENTS_PER_APPEND, event)
        })?;
        Some(events)
    }

    fn event(&mut self, tags: &mut SmallVec<[Tag<'a>; 8]>) -> Option<Event> {
        let (mut event_type, mut id, mut data, mut metadata) = (None, None, None, None);
        let (mut has_tags, mut time) = (None, None);
        tags.clear();
        self.object(|parser, key| match key {
            "type" => once(&mut event_type, EventType::new(parser.string()?).ok()?),
            "tags" => {
                once(&mut has_tags, ())?;
                parser
                    .list(|parser| push(tags, MAX_TAGS_PER_EVENT, Tag::new(parser.string()?).ok()?))
            }
            "data" => once(&mut data, parser.value()?),
            "id" => once(&mut id, EventId::new(parser.string()?).ok()?),
            "timestamp" => once(&mut time, timestamp::parse(parser.string()?)?),
            "metadata" => {
                once(&mut metadata, parser.value().filter(|value| value.starts_with('{'))?)
            }
            _ => None,
        })?;
        let mut event = EventBuilder::new(event_type?);
        for tag in tags {
            event.tag(*tag).ok()?;
        }
        if let Some(data) = data {
            event.data(data).ok()?;
        }
        if let Some(id) = id {
            event.id(id);
        }
        if let Some(metadata) = metadata {
            event.metadata(metadata).ok()?;
        }
        if let Some(micros) = time {
            event.timestamp_us(micros).ok()?;
        }
        event.try_build().ok()
    }

    /// Parses one condition or a list of them.
    fn conditions(&mut self) -> Option<SmallVec<[AppendCondition; 1]>> {
        let mut conditions = SmallVec::new();
        if self.next()? == b'{' {
            conditions.push(self.condition()?);
            return Some(conditions);
        }
        self.list(|parser| {
            let condition = parser.condition()?;
            push(&mut conditions, MAX_CONDITIONS_PER_APPEND, condition)
        })?;
        Some(conditions)
    }

    fn condition(&mut self) -> Option<AppendCondition> {
        let (mut query, mut after) = (None, None);
        self.object(|parser, key| match key {
            "failIfEventsMatch" => once(&mut query, parser.query()?),
            "after" => once(&mut after, parser.integer()?),
            _ => None,
        })?;
        Some(AppendCondition::new(query?, position_of_after(after.unwrap_or(0)).ok()?))
    }

    fn query(&mut self) -> Option<Query> {
        let mut items = None;
        self.object(|parser, key| match key {
            "items" => once(&mut items, parser.items()?),
            _ => None,
        })?;
        Query::of(items?).ok()
    }

    fn items(&mut self) -> Option<Vec<QueryItem>> {
        // Most queries have one item.
        let mut items = Vec::with_capacity(1);
        self.list(|parser| {
            let item = parser.item()?;
            let has_room = items.len() < MAX_ITEMS_PER_QUERY && items.try_reserve(1).is_ok();
            has_room.then(|| items.push(item))
        })?;
        Some(items)
    }

    fn item(&mut self) -> Option<QueryItem> {
        let mut item = QueryItem::new();
        let (mut has_types, mut has_tags) = (None, None);
        self.object(|parser, key| match key {
            "types" => {
                once(&mut has_types, ())?;
                parser.list(|parser| item.or_type(EventType::new(parser.string()?).ok()?).ok())
            }
            "tags" => {
                once(&mut has_tags, ())?;
                parser.list(|parser| item.and_tag(Tag::new(parser.string()?).ok()?).ok())
            }
            _ => None,
        })?;
        Some(item)
    }

    /// Skips whitespace and returns the next byte without consuming it.
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Skips whitespace, and consumes the next byte if it is `byte`. Returns whether it was.
    fn has(&mut self, byte: u8) -> Option<bool> {
        let has = self.next()? == byte;
        self.at += usize::from(has);
        Some(has)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.has(byte)?.then_some(())
    }

    /// Gives up unless only whitespace is left.
    fn end(&mut self) -> Option<()> {
        self.next().is_none().then_some(())
    }

    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
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

    fn list(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
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
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        let end = start + plain(&self.text.as_bytes()[start..]);
        self.at = end + 1;
        // Any other byte here begins an escape or is not allowed in a string.
        (self.text.as_bytes().get(end) == Some(&b'"')).then(|| &self.text[start..end])
    }

    fn boolean(&mut self) -> Option<bool> {
        let value = self.next()? == b't';
        self.word(if value { "true" } else { "false" })?;
        Some(value)
    }

    fn integer(&mut self) -> Option<i64> {
        self.next()?;
        let start = self.at;
        self.number()?;
        // This fails for a fraction, for an exponent, and for a number that is out of range.
        self.text[start..self.at].parse().ok()
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        found.then_some(())
    }

    /// Skips one or more digits.
    fn digits(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    /// Skips a number.
    fn number(&mut self) -> Option<()> {
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
    fn any_string(&mut self) -> Option<()> {
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
    fn value(&mut self) -> Option<&'a str> {
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

    fn key(&mut self) -> Option<()> {
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
