//! The model of a store, after the contract: a list of events, and a filter over it.

use std::collections::HashMap;

use dcb::domain::{AppendCondition, Event, Query};
use dcb::store::Appended;
use dcb::{Position, Status};

use super::Stored;

/// The parts of a read request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub query: Query,
    pub after: i64,
    pub before: Option<i64>,
    pub limit: Option<u64>,
    pub backwards: bool,
}

/// Returns the position with this number. The model counts in plain numbers.
pub fn at(number: i64) -> Position {
    Position::new(number).expect("a position")
}

/// A naive store: a list of events, of which the first has position 1.
#[derive(Debug, Default)]
pub struct Model {
    events: Vec<Stored>,
    ids: HashMap<String, i64>,
}

impl Model {
    pub fn head(&self) -> i64 {
        self.events.len() as i64
    }

    /// Appends. Returns where the events are stored, or the status of the error with the position and
    /// the condition that it names.
    pub fn append(
        &mut self,
        events: &[Event],
        conditions: &[AppendCondition],
    ) -> Result<Appended, (Status, i64, i32)> {
        let stored: Vec<_> = events.iter().map(|event| self.position_of_id(event.id())).collect();
        if let Some(first) = stored.iter().flatten().next() {
            let repeated =
                stored.iter().zip(events).zip(*first..).all(|((stored, event), next)| {
                    *stored == Some(next) && self.events[next as usize - 1].event == *event
                });
            let last = first + events.len() as i64 - 1;
            return if repeated {
                Ok(Appended::repeated(at(last)))
            } else {
                Err((Status::DuplicateId, *first, 0))
            };
        }
        if let Some((position, index)) = self.first_failure(conditions) {
            return Err((Status::ConditionFailed, position, index));
        }
        for event in events {
            self.events.push(Stored { position: self.head() + 1, event: event.clone() });
            if let Some(id) = event.id() {
                self.ids.insert(id.to_owned(), self.head());
            }
        }
        Ok(Appended::new(at(self.head())))
    }

    /// Returns the lowest position that makes a condition fail, and the first condition that it
    /// makes fail.
    pub fn first_failure(&self, conditions: &[AppendCondition]) -> Option<(i64, i32)> {
        let fails = |condition: &AppendCondition, stored: &Stored| {
            condition.fails_on(&stored.event.view(at(stored.position), 0))
        };
        let of_any = |stored: &&Stored| conditions.iter().any(|own| fails(own, stored));
        let position = self.events.iter().find(of_any)?.position;
        let of_all = |own| self.events.iter().any(|stored| fails(own, stored));
        let index = conditions.iter().position(of_all)?;
        Some((position, index as i32))
    }

    /// Returns the matching events above `low` and up to `high`.
    pub fn between(&self, query: &Query, low: i64, high: i64) -> Vec<Stored> {
        let is_selected = |stored: &&Stored| {
            low < stored.position
                && stored.position <= high
                && query.matches(&stored.event.view(at(stored.position), 0))
        };
        self.events.iter().filter(is_selected).cloned().collect()
    }

    /// Returns the events of a read, and its position.
    pub fn read(&self, asked: &Asked) -> (Vec<Stored>, i64) {
        let after = asked.after;
        let high = asked.before.map_or(self.head(), |before| self.head().min(before - 1)).max(0);
        let mut events = self.between(&asked.query, after, high);
        if asked.backwards {
            events.reverse();
        }
        let limit = asked.limit.map_or(usize::MAX, |limit| limit as usize);
        let cut = events.len() >= limit;
        events.truncate(limit);
        let position = match events.last() {
            _ if limit == 0 => after,
            Some(last) if cut && !asked.backwards => last.position,
            _ => high.max(after),
        };
        (events, position)
    }

    /// Returns the event with this id.
    pub fn find(&self, id: &str) -> Option<Stored> {
        self.events.iter().find(|stored| stored.event.id() == Some(id)).cloned()
    }

    fn position_of_id(&self, id: Option<&str>) -> Option<i64> {
        self.ids.get(id?).copied()
    }
}
