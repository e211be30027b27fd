//! Which events are asked for.

use super::{EventType, EventView, Tag, Tags, Term};
use crate::error::{Error, Result};
use crate::limits::MAX_ITEMS_PER_QUERY;

/// A type or a tag that a query asks for, with the term that an index knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    text: Box<str>,
    term: Term,
}

impl Wanted {
    /// The type or tag itself.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What an index files it under.
    pub fn term(&self) -> Term {
        self.term
    }
}

/// One alternative of a query: one of `types` (none given: any) and all of `tags`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    types: Vec<Wanted>,
    tags: Vec<Wanted>,
}

impl Item {
    /// An item that matches everything, to be narrowed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets events of this type match, beside those named before.
    pub fn or_type(&mut self, event_type: EventType<'_>) {
        let text = event_type.as_str();
        self.types.push(Wanted { text: text.into(), term: Term::of_type(text) });
    }

    /// Demands this tag, beside those named before.
    pub fn and_tag(&mut self, tag: Tag<'_>) {
        let text = tag.as_str();
        self.tags.push(Wanted { text: text.into(), term: Term::of_tag(text) });
    }

    /// The types of which an event has to have one; empty: any.
    pub fn types(&self) -> &[Wanted] {
        &self.types
    }

    /// The tags of which an event has to have all.
    pub fn tags(&self) -> &[Wanted] {
        &self.tags
    }

    /// Whether `event` is one of these.
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.allows(event.event_type, event.tags)
    }

    /// Whether an event of this type, with these tags, is one of these.
    pub fn allows(&self, event_type: &str, tags: Tags<'_>) -> bool {
        (self.types.is_empty() || self.types.iter().any(|wanted| *wanted.text == *event_type))
            && self.tags.iter().all(|wanted| tags.contains(&wanted.text))
    }
}

/// The events that any of its items matches; without items, every event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    items: Option<Box<[Item]>>,
}

impl Query {
    /// Every event.
    pub fn all() -> Self {
        Self::default()
    }

    /// The events that any of `items` matches; a list of none is an error.
    pub fn of(items: Vec<Item>) -> Result<Self> {
        if items.is_empty() {
            return Err(Error::invalid(
                "items: must not be empty (a query for every event is null)",
            ));
        }
        if items.len() > MAX_ITEMS_PER_QUERY {
            return Err(Error::too_large(format!(
                "items: more than {MAX_ITEMS_PER_QUERY} items in a query"
            )));
        }
        Ok(Query { items: Some(items.into()) })
    }

    /// The items; `None`: every event.
    pub fn items(&self) -> Option<&[Item]> {
        self.items.as_deref()
    }

    /// Whether every event matches, whatever it is.
    pub fn is_all(&self) -> bool {
        self.items().is_none_or(|items| {
            items.iter().any(|item| item.types.is_empty() && item.tags.is_empty())
        })
    }

    /// Whether `event` is asked for.
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.items().is_none_or(|items| items.iter().any(|item| item.matches(event)))
    }
}
