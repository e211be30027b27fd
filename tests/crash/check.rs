//! Compares a store with the records of its writers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use dcb::capi::status::{DCB_CONDITION_FAILED, DCB_DUPLICATE_ID};

use crate::client::{ReadResult, Store};
use crate::random::Random;
use crate::work::{Append, Name};

/// The appends of the writers and their results.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The appends that were sent, whether answered or not.
    pub sent: BTreeSet<(u64, u64)>,
    /// The appends that were acknowledged, each with the position of its last event.
    pub stored: BTreeMap<(u64, u64), i64>,
    /// The appends that were rejected, each with the position of the conflicting event.
    pub refused: BTreeMap<(u64, u64), i64>,
    /// Results that no append may have.
    pub broken: Vec<String>,
}

impl Known {
    /// Reads the records of the writers in `folder`.
    pub fn read(folder: &Path) -> Known {
        let mut known = Known::default();
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let Some(writer) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) else {
                continue;
            };
            let text = std::fs::read_to_string(&path).unwrap();
            // A line without a newline was being written when the writer ended.
            for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                known.note(writer, line.trim_end());
            }
        }
        known
    }

    /// Adds one line of a writer's record.
    pub fn note(&mut self, writer: u64, line: &str) {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<i64>().ok()).unwrap_or(0);
        let append = (writer, number() as u64);
        let position = number();
        match what {
            "sends" => drop(self.sent.insert(append)),
            "stored" => drop(self.stored.insert(append, position)),
            "refused" => drop(self.refused.insert(append, position)),
            "busy" | "ended" => {}
            _ => self.broken.push(format!("writer {writer}: {line}")),
        }
    }
}

/// Returns an error if anything is wrong with the store. The tags of up to `samples` events are
/// looked up in the index.
pub fn check(
    store: &Store,
    known: &Known,
    samples: u64,
    random: &mut Random,
) -> Result<(), String> {
    if let Some(broken) = known.broken.first() {
        return Err(broken.clone());
    }
    let all = store.read("").map_err(|failure| format!("reading everything: {failure}"))?;
    let head = store.head().map_err(|failure| format!("the head: {failure}"))?;
    if all.position != head {
        return Err(format!("the read goes up to {}, the head is {head}", all.position));
    }
    check_events(&all, known)?;
    check_index(store, &all, samples, random)?;
    check_conflicts(store, &all, head, random)
}

/// Checks that positions have no gap, that only whole appends are stored, and that the results of
/// the writers hold.
fn check_events(all: &ReadResult, known: &Known) -> Result<(), String> {
    let mut found: BTreeMap<(u64, u64), i64> = BTreeMap::new();
    let mut tagged: HashMap<&str, i64> = HashMap::new();
    let mut unfinished: Option<(Append, u64)> = None;
    for (event, position) in all.events.iter().zip(1..) {
        if event.position != position {
            return Err(format!("position {position} has the event {}", event.position));
        }
        let name = Name::of(event).ok_or_else(|| format!("no writer sent the event {position}"))?;
        let (append, index) = unfinished.take().unwrap_or_else(|| {
            let append = Append::new(name.writer, name.number);
            (append, 0)
        });
        let Append { writer, number, len, .. } = append;
        if !append.is(index, event) || !known.sent.contains(&(writer, number)) {
            return Err(format!(
                "position {position}: not what writer {writer} sent as event {index} of {number}"
            ));
        }
        // The tag of an append and its subject are each stored once, on its first event.
        let unique =
            event.tags.iter().filter(|tag| index == 0 && append.conflicting_tags().contains(tag));
        for tag in unique {
            if let Some(first) = tagged.insert(tag, position) {
                return Err(format!("{tag} is stored at {first}, and again at {position}"));
            }
        }
        if index + 1 < len {
            unfinished = Some((append, index + 1));
        } else {
            found.insert((writer, number), position);
        }
    }
    if let Some((Append { writer, number, .. }, index)) = unfinished {
        return Err(format!("append {number} of writer {writer} has only {index} events"));
    }
    for ((writer, number), last) in &known.stored {
        match found.get(&(*writer, *number)) {
            Some(position) if position == last => {}
            other => {
                return Err(format!(
                    "append {number} of writer {writer} was stored up to {last}, but is now at {other:?}"
                ));
            }
        }
    }
    for ((writer, number), position) in &known.refused {
        let wanted = Append::new(*writer, *number).conflicting_tags();
        let event = usize::try_from(position - 1).ok().and_then(|index| all.events.get(index));
        if !event.is_some_and(|event| event.tags.iter().any(|tag| wanted.contains(tag))) {
            return Err(format!(
                "append {number} of writer {writer} was rejected for {position}, which does not match"
            ));
        }
    }
    Ok(())
}

/// Checks that the index returns what a scan returns.
fn check_index(
    store: &Store,
    all: &ReadResult,
    samples: u64,
    random: &mut Random,
) -> Result<(), String> {
    let mut by_tag: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for event in &all.events {
        for tag in &event.tags {
            by_tag.entry(tag.clone()).or_default().push(event.position);
        }
    }
    let mut tags: Vec<String> = (0..7).map(|shard| format!("shard:{shard}")).collect();
    tags.push("subject:none".into());
    for _ in 0..samples.min(all.events.len() as u64) {
        let event = &all.events[random.below(all.events.len() as u64) as usize];
        tags.extend(event.tags.iter().filter(|tag| !tag.starts_with("shard:")).cloned());
    }
    for tag in tags {
        let wanted = by_tag.get(&tag).cloned().unwrap_or_default();
        let request = format!(r#"{{"query":{{"items":[{{"tags":["{tag}"]}}]}}}}"#);
        let found = store.read(&request).map_err(|failure| format!("reading {tag}: {failure}"))?;
        if found.positions() != wanted {
            return Err(format!(
                "the index has {tag} at {:?}, a scan finds it at {wanted:?}",
                found.positions()
            ));
        }
    }
    Ok(())
}

/// Checks that stored events reject conflicting appends, and that the next append succeeds.
fn check_conflicts(
    store: &Store,
    all: &ReadResult,
    head: i64,
    random: &mut Random,
) -> Result<(), String> {
    for _ in 0..5.min(all.events.len()) {
        let event = &all.events[random.below(all.events.len() as u64) as usize];
        let tag = &event.tags[0];
        let first = all.events.iter().find(|other| other.tags.contains(tag));
        let first = first.map_or(0, |event| event.position);
        let request = format!(
            r#"{{"events":[{{"type":"Checked"}}],"condition":{{"failIfEventsMatch":{{"items":[{{"tags":["{tag}"]}}]}}}}}}"#
        );
        match store.append(&request) {
            Err(failure) if failure.status == DCB_CONDITION_FAILED && failure.position == first => {
            }
            other => return Err(format!("{tag} is stored at {first}, but: {other:?}")),
        }
        let Some(id) = &event.id else { continue };
        match store.append(&format!(r#"{{"events":[{{"type":"Checked","id":"{id}"}}]}}"#)) {
            Err(failure)
                if failure.status == DCB_DUPLICATE_ID && failure.position == event.position => {}
            other => {
                return Err(format!("the id {id} is stored at {}, but: {other:?}", event.position));
            }
        }
        // The append has ids, so sending it again returns the position at which it is stored.
        let Some(name) = Name::of(event) else { continue };
        let append = Append::new(name.writer, name.number);
        let last = event.position + (append.len - 1 - name.index) as i64;
        match store.append(&append.request()) {
            Ok(position) if position == last => {}
            other => {
                return Err(format!("sent again, append {append:?} at {last} returns {other:?}"));
            }
        }
    }
    match store.head() {
        Ok(now) if now == head => Ok(()),
        other => Err(format!("the head was {head}, and after rejected appends is {other:?}")),
    }
}

/// Checks that one more append gets the positions after the head.
pub fn check_next(store: &Store, append: &Append) -> Result<(), String> {
    let head = store.head().map_err(|failure| failure.to_string())?;
    match store.append(&append.request()) {
        Ok(last) if last == head + append.len as i64 => Ok(()),
        other => Err(format!("the append after {head} returns {other:?}")),
    }
}
