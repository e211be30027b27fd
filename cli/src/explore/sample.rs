//! Which types and tags a store has, by all of its events or a sample of them.

use std::collections::HashMap;
use std::time::Instant;

use dcb::{Direction, EventView, Query, Result};

use super::names::{Counted, Kind, Names, most_frequent};
use super::reading::{End, Reader, Wanted};

/// The size up to which a store is examined as a whole.
const WHOLE: i64 = 10_000;
/// A larger store is examined in so many runs of neighbouring events, evenly spread over it.
const RUNS: i64 = 40;
/// How many runs lie between one that is examined and the next. It shares no factor with `RUNS`.
const STRIDE: i64 = 17;
/// The number of events in a run.
const RUN: i64 = 250;
/// The highest number of bytes of events that are examined.
const MAX_BYTES: usize = 48 << 20;

/// What was found.
pub struct Sample {
    /// The head when the sample was taken.
    pub head: i64,
    /// The number of events that were examined.
    pub examined: i64,
    /// The bytes of the texts of these events.
    pub bytes: usize,
    pub made: Instant,
    types: HashMap<String, u64>,
    tags: HashMap<String, u64>,
}

impl Sample {
    /// Examines the store.
    pub fn take(reader: &Reader<'_>, head: i64) -> Result<Self> {
        let mut sample = Sample {
            head,
            examined: 0,
            bytes: 0,
            made: Instant::now(),
            types: HashMap::new(),
            tags: HashMap::new(),
        };
        let (runs, run) = if head <= WHOLE { (1, head) } else { (RUNS, RUN) };
        for step in 0..runs {
            // Not one after the other: a sample that is cut short is spread over the store, too.
            let index = step * STRIDE % runs;
            // The last run ends with the newest event.
            let after = if runs == 1 { 0 } else { (head - run) / (runs - 1) * index };
            let wanted = Wanted {
                query: Query::all(),
                after,
                before: Some(after + run + 1),
                limit: usize::try_from(run).unwrap_or(0),
                direction: Direction::Forward,
            };
            let stopped = reader.read(wanted, &mut |event| sample.count(event))?;
            if stopped.end == End::Time || reader.bytes() >= MAX_BYTES {
                break;
            }
        }
        Ok(sample)
    }

    fn count(&mut self, event: &EventView<'_>) {
        self.examined += 1;
        self.bytes += event.text_len();
        count(&mut self.types, event.event_type);
        event.tags.iter().for_each(|tag| count(&mut self.tags, tag));
    }

    /// Returns whether every event was examined.
    pub fn is_whole(&self) -> bool {
        self.examined >= self.head
    }

    /// Returns how many types were found.
    pub fn distinct_types(&self) -> usize {
        self.types.len()
    }

    /// Returns the most frequent types.
    pub fn types(&self, most: usize) -> Vec<Counted> {
        counted(&self.types, most)
    }

    /// Returns the most frequent tags.
    pub fn tags(&self, most: usize) -> Vec<Counted> {
        counted(&self.tags, most)
    }

    /// Returns the most frequent keys of tags, counting each event with its number of such tags.
    pub fn tag_keys(&self, most: usize) -> Vec<Counted> {
        let mut keys = HashMap::new();
        for (tag, count) in &self.tags {
            let key = tag.split_once(':').map_or(tag.as_str(), |(key, _)| key);
            *keys.entry(key.to_owned()).or_default() += count;
        }
        counted(&keys, most)
    }

    /// Passes the names to the completion.
    pub fn tell(&self, names: &mut Names) {
        for (kind, counts) in [(Kind::Type, &self.types), (Kind::Tag, &self.tags)] {
            for (name, count) in counts {
                names.take(kind, name, Some(*count));
            }
        }
    }
}

/// Adds one to the count of a name.
pub fn count(counts: &mut HashMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// Returns the names with the highest counts.
pub fn counted(counts: &HashMap<String, u64>, most: usize) -> Vec<Counted> {
    let names = counts.iter().map(|(name, &count)| Counted { name: name.clone(), count });
    most_frequent(names.collect(), most)
}
