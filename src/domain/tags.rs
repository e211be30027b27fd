//! The tags of an event, in whichever form the event holds them.

/// The tags of an event.
#[derive(Debug, Clone, Copy)]
pub struct Tags<'a>(Repr<'a>);

#[derive(Debug, Clone, Copy)]
enum Repr<'a> {
    /// Tags inside the text of an event.
    Packed {
        text: &'a str,
        /// The offset at which the prefix of the first tag begins.
        before: usize,
        /// The number of bytes between the end of a tag and the beginning of the next.
        between: usize,
        ends: &'a [u32],
    },
    Listed(&'a [&'a str]),
}

impl<'a> Tags<'a> {
    /// Returns the tags inside a text, which end at the offsets `ends`. `between` bytes are between
    /// the end of one and the beginning of the next; as many follow the offset `before`, and then
    /// the first tag.
    pub(super) fn packed(text: &'a str, before: usize, between: usize, ends: &'a [u32]) -> Self {
        Tags(Repr::Packed { text, before, between, ends })
    }

    /// Returns the tags of a list.
    pub const fn listed(tags: &'a [&'a str]) -> Self {
        Tags(Repr::Listed(tags))
    }

    /// Returns the tags as a list, if they are in one.
    pub fn as_list(&self) -> Option<&'a [&'a str]> {
        match self.0 {
            Repr::Packed { .. } => None,
            Repr::Listed(tags) => Some(tags),
        }
    }

    /// Returns the number of tags.
    pub fn len(&self) -> usize {
        match self.0 {
            Repr::Packed { ends, .. } => ends.len(),
            Repr::Listed(tags) => tags.len(),
        }
    }

    /// Returns whether there are no tags.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the tag at `index`, which must be less than the number of tags.
    pub fn get(&self, index: usize) -> &'a str {
        match self.0 {
            Repr::Packed { text, before, between, ends } => {
                let before = if index == 0 { before } else { ends[index - 1] as usize };
                &text[before + between..ends[index] as usize]
            }
            Repr::Listed(tags) => tags[index],
        }
    }

    /// Returns an iterator over the tags, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (listed, packed) = match self.0 {
            Repr::Packed { ends, .. } => (&[][..], ends.len()),
            Repr::Listed(tags) => (tags, 0),
        };
        let tags = *self;
        listed.iter().copied().chain((0..packed).map(move |index| tags.get(index)))
    }

    /// Returns whether `tag` is one of the tags.
    pub fn contains(&self, tag: &str) -> bool {
        self.iter().any(|own| own == tag)
    }
}
