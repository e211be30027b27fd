//! The memory of a cursor: one batch of events as plain structs.

use std::collections::TryReserveError;
use std::ptr;

use crate::capi::event::{dcb_event, dcb_str};
use crate::domain::EventView;
use crate::error::{Error, Result};
use crate::store::Sink;

/// The events of one batch and all that they point to; its memory is used again by the next.
#[derive(Default)]
pub(super) struct Page {
    text: Vec<u8>,
    tags: Vec<dcb_str>,
    events: Vec<dcb_event>,
}

// SAFETY: its pointers lead into its own vectors, which move with it.
unsafe impl Send for Page {}

impl Page {
    /// What a page takes at most, whatever the caller asks for: it bounds a cursor's memory. A
    /// single larger event is given alone.
    pub(super) const MAX_EVENTS: usize = 8192;
    pub(super) const MAX_BYTES: usize = 1024 * 1024;

    /// Returns the events.
    pub(super) fn events(&self) -> &[dcb_event] {
        &self.events
    }

    /// Empties it. What a single huge event has made it grow by is given back.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.tags.clear();
        self.text.clear();
        if self.text.capacity() > 4 * Self::MAX_BYTES {
            self.text = Vec::new();
        }
        // Room for a small read, so that its memory does not grow step by step. If it is refused,
        // the first event asks again.
        let _ = self.text.try_reserve(4096);
        let _ = self.tags.try_reserve(32);
        let _ = self.events.try_reserve(16);
    }

    /// Makes room for an event. What moves is given its new place.
    fn reserve(&mut self, text: usize, tags: usize) -> std::result::Result<(), TryReserveError> {
        self.events.try_reserve(1)?;
        let has_room = self.text.capacity() - self.text.len() >= text
            && self.tags.capacity() - self.tags.len() >= tags;
        if has_room { Ok(()) } else { self.grow(text, tags) }
    }

    #[cold]
    fn grow(&mut self, text: usize, tags: usize) -> std::result::Result<(), TryReserveError> {
        let (old_text, old_tags) = (self.text.as_ptr().addr(), self.tags.as_ptr().addr());
        let grown = self.text.try_reserve(text).and_then(|()| self.tags.try_reserve(tags));
        // Also if the second step failed: the first may have moved the text.
        let new_text = self.text.as_ptr();
        let place = |string: &mut dcb_str| {
            if !string.data.is_null() {
                let offset = string.data.addr().wrapping_sub(old_text);
                string.data = new_text.wrapping_add(offset).cast();
            }
        };
        self.tags.iter_mut().for_each(place);
        let new_tags = self.tags.as_ptr();
        for event in &mut self.events {
            let texts = [&mut event.r#type, &mut event.data, &mut event.metadata, &mut event.id];
            texts.into_iter().for_each(place);
            if !event.tags.is_null() {
                event.tags = new_tags.wrapping_byte_add(event.tags.addr().wrapping_sub(old_tags));
            }
        }
        grown
    }

    /// Adds an event whose texts are all parts of `text`. Adds nothing and returns `false` if they
    /// are not.
    fn push_packed(&mut self, event: &EventView<'_>, text: &str) -> Result<bool> {
        // All or nothing: a page never holds half an event.
        self.reserve(text.len(), event.tags.len()).map_err(no_memory)?;
        let (start, copy) =
            (text.as_ptr().addr(), self.text.as_ptr().wrapping_add(self.text.len()));
        let first_tag = self.tags.len();
        let mut is_within = true;
        // A part lies as far from the beginning of the copy as from that of the original.
        let mut place = |part: &str| {
            let offset = part.as_ptr().addr().wrapping_sub(start);
            is_within &= offset <= text.len() && part.len() <= text.len() - offset;
            dcb_str { data: copy.wrapping_add(offset).cast(), len: part.len() }
        };
        let mut added = self.tags.as_ptr().wrapping_add(first_tag);
        if event.tags.is_empty() {
            added = ptr::null();
        }
        self.tags.extend(event.tags.iter().map(&mut place));
        let event = dcb_event {
            position: event.position.get(),
            timestamp_us: event.timestamp_us,
            r#type: place(event.event_type),
            data: place(event.data),
            metadata: event.metadata.map_or(ABSENT, &mut place),
            id: event.id.map_or(ABSENT, &mut place),
            tags: added,
            tags_len: event.tags.len(),
        };
        if !is_within {
            self.tags.truncate(first_tag);
            return Ok(false);
        }
        self.text.extend_from_slice(text.as_bytes());
        self.events.push(event);
        Ok(true)
    }

    /// Adds an event whose texts lie apart.
    fn push_scattered(&mut self, event: &EventView<'_>) -> Result<()> {
        self.reserve(event.text_len(), event.tags.len()).map_err(no_memory)?;
        let Page { text, tags, events } = self;
        let mut push = |part: &str| {
            let data = text.as_ptr().wrapping_add(text.len()).cast();
            text.extend_from_slice(part.as_bytes());
            dcb_str { data, len: part.len() }
        };
        let mut added = tags.as_ptr().wrapping_add(tags.len());
        if event.tags.is_empty() {
            added = ptr::null();
        }
        tags.extend(event.tags.iter().map(&mut push));
        events.push(dcb_event {
            position: event.position.get(),
            timestamp_us: event.timestamp_us,
            r#type: push(event.event_type),
            data: push(event.data),
            metadata: event.metadata.map_or(ABSENT, &mut push),
            id: event.id.map_or(ABSENT, &mut push),
            tags: added,
            tags_len: event.tags.len(),
        });
        Ok(())
    }
}

/// An absent text.
const ABSENT: dcb_str = dcb_str { data: ptr::null(), len: 0 };

impl Sink for Page {
    fn event(&mut self, event: &EventView<'_>) -> Result<()> {
        match event.packed {
            Some(text) if self.push_packed(event, text)? => Ok(()),
            _ => self.push_scattered(event),
        }
    }
}

fn no_memory(_: TryReserveError) -> Error {
    Error::no_memory("a batch of events")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{EventBuilder, EventId, EventType, SequencedEvent, Tag, Tags};
    use crate::position::at;

    fn text(string: &dcb_str) -> Option<&str> {
        // SAFETY: the page, which has these bytes, is borrowed by the caller.
        let bytes = unsafe {
            string.data.as_ref()?;
            std::slice::from_raw_parts(string.data.cast(), string.len)
        };
        Some(str::from_utf8(bytes).unwrap())
    }

    fn is_same(found: &dcb_event, event: &EventView<'_>) -> bool {
        let tags = match found.tags.is_null() {
            true => &[],
            // SAFETY: as above.
            false => unsafe { std::slice::from_raw_parts(found.tags, found.tags_len) },
        };
        found.position == event.position.get()
            && text(&found.r#type) == Some(event.event_type)
            && text(&found.data) == Some(event.data)
            && text(&found.metadata) == event.metadata
            && text(&found.id) == event.id
            && found.tags_len == event.tags.len()
            && tags.iter().map(text).eq(event.tags.iter().map(Some))
    }

    proptest! {
        /// The page has to grow, and its texts move with it.
        #[test]
        fn events_lie_in_a_page_as_they_were_given(
            given in vec((1_usize..3_000, 0_usize..12, any::<bool>(), any::<bool>(), 0_u8..4), 1..40),
        ) {
            let built: Vec<SequencedEvent> = (1..).zip(&given).map(|(position, (size, tags, has_id, has_metadata, _))| {
                let tags: Vec<String> = (0..*tags).map(|tag| format!("{size}:{tag}\u{1}")).collect();
                let data = format!("\"{}\"", "d".repeat(*size));
                let mut event = EventBuilder::new(EventType::new("Typé").unwrap());
                for tag in &tags {
                    // Every other event has tags without escapes.
                    let tag = if size % 2 == 0 { tag } else { tag.trim_end_matches('\u{1}') };
                    event.tag(Tag::new(tag).unwrap()).unwrap();
                }
                event.data(&data).unwrap();
                if *has_id {
                    event.id(EventId::new("i").unwrap());
                }
                if *has_metadata {
                    event.metadata("{}").unwrap();
                }
                SequencedEvent { position: at(position), timestamp_us: 5, event: event.build() }
            }).collect();
            let mut page = Page::default();
            for round in 0..2 {
                page.clear();
                for (event, (.., how)) in built.iter().zip(&given) {
                    let view = event.view();
                    let tags: Vec<&str> = view.tags.iter().collect();
                    // Texts that lie together, lie apart, or are said to lie together and do not.
                    let view = match how {
                        0 | 1 => view,
                        2 => EventView { packed: None, ..view },
                        _ => EventView { packed: Some("elsewhere"), tags: Tags::listed(&tags), ..view },
                    };
                    page.event(&view).unwrap();
                }
                prop_assert_eq!(page.events().len(), built.len());
                for (found, event) in page.events().iter().zip(&built) {
                    prop_assert!(is_same(found, &event.view()), "round {}: {:?}", round, event);
                }
            }
        }
    }
}
