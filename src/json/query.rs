//! A query: `{"items": [{"types": [...], "tags": [...]}, ...]}`, or `null` for every event.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

use crate::domain::{EventType, Query, QueryItem, Tag};
use crate::error::Error;
use crate::json::path::JsonPath;
use crate::json::visitor::{As, Seen, Shape, Texts, keys, read_document};
use crate::limits::MAX_ITEMS_PER_QUERY;

impl Query {
    /// Parses a query document: `{"items": [{"types": [...], "tags": [...]}, ...]}`, or `null` for
    /// every event.
    pub fn from_json(json: &str) -> crate::Result<Query> {
        let no_fast_path = |_: &str| None;
        read_document("query", json.as_bytes(), no_fast_path, |path, json| {
            As(QueryIn(path)).deserialize(json)
        })
    }
}

keys!(QueryKey { Items = "items" });
keys!(ItemKey { Types = "types", Tags = "tags" });

/// Reads a query. An object without `items`, or with `null` as its items, is refused: a small
/// mistake must not select every event.
pub(super) struct QueryIn<'t>(pub &'t mut JsonPath);

impl<'de> Shape<'de> for QueryIn<'_> {
    type Value = Query;
    const KIND: &'static str = "an object, or null to match every event";

    fn path(&mut self) -> &mut JsonPath {
        self.0
    }

    fn null<E: serde::de::Error>(self) -> Result<Query, E> {
        Ok(Query::all())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Query, A::Error> {
        let path = self.0;
        let mut items = None;
        let mut seen = Seen::default();
        while let Some(QueryKey::Items) = seen.next_key(path, &mut object)? {
            items = Some(object.next_value_seed(As(ItemsIn(path)))?);
            path.leave();
        }
        let Some(items) = items else {
            path.enter_key("items");
            return Err(path.refuse("is missing (a null query matches every event)"));
        };
        Query::of(items).map_err(|error| path.fail_within(error))
    }
}

struct ItemsIn<'t>(&'t mut JsonPath);

impl<'de> Shape<'de> for ItemsIn<'_> {
    type Value = Vec<QueryItem>;
    const KIND: &'static str = "a list of objects (a null query matches every event)";

    fn path(&mut self) -> &mut JsonPath {
        self.0
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<QueryItem>, A::Error> {
        let path = self.0;
        // Most queries have one item, which this saves a second allocation.
        let mut items = Vec::with_capacity(1);
        loop {
            path.enter_index(items.len());
            let item = ItemIn { path, index: items.len() };
            let Some(item) = list.next_element_seed(As(item))? else { break };
            if items.try_reserve(1).is_err() {
                return Err(path.fail(Error::no_memory("the items of the query")));
            }
            items.push(item);
            path.leave();
        }
        path.leave();
        Ok(items)
    }
}

/// Reads the item at `index` of a query.
struct ItemIn<'t> {
    path: &'t mut JsonPath,
    index: usize,
}

impl<'de> Shape<'de> for ItemIn<'_> {
    type Value = QueryItem;
    const KIND: &'static str = "an object";

    fn path(&mut self) -> &mut JsonPath {
        self.path
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<QueryItem, A::Error> {
        let path = self.path;
        if self.index >= MAX_ITEMS_PER_QUERY {
            return Err(path.fail(Error::too_large(format!(
                "more than {MAX_ITEMS_PER_QUERY} items in a query"
            ))));
        }
        let mut item = QueryItem::new();
        let mut seen = Seen::default();
        while let Some(key) = seen.next_key(path, &mut object)? {
            match key {
                ItemKey::Types => {
                    let take = |text: Cow<'de, str>| item.or_type(EventType::new(&text)?);
                    object.next_value_seed(As(Texts { path, take }))?;
                }
                ItemKey::Tags => {
                    let take = |text: Cow<'de, str>| item.and_tag(Tag::new(&text)?);
                    object.next_value_seed(As(Texts { path, take }))?;
                }
            }
            path.leave();
        }
        Ok(item)
    }
}
