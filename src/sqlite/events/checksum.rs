//! The checksum of a row of `dcb_events`.
//!
//! There are two kinds. The rows of format 1 have a CRC-32, which is not negative. The others have
//! an inverted CRC-32C, which is negative: it covers the texts as they lie in a record, so a row is
//! verified where it is. The column alone tells them apart.

use smallvec::SmallVec;

use crate::domain::Event;
use crate::sqlite::events::crc32c;
use crate::sqlite::events::page::RowRecord;

/// The states of an append's checksums after the texts of its events.
pub type Checksums = SmallVec<[u32; 1]>;

/// Sums the texts of `events`. This part needs no position, so the caller's thread does it and the
/// writer's thread does not have to.
pub fn checksums(events: &[Event]) -> Checksums {
    events.iter().map(of_texts).collect()
}

fn of_texts(event: &Event) -> u32 {
    let texts = [
        Some(event.event_type()),
        Some(event.tags_json()),
        Some(event.data()),
        event.id(),
        event.metadata(),
    ];
    let (mut state, mut len) = (crc32c::START, 0);
    for text in texts.into_iter().flatten() {
        state = crc32c::update(state, text.as_bytes());
        len += text.len();
    }
    state = crc32c::update(state, &[0; 8][..crc32c::padding(len)]);
    // The limits on the parts keep the lengths far below 4 GiB.
    let sizes = texts.map(|text| text.map_or(0, |text| text.len() as u32 + 1));
    crc32c::update(state, words(sizes).map(u64::to_le_bytes).as_flattened())
}

/// Returns the sizes of a row's texts as its checksum covers them, each in 4 bytes.
#[inline(always)]
fn words(sizes: [u32; 5]) -> [u64; 3] {
    let [a, b, c, d, e] = sizes.map(u64::from);
    [a | b << 32, c | d << 32, e]
}

/// Computes the checksum of a row from the state after its texts.
pub fn of_row(texts: u32, position: i64, timestamp_us: i64) -> i64 {
    stored(crc32c::update(texts, &numbers(position, timestamp_us)))
}

/// Returns the checksum that goes with a state: `-1 - crc`, and the CRC is the inverted state.
fn stored(state: u32) -> i64 {
    -1 - i64::from(!state)
}

/// Returns the numbers of a row as its checksum covers them, after its texts.
fn numbers(position: i64, timestamp_us: i64) -> [u8; 16] {
    let mut numbers = [0; 16];
    numbers[..8].copy_from_slice(&position.to_le_bytes());
    numbers[8..].copy_from_slice(&timestamp_us.to_le_bytes());
    numbers
}

/// Verifies a row. Returns `None` if it is not what was written, or else whether its text is known
/// to be ASCII. `scratch` is for rows of format 1.
#[inline(always)]
pub fn verify(record: &RowRecord<'_>, scratch: &mut Vec<u8>) -> Option<bool> {
    if record.checksum >= 0 {
        return (of_format_1(record, scratch)? == record.checksum).then_some(false);
    }
    let [first, second, third] = words(record.sizes);
    let [position, timestamp] = [record.position, record.timestamp_us].map(i64::cast_unsigned);
    let behind = [first, second, third, position, timestamp];
    let (state, is_ascii) = crc32c::of_padded(record.text, &behind);
    (stored(state) == record.checksum).then_some(is_ascii)
}

/// Computes the checksum of a row of format 1. It covers each text behind a byte that is 1, or that
/// byte alone, which is 0, for NULL, and then the numbers.
#[cold]
fn of_format_1(record: &RowRecord<'_>, covered: &mut Vec<u8>) -> Option<i64> {
    covered.clear();
    let mut rest = record.text;
    for size in record.sizes {
        covered.push(u8::from(size != 0));
        let text;
        (text, rest) = rest.split_at_checked(size.saturating_sub(1) as usize)?;
        covered.extend_from_slice(text);
    }
    covered.extend_from_slice(&numbers(record.position, record.timestamp_us));
    Some(crc32fast::hash(covered).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(record: &RowRecord<'_>) -> bool {
        verify(record, &mut Vec::new()).is_some()
    }

    /// The row of the example in `docs/file-format.md`.
    #[test]
    fn the_example_of_the_documentation_has_both_checksums() {
        let text = b"CourseDefined[\"course:c1\"]{\"capacity\": 2}";
        let timestamp_us = 1_795_420_442_153_534;
        let sizes = [14, 14, 16, 0, 0];
        let row = RowRecord { position: 1, text, sizes, timestamp_us, checksum: -905_227_431 };
        assert!(matches(&row));
        assert!(matches(&RowRecord { checksum: 2_197_957_085, ..row }));
        assert!(!matches(&RowRecord { checksum: 905_227_430, ..row }));
        assert!(!matches(&RowRecord { checksum: -2_197_957_086, ..row }));
    }

    proptest! {
        /// One changed bit, and a text that became another by moving a border, or absent.
        #[test]
        fn a_changed_row_does_not_match(
            text in prop::collection::vec(any::<u8>(), 0..600),
            cuts in prop::array::uniform4(any::<prop::sample::Index>()),
            [position, timestamp_us] in any::<[i64; 2]>(),
            bit in any::<prop::sample::Index>(),
            [from, to] in [0..5_usize, 0..5_usize],
        ) {
            let mut ends = cuts.map(|cut| cut.index(text.len() + 1));
            ends.sort_unstable();
            let mut start = 0;
            let sizes = [ends[0], ends[1], ends[2], ends[3], text.len()].map(|end| {
                let len = end - std::mem::replace(&mut start, end);
                len as u32 + 1
            });
            let own = [position, timestamp_us].map(i64::cast_unsigned);
            let [first, second, third] = words(sizes);
            let behind = [first, second, third, own[0], own[1]];
            let checksum = stored(crc32c::of_padded(&text, &behind).0);
            let row = RowRecord { position, text: &text, sizes, timestamp_us, checksum };
            prop_assert!(matches(&row));
            let bit = bit.index(8 * (text.len() + 16));
            let mut bytes = text.clone();
            let mut numbers = [position, timestamp_us];
            match bytes.get_mut(bit / 8) {
                Some(byte) => *byte ^= 1 << (bit % 8),
                None => numbers[(bit / 8 - text.len()) / 8] ^= 1 << ((bit - 8 * text.len()) % 64),
            }
            let [position, timestamp_us] = numbers;
            let damaged = RowRecord { position, text: &bytes, sizes, timestamp_us, checksum };
            prop_assert!(!matches(&damaged));
            let mut moved = sizes;
            if from != to && moved[from] > 1 {
                moved[from] -= 1;
                moved[to] += 1;
                let damaged = RowRecord { sizes: moved, ..row };
                prop_assert!(!matches(&damaged));
            }
            let mut absent = sizes;
            absent[from] = 0;
            let damaged = RowRecord { sizes: absent, ..row };
            prop_assert!(!matches(&damaged));
        }
    }
}
