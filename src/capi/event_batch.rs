//! The memory of a cursor: one batch of events as plain structs.

use std::collections::TryReserveError;
use std::ptr;
use std::sync::Arc;

use crate::capi::event::{dcb_event, dcb_str};
use crate::domain::{EventView, PackedText};
use crate::error::{Error, Result};
use crate::store::Sink;

/// The events of one batch and all that they point to; its memory is used again by the next.
#[derive(Default)]
pub(super) struct Page {
    /// Memory of the store that texts are in. It does not change while it is shared.
    kept: Vec<Arc<Vec<u8>>>,
    /// The number of bytes of that memory.
    kept_bytes: usize,
    /// The other texts.
    text: Vec<u8>,
    /// The number of bytes of all texts, as a read counts them.
    bytes: usize,
    tags: Vec<dcb_str>,
    events: Vec<dcb_event>,
}

// SAFETY: its pointers lead into its own vectors, which move with it, and into memory that it shares
// and nobody writes.
unsafe impl Send for Page {}

impl Page {
    /// What a page takes at most, whatever the caller asks for: it bounds a cursor's memory. A
    /// single larger event is given alone.
    pub(super) const MAX_EVENTS: usize = 8192;
    /// The first texts are copied, so that a small page does not hold on to memory that is far larger.
    const COPIED_FIRST: usize = 16 * 1024;
    /// How much memory of the store it shares at most.
    const MAX_KEPT_BYTES: usize = 1024 * 1024;
    /// What a large event has made it grow by is given back above this number of bytes.
    const MAX_IDLE_BYTES: usize = 4 * 1024 * 1024;

    /// Returns the events.
    pub(super) fn events(&self) -> &[dcb_event] {
        &self.events
    }

    /// Returns the number of bytes of the events' texts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Empties it. What a single huge event has made it grow by is given back.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.tags.clear();
        self.text.clear();
        self.kept.clear();
        self.kept_bytes = 0;
        self.bytes = 0;
        if self.text.capacity() > Self::MAX_IDLE_BYTES {
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
        let old_len = self.text.len();
        let grown = self.text.try_reserve(text).and_then(|()| self.tags.try_reserve(tags));
        // Also if the second step failed: the first may have moved the text.
        let new_text = self.text.as_ptr();
        let place = |string: &mut dcb_str| {
            let offset = string.data.addr().wrapping_sub(old_text);
            // What is not in the old text is in memory of the store, or absent.
            if offset < old_len {
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

    /// Shares the memory that a text is in, unless that would be too much for what the page has.
    fn keep(&mut self, text: &str, memory: &Arc<Vec<u8>>) -> bool {
        if self.text.len() < Self::COPIED_FIRST {
            return false;
        }
        let range = memory.as_ptr_range();
        let own = text.as_bytes().as_ptr_range();
        if own.start < range.start || range.end < own.end {
            return false;
        }
        if self.kept.last().is_some_and(|last| Arc::ptr_eq(last, memory)) {
            return true;
        }
        let all = self.kept_bytes.saturating_add(memory.capacity());
        if all > Self::MAX_KEPT_BYTES || self.kept.try_reserve(1).is_err() {
            return false;
        }
        self.kept_bytes = all;
        self.kept.push(Arc::clone(memory));
        true
    }

    /// Adds an event whose texts are all parts of the packed text. Adds nothing and returns `false`
    /// if they are not.
    fn push_packed(&mut self, event: &EventView<'_>, packed: PackedText<'_>) -> Result<bool> {
        let text = packed.text;
        let is_kept = packed.memory.is_some_and(|memory| self.keep(text, memory));
        let copied = if is_kept { "" } else { text };
        // All or nothing: a page never holds half an event.
        self.reserve(copied.len(), event.tags.len()).map_err(no_memory)?;
        let base = match is_kept {
            true => text.as_ptr(),
            false => self.text.as_ptr().wrapping_add(self.text.len()),
        };
        let mut parts = Parts { start: text.as_ptr().addr(), len: text.len(), base, outside: 0 };
        let first_tag = self.tags.len();
        let mut added = self.tags.as_ptr().wrapping_add(first_tag);
        if event.tags.is_empty() {
            added = ptr::null();
        }
        match event.tags.as_list() {
            Some(tags) => self.tags.extend(tags.iter().map(|tag| parts.place(tag))),
            None => self.tags.extend(event.tags.iter().map(|tag| parts.place(tag))),
        }
        let event = dcb_event {
            position: event.position.get(),
            timestamp_us: event.timestamp_us,
            r#type: parts.place(event.event_type),
            data: parts.place(event.data),
            metadata: parts.place_any(event.metadata),
            id: parts.place_any(event.id),
            tags: added,
            tags_len: event.tags.len(),
        };
        if parts.outside != 0 {
            self.tags.truncate(first_tag);
            return Ok(false);
        }
        self.text.extend_from_slice(copied.as_bytes());
        self.bytes += text.len();
        self.events.push(event);
        Ok(true)
    }

    /// Adds an event whose texts lie apart.
    fn push_scattered(&mut self, event: &EventView<'_>) -> Result<()> {
        self.reserve(event.text_len(), event.tags.len()).map_err(no_memory)?;
        self.bytes += event.text_len();
        let Page { text, tags, events, .. } = self;
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

/// Where the parts of a packed text, or of its copy, are. All of it is inlined: a call for each part
/// costs more than its work.
struct Parts {
    /// The address of the packed text.
    start: usize,
    /// Its length.
    len: usize,
    /// The first byte of the text or of the copy.
    base: *const u8,
    /// Not 0 if a part was not in the text.
    outside: usize,
}

impl Parts {
    /// Returns a part, which is as far from the beginning of a copy as from that of the original.
    #[inline(always)]
    fn place(&mut self, part: &str) -> dcb_str {
        let offset = part.as_ptr().addr().wrapping_sub(self.start);
        self.outside |= usize::from(offset > self.len);
        self.outside |= usize::from(part.len() > self.len.wrapping_sub(offset));
        dcb_str { data: self.base.wrapping_add(offset).cast(), len: part.len() }
    }

    #[inline(always)]
    fn place_any(&mut self, part: Option<&str>) -> dcb_str {
        match part {
            Some(part) => self.place(part),
            None => ABSENT,
        }
    }
}

/// An absent text.
const ABSENT: dcb_str = dcb_str { data: ptr::null(), len: 0 };

impl Sink for Page {
    fn event(&mut self, event: &EventView<'_>) -> Result<()> {
        match event.packed {
            Some(packed) if self.push_packed(event, packed)? => Ok(()),
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
            given in vec((1_usize..3_000, 0_usize..12, any::<bool>(), any::<bool>(), 0_u8..7), 1..40),
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
                for (event, (_, _, has_id, _, how)) in built.iter().zip(&given) {
                    let view = event.view();
                    let tags: Vec<&str> = view.tags.iter().collect();
                    let packed = view.packed.unwrap().text;
                    // Some events have so much memory that a page keeps only a few of them.
                    let mut bytes = Vec::with_capacity(if *has_id { 300_000 } else { 0 });
                    bytes.extend_from_slice(format!("###{packed}###").as_bytes());
                    let memory = Arc::new(bytes);
                    let own = str::from_utf8(&memory[3..3 + packed.len()]).unwrap();
                    let moved = |part: &str| {
                        let start = part.as_ptr().addr() - packed.as_ptr().addr();
                        &own[start..start + part.len()]
                    };
                    let moved_tags: Vec<&str> = tags.iter().map(|tag| moved(tag)).collect();
                    let shared = |text| Some(PackedText { text, memory: Some(&memory) });
                    // Texts that lie together, lie apart, or are said to lie together and do not; then
                    // the same in memory that is shared.
                    let view = match how {
                        0 => view,
                        1 => EventView { packed: None, ..view },
                        2 => EventView { packed: Some(PackedText::of("elsewhere")), ..view },
                        3 | 4 => EventView {
                            event_type: moved(view.event_type),
                            data: moved(view.data),
                            id: view.id.map(moved),
                            metadata: view.metadata.map(moved),
                            tags: Tags::listed(&moved_tags),
                            packed: shared(own),
                            ..view
                        },
                        5 => EventView { packed: shared(packed), ..view },
                        _ => EventView { packed: shared(own), tags: Tags::listed(&tags), ..view },
                    };
                    page.event(&view).unwrap();
                }
                prop_assert!(page.kept.iter().map(|kept| kept.capacity()).sum::<usize>() <= Page::MAX_KEPT_BYTES);
                prop_assert_eq!(page.events().len(), built.len());
                for (found, event) in page.events().iter().zip(&built) {
                    prop_assert!(is_same(found, &event.view()), "round {}: {:?}", round, event);
                }
            }
        }
    }
}
