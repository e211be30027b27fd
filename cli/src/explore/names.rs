//! The types and tags that were seen so far, for completion while typing.

use std::collections::BTreeMap;
use std::ops::Bound;

use dcb::EventView;
use serde::Serialize;

/// How many names of a kind are kept. Later ones are not taken in.
const MOST: usize = 50_000;
/// How many names one answer suggests.
const SUGGESTED: usize = 12;

/// What a name is.
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Type,
    Tag,
}

/// Names, each with the number of events that had it when it was counted.
#[derive(Default)]
pub struct Names {
    types: BTreeMap<String, u64>,
    tags: BTreeMap<String, u64>,
}

/// A name with its number of events.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub name: String,
    pub count: u64,
}

impl Names {
    fn of(&mut self, kind: Kind) -> &mut BTreeMap<String, u64> {
        match kind {
            Kind::Type => &mut self.types,
            Kind::Tag => &mut self.tags,
        }
    }

    /// Takes in the names of an event.
    pub fn see(&mut self, event: &EventView<'_>) {
        self.take(Kind::Type, event.event_type, None);
        for tag in event.tags.iter() {
            self.take(Kind::Tag, tag, None);
        }
    }

    /// Takes in a name, with the number of events that a sample counted.
    pub fn take(&mut self, kind: Kind, name: &str, count: Option<u64>) {
        let names = self.of(kind);
        if let Some(known) = names.get_mut(name) {
            *known = count.unwrap_or(*known);
        } else if names.len() < MOST {
            names.insert(name.to_owned(), count.unwrap_or(0));
        }
    }

    /// Returns the names that begin with `text`, the most frequent first, and then those that
    /// contain it in any case.
    pub fn suggest(&mut self, kind: Kind, text: &str) -> Vec<Counted> {
        let counted =
            |(name, count): (&String, &u64)| Counted { name: name.clone(), count: *count };
        let names = self.of(kind);
        let from = (Bound::Included(text), Bound::Unbounded);
        let begin: Vec<_> = names
            .range::<str, _>(from)
            .take_while(|(name, _)| name.starts_with(text))
            .map(counted)
            .collect();
        let mut found = most_frequent(begin, SUGGESTED);
        if found.len() < SUGGESTED && !text.is_empty() {
            let wanted = text.to_lowercase();
            let contain = names
                .iter()
                .filter(|(name, _)| {
                    !name.starts_with(text) && name.to_lowercase().contains(&wanted)
                })
                .map(counted)
                .collect();
            let room = SUGGESTED - found.len();
            found.extend(most_frequent(contain, room));
        }
        found
    }
}

/// Returns the `most` names with the highest counts, those with equal counts by name.
pub fn most_frequent(mut names: Vec<Counted>, most: usize) -> Vec<Counted> {
    names.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    names.truncate(most);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_comes_before_a_part_and_frequent_names_before_rare_ones() {
        let mut names = Names::default();
        for (name, count) in [("course:1", 5), ("course:2", 9), ("my-Course", 100), ("other", 1)] {
            names.take(Kind::Tag, name, Some(count));
        }
        let found = |names: &mut Names, text: &str| -> Vec<String> {
            names.suggest(Kind::Tag, text).into_iter().map(|counted| counted.name).collect()
        };
        assert_eq!(found(&mut names, "course"), ["course:2", "course:1", "my-Course"]);
        assert_eq!(found(&mut names, ""), ["my-Course", "course:2", "course:1", "other"]);
        assert!(found(&mut names, "none").is_empty());
        assert!(names.suggest(Kind::Type, "course").is_empty());
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let mut names = Names::default();
        for index in 0..MOST + 10 {
            names.take(Kind::Tag, &format!("tag:{index}"), None);
        }
        assert_eq!(names.tags.len(), MOST);
        assert_eq!(names.suggest(Kind::Tag, "tag").len(), SUGGESTED);
    }
}
