//! The appends of a writer. All of their content follows from the writer's name and the append's
//! number, so that a check can tell whether an event that it finds was ever sent.

use std::fmt::Write as _;

use crate::client::Stored;
use crate::random::Random;

/// The `number`th append of `writer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    pub writer: u64,
    pub number: u64,
    /// How many events the append has.
    pub len: u64,
    /// Whether the events have ids.
    pub has_ids: bool,
    /// A subject that other appends compete for; only one of them may get it.
    pub subject: Option<u64>,
}

/// The name of an event: its writer, its append, and its index in the append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub writer: u64,
    pub number: u64,
    pub index: u64,
}

impl Append {
    pub fn new(writer: u64, number: u64) -> Self {
        let mut random = Random::new(writer << 32 ^ number);
        let len = match random.below(20) {
            0 => 20 + random.below(60),
            1..=6 => 2 + random.below(4),
            _ => 1,
        };
        let has_ids = random.one_in(2);
        // Appends that other writers send at about the same time compete for the same subjects.
        let subject = random.one_in(3).then_some(number / 4);
        Append { writer, number, len, has_ids, subject }
    }

    /// Returns a tag that only the events of this append have, so that it can be stored only once.
    pub fn tag(&self) -> String {
        format!("append:{}-{}", self.writer, self.number)
    }

    /// Returns the tags that no stored event may have if the append is to succeed.
    pub fn conflicting_tags(&self) -> Vec<String> {
        let subject = self.subject.map(|subject| format!("subject:{subject}"));
        std::iter::once(self.tag()).chain(subject).collect()
    }

    fn event(&self, index: u64) -> String {
        let Append { writer, number, .. } = self;
        let mut random = Random::new(writer << 40 ^ number << 8 ^ index);
        let mut event = String::new();
        let mut tags = if index == 0 { self.conflicting_tags() } else { vec![self.tag()] };
        let kind = random.below(5);
        tags.push(format!("shard:{}", random.below(7)));
        let data = self.data(index);
        write!(event, r#"{{"type":"Kind{kind}","tags":["{}"],"data":{data}"#, tags.join(r#"",""#))
            .unwrap();
        if self.has_ids {
            write!(event, r#","id":"{writer}-{number}-{index}""#).unwrap();
        }
        event.push('}');
        event
    }

    fn data(&self, index: u64) -> String {
        let mut random = Random::new(self.writer << 41 ^ self.number << 9 ^ index);
        // Most events fit on a page; some need overflow pages.
        let size = if random.one_in(30) { 6_000 } else { random.below(400) };
        let mut data =
            format!(r#"{{"w": {}, "n" :{},"i":{index}, "pad":""#, self.writer, self.number);
        while (data.len() as u64) < size {
            write!(data, "{:x}", random.next()).unwrap();
        }
        data + "\"}"
    }

    /// Returns the request. It is rejected if another append has its subject, or if it is stored
    /// already and has no ids.
    pub fn request(&self) -> String {
        let events: Vec<String> = (0..self.len).map(|index| self.event(index)).collect();
        let items: Vec<String> =
            self.conflicting_tags().iter().map(|tag| format!(r#"{{"tags":["{tag}"]}}"#)).collect();
        format!(
            r#"{{"events":[{}],"condition":{{"failIfEventsMatch":{{"items":[{}]}}}}}}"#,
            events.join(","),
            items.join(","),
        )
    }

    /// Returns whether `stored` is event `index` of this append, byte for byte.
    pub fn is(&self, index: u64, stored: &Stored) -> bool {
        let id = stored.id.as_ref().map_or(String::new(), |id| format!(r#","id":"{id}""#));
        let tags: Vec<String> = stored.tags.iter().map(|tag| format!(r#""{tag}""#)).collect();
        let text = format!(
            r#"{{"type":"{}","tags":[{}],"data":{}{id}}}"#,
            stored.event_type,
            tags.join(","),
            stored.data.get()
        );
        text == self.event(index)
    }
}

impl Name {
    /// Returns the name that an event carries in its data.
    pub fn of(stored: &Stored) -> Option<Name> {
        let data: serde_json::Value = serde_json::from_str(stored.data.get()).ok()?;
        let number = |key: &str| data.get(key)?.as_u64();
        Some(Name { writer: number("w")?, number: number("n")?, index: number("i")? })
    }
}
