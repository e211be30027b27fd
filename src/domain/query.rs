//! Which events are asked for.

use smallvec::{Array, SmallVec};

use crate::domain::{EventType, EventView, Tag, Tags, Term};
use crate::error::{Error, Result};
use crate::limits::{MAX_ITEMS_PER_QUERY, MAX_NAMES_PER_QUERY};

/// A type or a tag that a query asks for, with the term that an index knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    text: &'a str,
    term: Term,
}

impl<'a> Wanted<'a> {
    /// The type or tag itself.
    pub fn text(self) -> &'a str {
        self.text
    }

    /// What an index files it under.
    pub fn term(self) -> Term {
        self.term
    }
}

/// The types or the tags that an item asks for.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    text: &'a str,
    places: &'a [Place],
}

impl<'a> Names<'a> {
    /// Whether it asks for none.
    pub fn is_empty(self) -> bool {
        self.places.is_empty()
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.places.len()
    }

    fn text_of(self, place: &Place) -> &'a str {
        &self.text[place.start as usize..place.end as usize]
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Wanted<'a>> {
        self.places.iter().map(move |place| Wanted { text: self.text_of(place), term: place.term })
    }
}

/// One alternative of a query: one of `types` (none given: any) and all of `tags`.
#[derive(Debug, Clone, Default)]
pub struct QueryItem {
    /// Every type and tag, one after the other: one allocation for all.
    text: String,
    types: SmallVec<[Place; 1]>,
    tags: SmallVec<[Place; 2]>,
    /// No name is there twice, and where there are not [`FEW`] they are in the order of their bytes.
    is_settled: bool,
}

/// Where a type or a tag stands in the text of its item.
#[derive(Debug, Clone, Copy)]
struct Place {
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
    /// An item that matches everything, to be narrowed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets events of this type match, beside those named before; `no_memory`.
    pub fn or_type(&mut self, event_type: EventType<'_>) -> Result<()> {
        self.types.try_reserve(1).map_err(|_| no_memory())?;
        let place = self.add(event_type.as_str(), Term::of_type)?;
        self.types.push(place);
        Ok(())
    }

    /// Demands this tag, beside those named before; `no_memory`.
    pub fn and_tag(&mut self, tag: Tag<'_>) -> Result<()> {
        self.tags.try_reserve(1).map_err(|_| no_memory())?;
        let place = self.add(tag.as_str(), Term::of_tag)?;
        self.tags.push(place);
        Ok(())
    }

    fn add(&mut self, name: &str, term: impl FnOnce(&str) -> Term) -> Result<Place> {
        // At first for a type and a tag, as most conditions have them.
        let room = if self.text.is_empty() { name.len().max(48) } else { name.len() };
        self.text.try_reserve(room).map_err(|_| no_memory())?;
        self.is_settled = false;
        // A request is far below 4 GiB.
        let start = self.text.len() as u32;
        self.text.push_str(name);
        Ok(Place { start, end: self.text.len() as u32, term: term(name) })
    }

    /// The types of which an event has to have one; none: any.
    pub fn types(&self) -> Names<'_> {
        Names { text: &self.text, places: &self.types }
    }

    /// The tags of which an event has to have all.
    pub fn tags(&self) -> Names<'_> {
        Names { text: &self.text, places: &self.tags }
    }

    /// Forgets the names that are there twice, since a search looks at each; many are put in order.
    fn settle(&mut self) {
        settle(&self.text, &mut self.types);
        settle(&self.text, &mut self.tags);
        self.is_settled = true;
    }

    /// Whether it is not narrowed at all.
    fn is_empty(&self) -> bool {
        self.types.is_empty() && self.tags.is_empty()
    }

    /// Whether `event` is one of these.
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.allows(event.event_type, event.tags)
    }

    /// Whether an event of this type, with these tags, is one of these.
    pub fn allows(&self, event_type: &str, tags: Tags<'_>) -> bool {
        let types = self.types();
        let has_type = if self.is_settled && types.len() > FEW {
            types.places.binary_search_by(|place| types.text_of(place).cmp(event_type)).is_ok()
        } else {
            types.is_empty() || types.iter().any(|wanted| wanted.text == event_type)
        };
        // An event has no tag twice either.
        let are_too_many = self.is_settled && self.tags.len() > tags.len();
        has_type && !are_too_many && self.tags().iter().all(|wanted| tags.contains(wanted.text))
    }
}

fn no_memory() -> Error {
    Error::no_memory("so many types and tags")
}

/// So few are compared with each other.
const FEW: usize = 8;

fn settle<A: Array<Item = Place>>(text: &str, places: &mut SmallVec<A>) {
    let name = |place: &Place| &text[place.start as usize..place.end as usize];
    if places.len() > FEW {
        places.sort_unstable_by(|left, right| name(left).cmp(name(right)));
        places.dedup_by(|left, right| name(left) == name(right));
        return;
    }
    for index in (1..places.len()).rev() {
        let is_repeated = |own: &Place| {
            places[..index].iter().any(|other| other.term == own.term && name(other) == name(own))
        };
        if is_repeated(&places[index]) {
            places.remove(index);
        }
    }
}

/// The events that any of its items matches; without items, every event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    items: Option<Box<[QueryItem]>>,
}

impl Query {
    /// Every event.
    pub fn all() -> Self {
        Self::default()
    }

    /// The events that any of `items` matches; a list of none is an error.
    pub fn of(mut items: Vec<QueryItem>) -> Result<Self> {
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
        let names: usize = items.iter().map(|item| item.types.len() + item.tags.len()).sum();
        if names > MAX_NAMES_PER_QUERY {
            return Err(Error::too_large(format!(
                "items: more than {MAX_NAMES_PER_QUERY} types and tags in a query"
            )));
        }
        items.iter_mut().for_each(QueryItem::settle);
        Ok(Query { items: Some(items.into()) })
    }

    /// The items; `None`: every event.
    pub fn items(&self) -> Option<&[QueryItem]> {
        self.items.as_deref()
    }

    /// Whether every event matches, whatever it is.
    pub fn is_all(&self) -> bool {
        self.items().is_none_or(|items| items.iter().any(QueryItem::is_empty))
    }

    /// Whether `event` is asked for.
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.items().is_none_or(|items| items.iter().any(|item| item.matches(event)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_there_twice_is_asked_for_once_and_many_are_in_order() {
        for (distinct, times) in [(1, 3), (3, 3), (FEW, 1), (FEW, 3), (FEW + 1, 1), (300, 3)] {
            // From the last one on, so that they are in no order yet.
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
