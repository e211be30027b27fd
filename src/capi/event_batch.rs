//! The memory of a cursor: one batch of events as plain structs.

use std::collections::TryReserveError;
use std::ffi::c_char;
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

    /// The events; before [`Page::finish`] without the places of what they point to.
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

    /// A string behind those before it, present but without its place: the text may still move.
    fn push(&mut self, text: &str) -> dcb_str {
        self.text.extend_from_slice(text.as_bytes());
        dcb_str { data: ptr::dangling(), len: text.len() }
    }

    /// Gives every string and every list of tags its place, in the order of [`Page::push`].
    pub(super) fn finish(&mut self) {
        let mut text = self.text.as_ptr().cast::<c_char>();
        let mut place = |string: &mut dcb_str| {
            if !string.data.is_null() {
                string.data = text;
                text = text.wrapping_add(string.len);
            }
        };
        let mut tags = &mut self.tags[..];
        for event in &mut self.events {
            place(&mut event.r#type);
            place(&mut event.data);
            place(&mut event.metadata);
            place(&mut event.id);
            let (own, others) = std::mem::take(&mut tags).split_at_mut(event.tags_len);
            own.iter_mut().for_each(&mut place);
            if !own.is_empty() {
                event.tags = own.as_ptr();
            }
            tags = others;
        }
    }
}

impl Sink for Page {
    fn event(&mut self, event: &EventView<'_>) -> Result<()> {
        // All or nothing: a page never holds half an event.
        self.text.try_reserve(event.text_len()).map_err(no_memory)?;
        self.tags.try_reserve(event.tags.len()).map_err(no_memory)?;
        self.events.try_reserve(1).map_err(no_memory)?;
        let absent = dcb_str { data: ptr::null(), len: 0 };
        let r#type = self.push(event.event_type);
        let data = self.push(event.data);
        let metadata = event.metadata.map_or(absent, |text| self.push(text));
        let id = event.id.map_or(absent, |text| self.push(text));
        for tag in event.tags.iter() {
            let tag = self.push(tag);
            self.tags.push(tag);
        }
        self.events.push(dcb_event {
            position: event.position.get(),
            timestamp_us: event.timestamp_us,
            r#type,
            data,
            metadata,
            id,
            tags: ptr::null(),
            tags_len: event.tags.len(),
        });
        Ok(())
    }
}

fn no_memory(_: TryReserveError) -> Error {
    Error::no_memory("a batch of events")
}
