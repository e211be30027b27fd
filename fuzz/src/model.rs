//! A store as the contract tells it: a list of events, and a filter over it.

use dcb::capi::status::{DCB_CONDITION_FAILED, DCB_DUPLICATE_ID, dcb_status};

/// An event, as it was given.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Event {
    pub event_type: String,
    pub tags: Vec<String>,
    pub data: String,
    pub id: Option<String>,
    pub metadata: Option<String>,
}

#[derive(Debug, Default, Clone)]
pub struct QueryItem {
    pub types: Vec<String>,
    pub tags: Vec<String>,
}

#[derive(Debug, Default, Clone)]
pub enum Query {
    #[default]
    All,
    Any(Vec<QueryItem>),
}

#[derive(Debug, Default, Clone)]
pub struct AppendCondition {
    pub query: Query,
    pub after: i64,
}

#[derive(Debug, Default, Clone)]
pub struct Append {
    pub events: Vec<Event>,
    pub conditions: Vec<AppendCondition>,
}

#[derive(Debug, Default, Clone)]
pub struct Read {
    pub query: Query,
    pub after: i64,
    pub before: Option<i64>,
    pub limit: Option<i64>,
    pub backwards: bool,
}

impl Query {
    fn matches(&self, event: &Event) -> bool {
        let Query::Any(items) = self else { return true };
        items.iter().any(|item| {
            (item.types.is_empty() || item.types.contains(&event.event_type))
                && item.tags.iter().all(|tag| event.tags.contains(tag))
        })
    }
}

/// What a read gives: the events, each with its position, and the read's own position.
pub type Found = (Vec<(i64, Event)>, i64);

/// An append that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The position of its last event.
    pub last: i64,
    /// Whether its events were stored already.
    pub is_repeated: bool,
}

/// The list of events; the first is at position 1.
#[derive(Debug, Default)]
pub struct Model {
    events: Vec<Event>,
}

impl Model {
    pub fn head(&self) -> i64 {
        self.events.len() as i64
    }

    /// Where the events are; or a status, and the position that it names.
    pub fn append(&mut self, append: &Append) -> Result<Stored, (dcb_status, i64)> {
        let Append { events, conditions } = append;
        let at = |id: &Option<String>| self.events.iter().position(|own| own.id == *id);
        let ids: Vec<_> = events.iter().filter(|event| event.id.is_some()).collect();
        let first = ids.iter().find_map(|event| at(&event.id));
        if let Some(first) = first {
            let repeated = self.events[first..].starts_with(events);
            let last = (first + events.len()) as i64;
            return if repeated {
                Ok(Stored { last, is_repeated: true })
            } else {
                Err((DCB_DUPLICATE_ID, first as i64 + 1))
            };
        }
        let fails = |(position, event): &(i64, &Event)| {
            let hit = |own: &AppendCondition| own.after < *position && own.query.matches(event);
            conditions.iter().any(hit)
        };
        if let Some((position, _)) = (1..).zip(&self.events).find(fails) {
            return Err((DCB_CONDITION_FAILED, position));
        }
        self.events.extend_from_slice(events);
        Ok(Stored { last: self.head(), is_repeated: false })
    }

    /// What a read gives.
    pub fn read(&self, read: &Read) -> Found {
        let high = read.before.map_or(self.head(), |before| self.head().min(before - 1)).max(0);
        let mut events: Vec<_> = (1..)
            .zip(&self.events)
            .filter(|(position, _)| read.after < *position && *position <= high)
            .filter(|(_, event)| read.query.matches(event))
            .map(|(position, event)| (position, event.clone()))
            .collect();
        if read.backwards {
            events.reverse();
        }
        let limit = read.limit.map_or(usize::MAX, |limit| limit as usize);
        let cut = events.len() >= limit;
        events.truncate(limit);
        let position = match events.last() {
            _ if limit == 0 => read.after,
            Some((last, _)) if cut && !read.backwards => *last,
            _ => high.max(read.after),
        };
        (events, position)
    }
}
