//! The fast path for a request: a parser that examines each byte once, and knows neither escapes in
//! names nor errors.
//!
//! If it gives up, for whatever reason, serde_json parses the request again: it knows all of JSON,
//! and reports what is wrong. So the fast path may give up at any point, but its result must equal
//! that of the slow path. A property test compares the two.

mod lexer;

use smallvec::{Array, SmallVec};

use crate::domain::{
    AppendCondition, AppendRequest, Direction, Event, EventBuilder, EventId, EventType, Query,
    QueryItem, ReadRequest, Tag, position_of_after,
};
use crate::json::fast_path::lexer::FastParser;
use crate::json::timestamp;
use crate::limits::{
    MAX_CONDITIONS_PER_APPEND, MAX_EVENTS_PER_APPEND, MAX_ITEMS_PER_QUERY, MAX_TAGS_PER_EVENT,
};

/// Parses an append request, or gives up.
pub(super) fn append(text: &str) -> Option<AppendRequest> {
    let mut parser = FastParser::new(text);
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
    let mut parser = FastParser::new(text);
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
}
