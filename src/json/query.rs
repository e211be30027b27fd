//! A query: `{"items": [{"types": [...], "tags": [...]}, ...]}`, or `null` for every event.

use std::borrow::Cow;

use serde::de::{MapAccess, SeqAccess};

use crate::domain::{EventType, Query, QueryItem, Tag};
use crate::error::Error;
use crate::json::path::JsonPath;
use crate::json::visitor::{As, Seen, Shape, Texts, keys};
use crate::limits::MAX_ITEMS_PER_QUERY;

keys!(QueryKey { Items = "items" });
keys!(ItemKey { Types = "types", Tags = "tags" });

/// A query. Without `items`, or with `null` there, it is refused: so short a slip of the hand
/// must not ask for every event.
pub(super) struct QueryIn<'t>(pub &'t mut JsonPath);

impl<'de> Shape<'de> for QueryIn<'_> {
    type Value = Query;
    const KIND: &'static str = "an object, or null for every event";

    fn trail(&mut self) -> &mut JsonPath {
        self.0
    }

    fn null<E: serde::de::Error>(self) -> Result<Query, E> {
        Ok(Query::all())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Query, A::Error> {
        let trail = self.0;
        let mut items = None;
        let mut seen = Seen::default();
        while let Some(QueryKey::Items) = seen.next_key(trail, &mut object)? {
            items = Some(object.next_value_seed(As(ItemsIn(trail)))?);
            trail.leave();
        }
        let Some(items) = items else {
            trail.enter_key("items");
            return Err(trail.refuse("is missing (a query for every event is null)"));
        };
        Query::of(items).map_err(|error| trail.fail_within(error))
    }
}

struct ItemsIn<'t>(&'t mut JsonPath);

impl<'de> Shape<'de> for ItemsIn<'_> {
    type Value = Vec<QueryItem>;
    const KIND: &'static str = "a list of objects (a query for every event is null)";

    fn trail(&mut self) -> &mut JsonPath {
        self.0
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<QueryItem>, A::Error> {
        let trail = self.0;
        // Most queries have one item: this spares them a second allocation.
        let mut items = Vec::with_capacity(1);
        loop {
            trail.enter_index(items.len());
            let item = ItemIn { trail, index: items.len() };
            let Some(item) = list.next_element_seed(As(item))? else { break };
            if items.try_reserve(1).is_err() {
                return Err(trail.fail(Error::no_memory("so many items")));
            }
            items.push(item);
            trail.leave();
        }
        trail.leave();
        Ok(items)
    }
}

/// The item at `index` of a query.
struct ItemIn<'t> {
    trail: &'t mut JsonPath,
    index: usize,
}

impl<'de> Shape<'de> for ItemIn<'_> {
    type Value = QueryItem;
    const KIND: &'static str = "an object";

    fn trail(&mut self) -> &mut JsonPath {
        self.trail
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<QueryItem, A::Error> {
        let trail = self.trail;
        if self.index >= MAX_ITEMS_PER_QUERY {
            return Err(trail.fail(Error::too_large(format!(
                "more than {MAX_ITEMS_PER_QUERY} items in a query"
            ))));
        }
        let mut item = QueryItem::new();
        let mut seen = Seen::default();
        while let Some(key) = seen.next_key(trail, &mut object)? {
            match key {
                ItemKey::Types => {
                    let take = |text: Cow<'de, str>| item.or_type(EventType::new(&text)?);
                    object.next_value_seed(As(Texts { trail, take }))?;
                }
                ItemKey::Tags => {
                    let take = |text: Cow<'de, str>| item.and_tag(Tag::new(&text)?);
                    object.next_value_seed(As(Texts { trail, take }))?;
                }
            }
            trail.leave();
        }
        Ok(item)
    }
}
