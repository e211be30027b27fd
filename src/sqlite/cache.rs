//! Caches of events and of short posting lists that were read from the file, shared by all
//! connections of a store.
//!
//! A committed event never changes, and neither does the list of a term in a segment. So what is
//! cached never becomes invalid, whatever happens to the pages of the file. Only what a read
//! transaction has seen is cached: a transaction that writes may read rows that are undone later.
//!
//! A cache is divided into shards, each behind a lock of its own that is held for memory work only.
//! Within a shard an entry has the [`WAYS`] places of a set. A set fills one cache line of the
//! processor, and a place has a part of its entry's hash: so a look-up reads this line and the entry
//! that it returns, and no other. Two limits bound a cache: the number of places, and the bytes that
//! the entries take. An entry that was looked up since the hand last passed it is spared once (the
//! CLOCK algorithm).

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::{Direction, PositionRange, SequencedEvent, Term};
use crate::position::Position;

/// How much a store caches unless the options say otherwise.
pub const DEFAULT_CACHE_BYTES: usize = 64 << 20;
/// The number of shards: so many that threads rarely meet at one.
const SHARDS: usize = 64;
/// The number of places that an entry may have in its shard.
const WAYS: usize = 4;
/// Where there is no room, this many look-ups fail for one entry that is kept.
const MISSES_PER_ENTRY: u32 = 4;

/// The caches of a store.
#[derive(Debug)]
pub struct ReadCaches {
    /// Events by position.
    pub events: Cache<SequencedEvent>,
    /// Posting lists by segment and term.
    pub lists: Cache<PostingList>,
}

impl ReadCaches {
    /// Creates caches that take at most `max_bytes` together. With 0 they keep nothing.
    pub fn new(max_bytes: usize) -> Self {
        let lists = max_bytes / 8;
        ReadCaches { events: Cache::new(max_bytes - lists), lists: Cache::new(lists) }
    }
}

/// What one reader does with the caches of its store. The default has none.
#[derive(Debug, Clone, Default)]
pub struct CacheUse {
    /// The caches, or `None` if the reader has none.
    pub caches: Option<Arc<ReadCaches>>,
    /// Whether what is read is committed, so that it may be kept.
    pub may_keep: bool,
}

/// An entry of a cache.
pub trait Entry {
    /// What identifies the entry.
    type Key: Copy + Eq;
    /// The number of bytes for which the cache has a place. It is below what most entries take, so
    /// that the bytes are the limit that counts.
    const BYTES_PER_PLACE: usize;

    /// Returns the key of the entry.
    fn key(&self) -> Self::Key;

    /// Returns a number from which the place of an entry with this key is computed.
    fn seed(key: Self::Key) -> u64;

    /// Returns about how many bytes the entry takes.
    fn bytes(&self) -> usize;
}

impl Entry for SequencedEvent {
    type Key = Position;
    const BYTES_PER_PLACE: usize = 256;

    fn key(&self) -> Position {
        self.position
    }

    fn seed(position: Position) -> u64 {
        position.get().cast_unsigned()
    }

    fn bytes(&self) -> usize {
        self.event.footprint() + size_of::<i64>() * 2
    }
}

/// The postings of a term in a segment, if they are few.
#[derive(Debug)]
pub struct PostingList {
    segment: i64,
    term: Term,
    /// All positions, ascending; `None` if there are more than [`PostingList::MAX`].
    positions: Option<Box<[Position]>>,
}

impl PostingList {
    /// The most positions that a cached list has.
    pub const MAX: usize = 32;

    /// Creates the list of a term. `positions` are all that the segment has, or more than
    /// [`PostingList::MAX`] of them.
    pub fn new(segment: i64, term: Term, positions: &[Position]) -> Self {
        let few = positions.len() <= PostingList::MAX;
        PostingList { segment, term, positions: few.then(|| positions.into()) }
    }

    /// Appends the positions in `span` to `out`, in order, until `out` holds `wanted`. Returns
    /// `false` if the list is too long to be cached.
    pub fn collect(
        &self,
        span: PositionRange,
        direction: Direction,
        wanted: usize,
        out: &mut Vec<Position>,
    ) -> bool {
        let Some(positions) = &self.positions else { return false };
        let inside = positions
            .iter()
            .copied()
            .filter(|position| *position > span.after && *position <= span.through);
        let room = wanted.saturating_sub(out.len());
        match direction {
            Direction::Forward => out.extend(inside.take(room)),
            Direction::Backward => out.extend(inside.rev().take(room)),
        }
        true
    }
}

impl Entry for PostingList {
    type Key = (i64, Term);
    const BYTES_PER_PLACE: usize = 96;

    fn key(&self) -> (i64, Term) {
        (self.segment, self.term)
    }

    fn seed((segment, term): (i64, Term)) -> u64 {
        segment.cast_unsigned().rotate_left(32) ^ term.0
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.positions.as_deref().map_or(0, size_of_val)
    }
}

/// A bounded cache.
#[derive(Debug)]
pub struct Cache<T> {
    shards: Box<[Mutex<Shard<T>>]>,
}

#[derive(Debug)]
struct Shard<T> {
    /// They grow with what is cached, so that the cache of a small store takes little memory.
    sets: Vec<Set<T>>,
    /// The bytes that the entries take.
    bytes: usize,
    /// The most bytes that they may take.
    max_bytes: usize,
    /// The place at which the search for an entry to drop goes on.
    hand: usize,
    /// How many look-ups failed where there was no room.
    misses: u32,
}

/// What a look-up found.
#[derive(Debug)]
pub enum Found<T> {
    /// The entry.
    Cached(Arc<T>),
    /// Nothing. The caller should keep the entry once it has read it.
    Wanted,
    /// Nothing, and the entry is not worth keeping.
    Absent,
}

/// The places that an entry may have.
#[derive(Debug)]
#[repr(align(64))]
struct Set<T>([Place<T>; WAYS]);

const _: () = assert!(size_of::<Set<SequencedEvent>>() == 64);

impl<T> Set<T> {
    fn empty() -> Self {
        Set(std::array::from_fn(|_| Place { entry: None, tag: 0, is_used: false }))
    }
}

#[derive(Debug)]
struct Place<T> {
    entry: Option<Arc<T>>,
    /// The part of the entry's hash that [`tag`] gives.
    tag: u32,
    /// Whether the entry was looked up since the hand last passed it.
    is_used: bool,
}

impl<T: Entry> Place<T> {
    /// Returns whether the entry here has this key, whose hash is `hash`.
    fn holds(&self, key: T::Key, hash: u64) -> bool {
        self.tag == tag(hash) && self.entry.as_ref().is_some_and(|entry| entry.key() == key)
    }
}

/// Returns the part of a hash that tells most entries of a set apart.
fn tag(hash: u64) -> u32 {
    // The set follows from the lowest bits.
    (hash >> 16) as u32
}

impl<T: Entry> Cache<T> {
    fn new(max_bytes: usize) -> Self {
        let shard = |_| {
            let max_bytes = max_bytes / SHARDS;
            Mutex::new(Shard { sets: Vec::new(), bytes: 0, max_bytes, hand: 0, misses: 0 })
        };
        Cache { shards: (0..SHARDS).map(shard).collect() }
    }

    /// Looks up the entry with this key.
    ///
    /// Where there is no room, another entry would have to leave. Only one of [`MISSES_PER_ENTRY`]
    /// misses is worth that: what is read again and again is soon cached, and reads of a store that
    /// is larger than the cache do not copy every event.
    pub fn get(&self, key: T::Key) -> Found<T> {
        let (shard, hash) = self.shard(key);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.max_bytes == 0 {
            return Found::Absent;
        }
        let mut is_full = shard.bytes >= shard.max_bytes / 8 * 7;
        if let Some(ways) = shard.ways(hash) {
            if let Some(place) = ways.iter_mut().find(|place| place.holds(key, hash)) {
                place.is_used = true;
                return place.entry.clone().map_or(Found::Absent, Found::Cached);
            }
            let has_room = ways.iter().any(|place| place.entry.is_none());
            is_full |= !has_room && !shard.may_grow();
        }
        if !is_full {
            return Found::Wanted;
        }
        shard.misses = shard.misses.wrapping_add(1);
        if shard.misses.is_multiple_of(MISSES_PER_ENTRY) { Found::Wanted } else { Found::Absent }
    }

    /// Keeps an entry. Others may have to leave for it.
    pub fn keep(&self, entry: Arc<T>) {
        let (shard, hash) = self.shard(entry.key());
        shard.lock().unwrap_or_else(PoisonError::into_inner).keep(entry, hash);
    }

    /// Returns the bytes that the entries take.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().bytes).sum()
    }

    fn shard(&self, key: T::Key) -> (&Mutex<Shard<T>>, u64) {
        let (shard, hash) = Self::hash(key);
        (&self.shards[shard], hash)
    }

    /// Returns the number of the shard for a key, and the hash that gives its places there.
    fn hash(key: T::Key) -> (usize, u64) {
        // Fibonacci hashing: keys that follow each other are spread over all shards.
        let hash = T::seed(key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((hash >> 58) as usize % SHARDS, hash >> 16)
    }
}

impl<T: Entry> Shard<T> {
    /// Returns the places that an entry with this hash may have, or `None` if there are none yet.
    fn ways(&mut self, hash: u64) -> Option<&mut [Place<T>; WAYS]> {
        let set = hash.checked_rem(self.sets.len() as u64)? as usize;
        self.sets.get_mut(set).map(|set| &mut set.0)
    }

    /// Returns whether there may be more places.
    fn may_grow(&self) -> bool {
        self.sets.len() * WAYS < self.max_bytes / T::BYTES_PER_PLACE
    }

    /// Adds places until an entry with this hash has one, as far as there is memory for them.
    fn grow(&mut self, hash: u64) {
        while self.may_grow()
            && self.ways(hash).is_none_or(|ways| ways.iter().all(|place| place.entry.is_some()))
        {
            let count = (2 * self.sets.len()).max(4);
            let mut sets = Vec::new();
            if sets.try_reserve_exact(count).is_err() {
                return;
            }
            sets.resize_with(count, Set::empty);
            let old = std::mem::replace(&mut self.sets, sets);
            self.hand = 0;
            for place in old.into_iter().flat_map(|set| set.0) {
                let Some(entry) = &place.entry else { continue };
                let (_, hash) = Cache::<T>::hash(entry.key());
                // The entries of a set are spread over two, so each finds a place.
                let mut ways = self.ways(hash).into_iter().flatten();
                if let Some(free) = ways.find(|place| place.entry.is_none()) {
                    *free = place;
                } else {
                    self.bytes -= Self::size_of(entry);
                }
            }
        }
    }

    fn keep(&mut self, entry: Arc<T>, hash: u64) {
        let (key, bytes) = (entry.key(), Self::size_of(&entry));
        if bytes > self.max_bytes / 4 {
            return;
        }
        if self.ways(hash).is_some_and(|ways| ways.iter().any(|place| place.holds(key, hash))) {
            return;
        }
        self.grow(hash);
        let Some(ways) = self.ways(hash) else { return };
        let place = match ways.iter().position(|place| place.entry.is_none()) {
            Some(free) => free,
            None => {
                let spared = ways.iter().position(|place| !place.is_used);
                ways.iter_mut().for_each(|place| place.is_used = false);
                spared.unwrap_or_default()
            }
        };
        ways[place].tag = tag(hash);
        let replaced = ways[place].entry.replace(entry);
        self.bytes += bytes;
        self.bytes -= replaced.as_deref().map_or(0, Self::size_of);
        while self.bytes > self.max_bytes {
            self.drop_one();
        }
    }

    /// Removes the next entry that was not looked up since the hand last passed it.
    fn drop_one(&mut self) {
        let count = self.sets.len() * WAYS;
        loop {
            let place = &mut self.sets[self.hand / WAYS].0[self.hand % WAYS];
            self.hand = (self.hand + 1) % count;
            if std::mem::take(&mut place.is_used) {
                continue;
            }
            if let Some(entry) = place.entry.take() {
                self.bytes -= Self::size_of(&entry);
                return;
            }
        }
    }

    /// What an entry takes with its counts and its place.
    fn size_of(entry: &T) -> usize {
        entry.bytes() + 2 * size_of::<usize>() + size_of::<Place<T>>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{EventBuilder, EventType};
    use crate::position::at;

    fn event(position: i64, data: usize) -> Arc<SequencedEvent> {
        let mut event = EventBuilder::new(EventType::new("A").unwrap());
        let data = format!("\"{}\"", "x".repeat(data));
        event.data(&data).unwrap();
        Arc::new(SequencedEvent {
            position: at(position),
            timestamp_us: position * 3,
            event: event.build(),
        })
    }

    fn is_cached(cache: &Cache<SequencedEvent>, position: i64) -> bool {
        matches!(cache.get(at(position)), Found::Cached(_))
    }

    proptest! {
        /// Whatever is kept and looked up, the cache answers with what was kept at the position, or
        /// with nothing, and stays within its limit.
        #[test]
        fn it_returns_what_was_kept_and_stays_within_its_limit(
            steps in prop::collection::vec((any::<bool>(), 1..300_i64, 0..3_000_usize), 1..600),
            kib in prop_oneof![Just(0_usize), 64..2_048_usize],
        ) {
            let cache = Cache::new(kib * 1024);
            let mut sizes = HashMap::new();
            for (keeps, position, size) in steps {
                // A position has one event for ever.
                let size = *sizes.entry(position).or_insert(size);
                if keeps {
                    cache.keep(event(position, size));
                } else if let Found::Cached(found) = cache.get(at(position)) {
                    prop_assert_eq!(&found.event, &event(position, size).event);
                    prop_assert_eq!(found.timestamp_us, position * 3);
                }
                prop_assert!(cache.bytes() <= kib * 1024);
            }
        }

        /// A list answers like the plain filter over its positions.
        #[test]
        fn a_list_collects_what_lies_in_the_span(
            positions in prop::collection::btree_set((1..60_i64).prop_map(at), 0..40),
            (after, through) in ((0..60_i64).prop_map(at), (0..60_i64).prop_map(at)),
            forward in any::<bool>(),
            wanted in 0..40_usize,
        ) {
            let positions: Vec<Position> = positions.into_iter().collect();
            let list = PostingList::new(1, Term(2), &positions);
            let direction = if forward { Direction::Forward } else { Direction::Backward };
            let mut found = vec![at(99)];
            let span = PositionRange { after, through };
            let answers = list.collect(span, direction, wanted, &mut found);
            prop_assert_eq!(answers, positions.len() <= PostingList::MAX);
            let mut plain: Vec<Position> =
                positions.into_iter().filter(|own| *own > after && *own <= through).collect();
            if !forward {
                plain.reverse();
            }
            plain.truncate(wanted.saturating_sub(1));
            prop_assert_eq!(&found[1..], if answers { &plain[..] } else { &[] });
        }
    }

    #[test]
    fn an_event_that_is_looked_up_again_and_again_stays() {
        let cache = Cache::new(256 * 1024);
        cache.keep(event(1, 100));
        for position in 2..20_000 {
            cache.keep(event(position, 100));
            assert!(is_cached(&cache, 1), "dropped for {position}");
        }
        assert!(cache.bytes() > 128 * 1024, "{} bytes are used", cache.bytes());
        let kept = (2..20_000).filter(|position| is_cached(&cache, *position)).count();
        assert!(kept < 2_000, "{kept} events are cached");
    }

    #[test]
    fn a_full_cache_takes_one_of_four_that_it_lacks() {
        let cache = Cache::new(256 * 1024);
        let mut kept = [0, 0];
        for position in 1..20_000 {
            if matches!(cache.get(at(position)), Found::Wanted) {
                cache.keep(event(position, 100));
                kept[usize::from(position > 10_000)] += 1;
            }
        }
        assert!(kept[0] > 2_500, "{kept:?}: an empty cache takes all");
        assert!((2_400..2_600).contains(&kept[1]), "{kept:?}: a full one takes a quarter");
    }

    #[test]
    fn a_cache_of_few_events_has_few_places() {
        let cache = Cache::new(64 << 20);
        let places = || -> usize {
            cache.shards.iter().map(|shard| shard.lock().unwrap().sets.len() * WAYS).sum()
        };
        assert_eq!(places(), 0);
        (1..=1_000).for_each(|position| cache.keep(event(position, 10)));
        assert!((1..=1_000).all(|position| is_cached(&cache, position)), "an event was dropped");
        assert!(places() <= 8_000, "{} places for 1,000 events", places());
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        let caches = ReadCaches::new(0);
        caches.events.keep(event(1, 1));
        assert!(matches!(caches.events.get(at(1)), Found::Absent));
    }

    #[test]
    fn lists_of_other_segments_and_terms_are_told_apart() {
        let lists = ReadCaches::new(1 << 20).lists;
        for (segment, term) in [(1, 1), (1, 2), (2, 1)] {
            lists.keep(Arc::new(PostingList::new(segment, Term(term), &[at(segment * 10)])));
        }
        let span = PositionRange { after: at(0), through: at(100) };
        let found = |segment, term| {
            let mut found = Vec::new();
            let Found::Cached(list) = lists.get((segment, Term(term))) else { return None };
            list.collect(span, Direction::Forward, 9, &mut found);
            Some(found)
        };
        assert_eq!(found(1, 1), Some(vec![at(10)]));
        assert_eq!(found(1, 2), Some(vec![at(10)]));
        assert_eq!(found(2, 1), Some(vec![at(20)]));
        assert_eq!(found(2, 2), None);
        // Another key with the same hash.
        let (other, one) = ((2, Term(1 ^ 3 << 32)), (1, Term(1)));
        assert_eq!(PostingList::seed(other), PostingList::seed(one));
        assert_eq!(found(other.0, other.1.0), None);
    }
}
