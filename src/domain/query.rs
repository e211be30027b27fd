//! Queries: which events a read or a condition selects.

use smallvec::{Array, SmallVec};

use crate::domain::{EventType, EventView, Tag, Tags, Term};
use crate::error::{Error, Result};
use crate::limits::{MAX_ITEMS_PER_QUERY, MAX_NAMES_PER_QUERY};

/// A type or a tag that a query names, with the term that an index files it under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    text: &'a str,
    term: Term,
}

impl<'a> Wanted<'a> {
    /// Returns the type or the tag.
    pub fn text(self) -> &'a str {
        self.text
    }

    /// Returns the term that an index files it under.
    pub fn term(self) -> Term {
        self.term
    }
}

/// The types or the tags that a query item names.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    text: &'a str,
    ranges: &'a [NameRange],
}

impl<'a> Names<'a> {
    /// Returns whether there are no names.
    pub fn is_empty(self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the number of names.
    pub fn len(self) -> usize {
        self.ranges.len()
    }

    fn text_of(self, range: &NameRange) -> &'a str {
        &self.text[range.start as usize..range.end as usize]
    }

    /// Returns an iterator over the names.
    pub fn iter(self) -> impl Iterator<Item = Wanted<'a>> {
        self.ranges.iter().map(move |range| Wanted { text: self.text_of(range), term: range.term })
    }
}

/// One alternative of a query. It matches an event that has one of its types and all of its tags;
/// an item without types matches any type.
#[derive(Debug, Clone, Default)]
pub struct QueryItem {
    /// The texts of all types and tags, so that one allocation holds them.
    text: String,
    types: SmallVec<[NameRange; 1]>,
    tags: SmallVec<[NameRange; 2]>,
    /// Whether [`QueryItem::settle`] has run: no name is repeated, and a list of more than [`FEW`]
    /// names is sorted by bytes.
    is_settled: bool,
}

/// The range that a type or a tag has in the text of its item, with its term.
#[derive(Debug, Clone, Copy)]
struct NameRange {
    start: u32,
    end: u32,
    term: Term,
}

impl PartialEq for QueryItem {
    fn eq(&self, other: &Self) -> bool {
        self.types().iter().eq(other.types().iter()) && self.tags().iter().eq(other.tags().iter())
    }
}

impl Eq for QueryItem {}

impl QueryItem {
    /// Returns an item that matches every event until it is given a type or a tag.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type: an event matches if it has any of the item's types. The error is `no_memory`.
    pub fn or_type(&mut self, event_type: EventType<'_>) -> Result<()> {
        self.types.try_reserve(1).map_err(|_| no_memory())?;
        let range = self.add(event_type.as_str(), Term::of_type)?;
        self.types.push(range);
        Ok(())
    }

    /// Adds a tag: an event matches if it has all of the item's tags. The error is `no_memory`.
    pub fn and_tag(&mut self, tag: Tag<'_>) -> Result<()> {
        self.tags.try_reserve(1).map_err(|_| no_memory())?;
        let range = self.add(tag.as_str(), Term::of_tag)?;
        self.tags.push(range);
        Ok(())
    }

    fn add(&mut self, name: &str, term: impl FnOnce(&str) -> Term) -> Result<NameRange> {
        // The first allocation has room for a type and a tag, which most conditions have.
        let room = if self.text.is_empty() { name.len().max(48) } else { name.len() };
        self.text.try_reserve(room).map_err(|_| no_memory())?;
        self.is_settled = false;
        // The limit on a request's size keeps the length far below 4 GiB.
        let start = self.text.len() as u32;
        self.text.push_str(name);
        Ok(NameRange { start, end: self.text.len() as u32, term: term(name) })
    }

    /// Returns the types. A matching event has one of them; an item without types matches any type.
    pub fn types(&self) -> Names<'_> {
        Names { text: &self.text, ranges: &self.types }
    }

    /// Returns the tags. A matching event has all of them.
    pub fn tags(&self) -> Names<'_> {
        Names { text: &self.text, ranges: &self.tags }
    }

    /// Removes repeated names, since a search looks each name up. A long list is also sorted, for
    /// the binary search in [`QueryItem::allows`].
    fn settle(&mut self) {
        settle(&self.text, &mut self.types);
        settle(&self.text, &mut self.tags);
        self.is_settled = true;
    }

    /// Returns whether the item has neither types nor tags, and so matches every event.
    fn is_empty(&self) -> bool {
        self.types.is_empty() && self.tags.is_empty()
    }

    /// Returns whether the item matches `event`.
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.allows(event.event_type, event.tags)
    }

    /// Returns whether the item matches an event with this type and these tags.
    pub fn allows(&self, event_type: &str, tags: Tags<'_>) -> bool {
        let types = self.types();
        let has_type = if self.is_settled && types.len() > FEW {
            types.ranges.binary_search_by(|range| types.text_of(range).cmp(event_type)).is_ok()
        } else {
            types.is_empty() || types.iter().any(|wanted| wanted.text == event_type)
        };
        // Neither list repeats a tag, so an item with more tags than the event cannot match it.
        let are_too_many = self.is_settled && self.tags.len() > tags.len();
        has_type && !are_too_many && self.tags().iter().all(|wanted| tags.contains(wanted.text))
    }
}

fn no_memory() -> Error {
    Error::no_memory("the types and tags of the query")
}

/// The length up to which comparing all names with each other is faster than sorting them.
const FEW: usize = 8;

fn settle<A: Array<Item = NameRange>>(text: &str, ranges: &mut SmallVec<A>) {
    let name = |range: &NameRange| &text[range.start as usize..range.end as usize];
    if ranges.len() > FEW {
        ranges.sort_unstable_by(|left, right| name(left).cmp(name(right)));
        ranges.dedup_by(|left, right| name(left) == name(right));
        return;
    }
    for index in (1..ranges.len()).rev() {
        let is_repeated = |own: &NameRange| {
            ranges[..index].iter().any(|other| other.term == own.term && name(other) == name(own))
        };
        if is_repeated(&ranges[index]) {
            ranges.remove(index);
        }
    }
}

/// A query, which selects the events that any of its items matches, or every event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    items: Option<Box<[QueryItem]>>,
}

impl Query {
    /// Returns the query that selects every event.
    pub fn all() -> Self {
        Self::default()
    }

    /// Returns the query that selects the events that any of `items` matches. An empty list is an
    /// error.
    pub fn of(mut items: Vec<QueryItem>) -> Result<Self> {
        if items.is_empty() {
            return Err(Error::invalid(
                "items: must not be empty (a null query matches every event)",
            ));
        }
        if items.len() > MAX_ITEMS_PER_QUERY {
            return Err(Error::too_large(format!(
                "items: more than {MAX_ITEMS_PER_QUERY} items in a query"
            )));
        }
        let names: usize = items.iter().map(|item| item.types.len() + item.tags.len()).sum();
        if names > MAX_NAMES_PER_QUERY {
            return Err(Error::too_large(format!(
                "items: more than {MAX_NAMES_PER_QUERY} types and tags in a query"
            )));
        }
        items.iter_mut().for_each(QueryItem::settle);
        Ok(Query { items: Some(items.into()) })
    }

    /// Returns the items, or `None` if the query selects every event.
    pub fn items(&self) -> Option<&[QueryItem]> {
        self.items.as_deref()
    }

    /// Returns whether every event matches: there are no items, or one of them is empty.
    pub fn is_all(&self) -> bool {
        self.items().is_none_or(|items| items.iter().any(QueryItem::is_empty))
    }

    /// Returns whether the query selects `event`.
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.items().is_none_or(|items| items.iter().any(|item| item.matches(event)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_removed_and_long_lists_are_sorted() {
        for (distinct, times) in [(1, 3), (3, 3), (FEW, 1), (FEW, 3), (FEW + 1, 1), (300, 3)] {
            // In descending order, so that the list is not sorted yet.
            let names: Vec<String> =
                (0..times * distinct).map(|n| (distinct - 1 - n % distinct).to_string()).collect();
            let mut item = QueryItem::new();
            for name in &names {
                item.or_type(EventType::new(name).unwrap()).unwrap();
                item.and_tag(Tag::new(name).unwrap()).unwrap();
            }
            let loose = item.clone();
            let query = Query::of(vec![item]).unwrap();
            let [item] = query.items().unwrap() else { panic!("one item") };
            for wanted in [item.types(), item.tags()] {
                let kept: Vec<&str> = wanted.iter().map(|wanted| wanted.text).collect();
                let mut expected = names[..distinct].to_vec();
                if names.len() > FEW {
                    expected.sort();
                }
                assert_eq!(kept, expected);
            }
            let tags: Vec<&str> = names[..distinct].iter().map(String::as_str).collect();
            for name in &tags {
                assert!(item.allows(name, Tags::listed(&tags)));
                assert!(loose.allows(name, Tags::listed(&tags)));
            }
            assert!(!item.allows("x", Tags::listed(&tags)));
            assert!(!item.allows("0", Tags::listed(&tags[1..])));
            let others: Vec<&str> = tags[1..].iter().copied().chain(["x", "y"]).collect();
            assert!(!item.allows("0", Tags::listed(&others)));
        }
    }
}
