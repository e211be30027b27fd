//! A digest over the events of a store, by which two stores can be compared.

use dcb::{CallOptions, Direction, EventView, Position, Query, ReadRequest, Store};
use sha2::{Digest as _, Sha256};

use crate::exit::Failure;
use crate::store;

/// The SHA-256 over events in the order of their positions.
///
/// Each event adds its position and its timestamp, each as 8 bytes, little-endian; then the number
/// of its tags as 4 bytes, little-endian; then its type, its tags, its data, its id and its
/// metadata, each as the byte 1, the length in 4 bytes, little-endian, and the UTF-8, or as the byte
/// 0 if it has none.
#[derive(Clone, Default)]
pub struct Digest {
    hash: Sha256,
    /// The bytes of one event.
    text: Vec<u8>,
    events: i64,
}

impl Digest {
    /// Adds an event.
    pub fn add(&mut self, event: &EventView<'_>) {
        let text = &mut self.text;
        text.clear();
        text.extend_from_slice(&event.position.get().to_le_bytes());
        text.extend_from_slice(&event.timestamp_us.to_le_bytes());
        text.extend_from_slice(&(event.tags.len() as u32).to_le_bytes());
        let mut part = |part: Option<&str>| match part {
            None => text.push(0),
            Some(part) => {
                text.push(1);
                text.extend_from_slice(&(part.len() as u32).to_le_bytes());
                text.extend_from_slice(part.as_bytes());
            }
        };
        part(Some(event.event_type));
        event.tags.iter().for_each(|tag| part(Some(tag)));
        part(Some(event.data));
        part(event.id);
        part(event.metadata);
        self.hash.update(&self.text);
        self.events += 1;
    }

    /// Adds the events of a store above `after`, up to and including `through`.
    pub fn add_range(
        &mut self,
        store: &dyn Store,
        after: Position,
        through: Position,
        mut each: impl FnMut(Position),
    ) -> Result<(), Failure> {
        let before = Some(through.next());
        let request = ReadRequest::new(Query::all(), after, before, None, Direction::Forward);
        store::for_each(store, request, &CallOptions::default(), |event| {
            self.add(event);
            each(event.position);
            Ok(true)
        })?;
        Ok(())
    }

    /// Returns the number of events that were added.
    pub fn events(&self) -> i64 {
        self.events
    }

    /// Returns the digest of the events added so far, in hexadecimal digits.
    pub fn hex(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use dcb::{EventBuilder, EventId, EventType, Tag};

    use super::*;

    #[test]
    fn every_part_of_an_event_counts() {
        let digest = |position, time, tags: &[&str], data, id: Option<&'static str>| {
            let mut builder = EventBuilder::new(EventType::new("A").unwrap());
            tags.iter().for_each(|tag| builder.tag(Tag::new(tag).unwrap()).unwrap());
            builder.data(data).unwrap();
            id.into_iter().for_each(|id| builder.id(EventId::new(id).unwrap()));
            let mut digest = Digest::default();
            digest.add(&builder.build().view(Position::from(position), time));
            digest.hex()
        };
        let all = [
            digest(1, 1, &["a", "b"], "1", None),
            digest(2, 1, &["a", "b"], "1", None),
            digest(1, 2, &["a", "b"], "1", None),
            digest(1, 1, &["b", "a"], "1", None),
            digest(1, 1, &["ab"], "1", None),
            digest(1, 1, &["a", "b"], "1 ", None),
            digest(1, 1, &["a", "b"], "1", Some("i")),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
    }

    #[test]
    fn a_digest_is_the_documented_bytes() {
        let event = EventBuilder::new(EventType::new("A").unwrap()).build();
        let mut digest = Digest::default();
        digest.add(&event.view(Position::from(1), 2));
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(b"\x01\x01\0\0\0A\x01\x04\0\0\0null\0\0");
        let expected: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest.hex(), expected);
    }
}
