//! The quick way through a request: one look at each byte, no escapes, no errors.
//!
//! What it does not take, for whatever reason, is read by serde_json instead, which knows all of
//! JSON and says what is wrong. So it may give up at any time, and must give exactly what the long
//! way gives where it does not; a property test holds the two together.

use smallvec::{Array, SmallVec};

use crate::domain::{
    AppendCondition, AppendRequest, Event, EventBuilder, EventId, EventType, Query, QueryItem,
    ReadRequest, Tag,
};
use crate::limits::{
    MAX_CONDITIONS_PER_APPEND, MAX_EVENTS_PER_APPEND, MAX_ITEMS_PER_QUERY, MAX_TAGS_PER_EVENT,
};

/// Where the reading of a text has come to.
pub(super) struct Quick<'a> {
    text: &'a str,
    at: usize,
}

/// An append request.
pub(super) fn append(text: &str) -> Option<AppendRequest> {
    let mut quick = Quick { text, at: 0 };
    let (mut events, mut conditions) = (None, None);
    quick.object(|quick, key| match key {
        "events" => once(&mut events, quick.events()?),
        "condition" => once(&mut conditions, quick.conditions()?),
        _ => None,
    })?;
    quick.end()?;
    AppendRequest::of(events?, conditions.unwrap_or_default()).ok()
}

/// A read request.
pub(super) fn read(text: &str) -> Option<ReadRequest> {
    let mut quick = Quick { text, at: 0 };
    let (mut query, mut backwards) = (None, None);
    let (mut after, mut before, mut limit) = (None, None, None);
    quick.object(|quick, key| match key {
        "query" => once(&mut query, quick.query()?),
        "after" => once(&mut after, quick.integer()?),
        "before" => once(&mut before, quick.integer()?),
        "limit" => once(&mut limit, quick.integer()?),
        "backwards" => once(&mut backwards, quick.boolean()?),
        _ => None,
    })?;
    quick.end()?;
    let query = query.unwrap_or_else(Query::all);
    ReadRequest::new(query, after.unwrap_or(0), before, limit, backwards.unwrap_or(false)).ok()
}

/// Keeps a member's value, unless there is one already.
fn once<T>(kept: &mut Option<T>, value: T) -> Option<()> {
    kept.replace(value).is_none().then_some(())
}

/// Adds to a list that may have so many.
fn push<A: Array>(list: &mut SmallVec<A>, most: usize, value: A::Item) -> Option<()> {
    if list.len() == most || list.try_reserve(1).is_err() {
        return None;
    }
    list.push(value);
    Some(())
}

impl<'a> Quick<'a> {
    fn events(&mut self) -> Option<SmallVec<[Event; 1]>> {
        let (mut events, mut tags) = (SmallVec::new(), SmallVec::new());
        self.list(|quick| {
            let event = quick.event(&mut tags)?;
            push(&mut events, MAX_EVENTS_PER_APPEND, event)
        })?;
        Some(events)
    }

    fn event(&mut self, tags: &mut SmallVec<[Tag<'a>; 8]>) -> Option<Event> {
        let (mut event_type, mut id, mut data, mut metadata) = (None, None, None, None);
        let mut has_tags = None;
        tags.clear();
        self.object(|quick, key| match key {
            "type" => once(&mut event_type, EventType::new(quick.string()?).ok()?),
            "tags" => {
                once(&mut has_tags, ())?;
                quick.list(|quick| push(tags, MAX_TAGS_PER_EVENT, Tag::new(quick.string()?).ok()?))
            }
            "data" => once(&mut data, quick.value()?),
            "id" => once(&mut id, EventId::new(quick.string()?).ok()?),
            "metadata" => {
                once(&mut metadata, quick.value().filter(|value| value.starts_with('{'))?)
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
        event.try_build().ok()
    }

    /// One condition, or a list of them.
    fn conditions(&mut self) -> Option<SmallVec<[AppendCondition; 1]>> {
        let mut conditions = SmallVec::new();
        if self.next()? == b'{' {
            conditions.push(self.condition()?);
            return Some(conditions);
        }
        self.list(|quick| {
            let condition = quick.condition()?;
            push(&mut conditions, MAX_CONDITIONS_PER_APPEND, condition)
        })?;
        Some(conditions)
    }

    fn condition(&mut self) -> Option<AppendCondition> {
        let (mut query, mut after) = (None, None);
        self.object(|quick, key| match key {
            "failIfEventsMatch" => once(&mut query, quick.query()?),
            "after" => once(&mut after, quick.integer()?),
            _ => None,
        })?;
        AppendCondition::new(query?, after.unwrap_or(0)).ok()
    }

    fn query(&mut self) -> Option<Query> {
        let mut items = None;
        self.object(|quick, key| match key {
            "items" => once(&mut items, quick.items()?),
            _ => None,
        })?;
        Query::of(items?).ok()
    }

    fn items(&mut self) -> Option<Vec<QueryItem>> {
        // Most queries have one item.
        let mut items = Vec::with_capacity(1);
        self.list(|quick| {
            let item = quick.item()?;
            let has_room = items.len() < MAX_ITEMS_PER_QUERY && items.try_reserve(1).is_ok();
            has_room.then(|| items.push(item))
        })?;
        Some(items)
    }

    fn item(&mut self) -> Option<QueryItem> {
        let mut item = QueryItem::new();
        let (mut has_types, mut has_tags) = (None, None);
        self.object(|quick, key| match key {
            "types" => {
                once(&mut has_types, ())?;
                quick.list(|quick| item.or_type(EventType::new(quick.string()?).ok()?).ok())
            }
            "tags" => {
                once(&mut has_tags, ())?;
                quick.list(|quick| item.and_tag(Tag::new(quick.string()?).ok()?).ok())
            }
            _ => None,
        })?;
        Some(item)
    }

    /// The first byte that is no space, which stays.
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Whether the next byte is this one, which it then goes past.
    fn has(&mut self, byte: u8) -> Option<bool> {
        let has = self.next()? == byte;
        self.at += usize::from(has);
        Some(has)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.has(byte)?.then_some(())
    }

    /// Nothing more but space.
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

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        let end = start + plain(&self.text.as_bytes()[start..]);
        self.at = end + 1;
        // Anything else there is an escape, or may not be in a string.
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
        // A fraction or an exponent does not parse, nor does what is out of range.
        self.text[start..self.at].parse().ok()
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        found.then_some(())
    }

    /// Goes past digits, at least one.
    fn digits(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    /// Goes past a number.
    fn number(&mut self) -> Option<()> {
        let byte = |quick: &Self| quick.text.as_bytes().get(quick.at).copied();
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

    /// Goes past a string, escapes and all.
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

    /// The text of any value that is not very deep, without the space around it.
    fn value(&mut self) -> Option<&'a str> {
        self.next()?;
        let start = self.at;
        // What is open, innermost last: 1 for an object, 0 for a list, all of them behind a 1.
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

/// How many bytes come before a quote, a backslash, or a control character.
fn plain(bytes: &[u8]) -> usize {
    let special = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < b' ');
    // All of a block, for the compiler to use vectors.
    let is_plain = |block: &[u8; 32]| !block.iter().fold(false, |any, byte| any | special(*byte));
    let (blocks, _) = bytes.as_chunks();
    let start = 32 * blocks.iter().take_while(|block| is_plain(block)).count();

    const ONES: u64 = u64::MAX / 255;
    let (words, rest) = bytes[start..].as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The highest bit of each byte that is below `n`; a borrow only spoils higher bytes.
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
