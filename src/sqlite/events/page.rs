//! Decoding pages of SQLite's table b-trees, and the records on them.
//!
//! The format is described at <https://sqlite.org/fileformat2.html>. The parts that are read here:
//!
//! | page | first byte | header | cell |
//! | --- | --- | --- | --- |
//! | interior | 0x05 | 12 bytes, the last four the rightmost child | a child, and its highest key |
//! | leaf | 0x0d | 8 bytes | the length of the record, the key, the record |
//!
//! An array of two-byte cell offsets follows the header. Bytes 3 and 4 of the page count the cells.
//! Nothing here trusts a page: decoding a page of any content returns `None` or a value, and the
//! checksum of the row or the block decides.

use std::sync::Arc;

/// The first byte of an interior page of a table.
pub const BRANCH: u8 = 0x05;
/// The first byte of a leaf page of a table.
const LEAF: u8 = 0x0d;

/// A child of an interior page, and the highest position below it. The page does
/// not store that of the last child, which counts as unbounded.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    high: i64,
    /// Its page number.
    pub page: u32,
}

/// The children of an interior page, in order. They are in one allocation, because a lookup in a
/// large tree spends its time waiting for memory.
pub type Branch = Arc<[Child]>;

/// Decodes an interior page. Returns `None` if it is damaged.
pub fn parse_branch(page: &[u8]) -> Option<Branch> {
    let count = usize::from(be16(page, 3)?);
    let mut children = Vec::with_capacity(count + 1);
    for index in 0..count {
        let cell = page.get(usize::from(be16(page, 12 + 2 * index)?)..)?;
        children.push(Child { high: varint(cell.get(4..)?)?.0, page: be32(cell, 0)? });
    }
    children.push(Child { high: i64::MAX, page: be32(page, 8)? });
    children.is_sorted_by_key(|child| child.high).then(|| children.into())
}

/// How far around the guessed place a child is searched before all children are.
const NEAR: usize = 4;

/// Returns the index of the first child whose positions reach `position`. Pages of appended rows
/// hold about the same number of positions each, so the search starts at the interpolated place.
pub fn child_of(branch: &[Child], position: i64) -> Option<usize> {
    let last = branch.len().checked_sub(1)?;
    let is_below = |index: usize| branch[index].high < position;
    // The answer is in low..=high: `low` is below the position, or it is the first child.
    let (mut low, mut high) = (0, last);
    if let [first, .., before_last, _] = branch {
        let span = before_last.high.wrapping_sub(first.high);
        let share = position.wrapping_sub(first.high) as f64 / span.max(1) as f64;
        let guess = (share * (last - 1) as f64) as usize;
        let (from, to) = (guess.saturating_sub(NEAR), guess.saturating_add(NEAR).min(last));
        if from <= to && (from == 0 || is_below(from)) && (to == last || !is_below(to)) {
            (low, high) = (from, to);
        }
    }
    let within = branch[low..high].partition_point(|child| child.high < position);
    (low + within < branch.len()).then_some(low + within)
}

/// The child of an interior page that a scan came to last. All children of the page are leaves.
#[derive(Debug)]
pub struct Walk {
    branch: Branch,
    index: usize,
}

impl Walk {
    /// Creates a walk that has come to this child.
    pub fn new(branch: Branch, index: usize) -> Self {
        Walk { branch, index }
    }

    /// Returns the page of the child for `position` if that is the last one or next to it, and
    /// moves there. Returns `None` if the pages above this one have to tell.
    pub fn step(&mut self, position: i64) -> Option<u32> {
        let has =
            |index: &usize| match self.branch.get(index.wrapping_sub(1)..index.wrapping_add(2)) {
                // The page does not say where its own first child begins, nor where its last one ends.
                Some([before, child, ..]) => before.high < position && position <= child.high,
                _ => false,
            };
        let near = [self.index, self.index.wrapping_add(1), self.index.wrapping_sub(1)];
        self.index = near.into_iter().find(has)?;
        self.branch.get(self.index).map(|child| child.page)
    }
}

/// A leaf page, which holds rows.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    page: &'a [u8],
    usable: usize,
    /// The position of the first row on the page.
    first: i64,
    /// The position of the last row on the page.
    last: i64,
    /// How many rows are on the page.
    len: u16,
}

/// A cell of a leaf page.
#[derive(Debug, Clone, Copy)]
struct Cell {
    key: i64,
    /// The offset in the page at which the record starts.
    start: usize,
    /// The length of the record.
    size: usize,
}

impl<'a> Leaf<'a> {
    /// Decodes the header of a leaf page with at least one row. Returns `None` if it is not one.
    pub fn parse(page: &'a [u8], usable: usize) -> Option<Self> {
        let is_leaf = *page.first()? == LEAF;
        let leaf = Leaf { page, usable, first: 0, last: 0, len: be16(page, 3)? };
        (is_leaf && leaf.len > 0).then_some(())?;
        Some(Leaf { first: leaf.cell(0)?.key, last: leaf.cell(leaf.len - 1)?.key, ..leaf })
    }

    /// Returns whether the row of `position` would be on this page.
    pub fn has(&self, position: i64) -> bool {
        self.first <= position && position <= self.last
    }

    // All that a row is found and decoded with is inlined: what a call returns through memory costs
    // more than the call.
    #[inline(always)]
    fn cell(&self, index: u16) -> Option<Cell> {
        let mut at = usize::from(be16(self.page, 8 + 2 * usize::from(index))?);
        let size = usize::try_from(varint_at(self.page, &mut at)?).ok()?;
        let key = varint_at(self.page, &mut at)?;
        Some(Cell { key, start: at, size })
    }

    /// Returns the record of `position` if all of it is on this page. Only its length is checked.
    #[inline(always)]
    pub fn record(&self, position: i64) -> Option<&'a [u8]> {
        let is_it = |cell: &Cell| cell.key == position;
        // Positions of events are consecutive, and a page holds only a few blocks.
        let near = u16::try_from(position.wrapping_sub(self.first)).ok();
        let near = near.filter(|index| *index < self.len);
        let found = near.and_then(|index| self.cell(index)).filter(is_it);
        let Cell { start, size, .. } = found.or_else(|| self.search(position))?;
        // A longer record continues on overflow pages.
        if size > self.usable - 35 {
            return None;
        }
        self.page.get(start..start + size)
    }

    /// Returns the cell of `position`, wherever on the page it is.
    #[cold]
    fn search(&self, position: i64) -> Option<Cell> {
        if !self.has(position) {
            return None;
        }
        let is_it = |cell: &Cell| cell.key == position;
        (0..self.len).find_map(|index| self.cell(index).filter(is_it))
    }

    /// Returns the row of `position` if all of it is on this page. Only its shape is checked.
    #[inline(always)]
    pub fn row(&self, position: i64) -> Option<RowRecord<'a>> {
        RowRecord::parse(position, self.record(position)?)
    }
}

/// A row of `dcb_events`, as decoded from its record.
#[derive(Debug, Clone, Copy)]
pub struct RowRecord<'a> {
    /// The row's position.
    pub position: i64,
    /// The texts of the row, from `type` to `metadata`, concatenated.
    pub text: &'a [u8],
    /// The length of each text plus 1, or 0 for a column that is NULL.
    pub sizes: [u32; 5],
    /// The value of the column `timestamp`.
    pub timestamp_us: i64,
    /// The value of the column `checksum`.
    pub checksum: i64,
}

impl<'a> RowRecord<'a> {
    #[inline(always)]
    fn parse(position: i64, record: &'a [u8]) -> Option<Self> {
        let (header, types) = short_header(record).or_else(|| long_header(record))?;
        let [rowid, texts @ .., timestamp, checksum] = types;
        // The position is the rowid, so its column is stored as NULL.
        (rowid == 0).then_some(())?;
        let (mut sizes, mut all) = ([0; 5], 0_u64);
        for (size, serial) in sizes.iter_mut().zip(texts) {
            if serial != 0 {
                // The type of a text is 13 plus twice its length. Any other type becomes a length that
                // no record has.
                let len = serial.wrapping_sub(13).rotate_right(1);
                all += u64::from(len);
                *size = len.wrapping_add(1);
            }
        }
        let all = usize::try_from(all).ok()?;
        let (text, mut body) = record.get(header..)?.split_at_checked(all)?;
        let timestamp_us = integer(timestamp.into(), &mut body)?;
        let checksum = integer(checksum.into(), &mut body)?;
        Some(RowRecord { position, text, sizes, timestamp_us, checksum })
    }
}

/// The number of columns of `dcb_events`.
const COLUMNS: usize = 8;
/// The longest header whose types take two bytes each at most.
const SHORT_HEADER: usize = 1 + 2 * COLUMNS;

/// Decodes the header of a row whose types take two bytes each at most, as those of most rows do.
/// Returns its length and the types.
#[inline(always)]
fn short_header(record: &[u8]) -> Option<(usize, [u32; COLUMNS])> {
    let header: &[u8; SHORT_HEADER] = record.first_chunk()?;
    let (mut types, mut at) = ([0; COLUMNS], 1);
    for serial in &mut types {
        let first = *header.get(at)?;
        at += 1;
        *serial = u32::from(first);
        if first >= 0x80 {
            let second = *header.get(at)?;
            at += 1;
            (second < 0x80).then_some(())?;
            *serial = u32::from(first & 0x7f) << 7 | u32::from(second);
        }
    }
    (header[0] < 0x80).then_some((usize::from(header[0]), types))
}

/// Does what [`short_header`] does, whatever the types take. No type of a row on a page is above
/// `u32::MAX`: its text would be longer than the page.
#[cold]
fn long_header(record: &[u8]) -> Option<(usize, [u32; COLUMNS])> {
    let (mut types, mut at) = ([0; COLUMNS], 0);
    let length = usize::try_from(varint_at(record, &mut at)?).ok()?;
    for serial in &mut types {
        *serial = u32::try_from(varint_at(record, &mut at)?).ok()?;
    }
    Some((length, types))
}

/// A row of `dcb_postings`, as decoded from its record.
#[derive(Debug, Clone, Copy)]
pub struct BlockRecord<'a> {
    /// The block. (The other columns repeat what it says.)
    pub bytes: &'a [u8],
}

impl<'a> BlockRecord<'a> {
    /// Decodes a record. Only its shape is checked.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let (size, mut types) = varint(record)?;
        let mut body = record.get(usize::try_from(size).ok()?..)?;
        // The columns `segment`, `term` and `position`.
        for _ in 0..3 {
            let serial;
            (serial, types) = varint(types)?;
            integer(serial, &mut body)?;
        }
        let length = match varint(types)?.0 {
            blob if blob >= 12 && blob % 2 == 0 => usize::try_from((blob - 12) / 2).ok()?,
            _ => return None,
        };
        Some(BlockRecord { bytes: body.get(..length)? })
    }
}

/// Decodes an integer of a record, and removes it from `body`.
#[inline(always)]
pub fn integer(serial: i64, body: &mut &[u8]) -> Option<i64> {
    let bytes = *body;
    let (number, len) = match serial {
        1 => (i64::from(*bytes.first()? as i8), 1),
        2 => (i64::from(i16::from_be_bytes(*bytes.first_chunk()?)), 2),
        3 => {
            let [high, middle, low] = *bytes.first_chunk()?;
            (i64::from(i32::from_be_bytes([high, middle, low, 0]) >> 8), 3)
        }
        4 => (i64::from(i32::from_be_bytes(*bytes.first_chunk()?)), 4),
        5 => {
            let high = i16::from_be_bytes(*bytes.first_chunk()?);
            (i64::from(high) << 32 | i64::from(be32(bytes, 2)?), 6)
        }
        6 => (i64::from_be_bytes(*bytes.first_chunk()?), 8),
        8..=9 => return Some(serial - 8),
        _ => return None,
    };
    *body = bytes.get(len..)?;
    Some(number)
}

/// Decodes a big-endian integer of two bytes at an offset.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// Decodes a big-endian integer of four bytes at an offset.
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// Decodes a varint of one to nine bytes. Returns it and the bytes after it.
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut at = 0;
    let number = varint_at(bytes, &mut at)?;
    Some((number, bytes.get(at..)?))
}

/// Decodes the varint at an offset, which moves to the byte after it.
#[inline(always)]
fn varint_at(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let rest = bytes.get(*at..)?;
    // A number has seven bits of each byte, and the bytes before its last have the highest bit.
    if let Some(first) = rest.first_chunk::<4>() {
        let word = u32::from_be_bytes(*first);
        let part = |index: u32| word >> (24 - 8 * index) & 0x7f;
        let (number, len) = if word >> 31 == 0 {
            (part(0), 1)
        } else if word >> 23 & 1 == 0 {
            (part(0) << 7 | part(1), 2)
        } else if word >> 15 & 1 == 0 {
            (part(0) << 14 | part(1) << 7 | part(2), 3)
        } else if word >> 7 & 1 == 0 {
            (part(0) << 21 | part(1) << 14 | part(2) << 7 | part(3), 4)
        } else {
            return any_varint_at(rest, at);
        };
        *at += len;
        return Some(number.into());
    }
    any_varint_at(rest, at)
}

/// Decodes the varint at the start of `rest`, which is at an offset that moves to the byte after it.
#[cold]
fn any_varint_at(rest: &[u8], at: &mut usize) -> Option<i64> {
    let (number, after) = long_varint(rest)?;
    *at += rest.len() - after.len();
    Some(number)
}

/// Decodes a varint of any length.
fn long_varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        if index == 8 {
            value = value << 8 | u64::from(*byte);
        } else {
            value = value << 7 | u64::from(byte & 0x7f);
            if *byte >= 0x80 {
                continue;
            }
        }
        return Some((value as i64, &bytes[index + 1..]));
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a number in SQLite's encoding.
    fn encoded(number: i64) -> Vec<u8> {
        let number = number.cast_unsigned();
        if number >= 1 << 56 {
            let mut bytes: Vec<u8> =
                (0..8).rev().map(|at| (number >> 8 >> (7 * at)) as u8 | 0x80).collect();
            bytes.push(number as u8);
            return bytes;
        }
        let len = (1..8).find(|len| number >> (7 * len) == 0).unwrap_or(8);
        let last = |at: usize| if at == 0 { 0 } else { 0x80 };
        (0..len).rev().map(|at| (number >> (7 * at)) as u8 & 0x7f | last(at)).collect()
    }

    proptest! {
        #[test]
        fn a_short_header_is_decoded_as_any_is(
            types in prop::collection::vec(prop_oneof![4 => 0..16_384_i64, 1 => 0..3_000_000_i64], COLUMNS),
            rest in prop::collection::vec(any::<u8>(), 0..20),
            cut in 0..60_usize,
        ) {
            let mut record: Vec<u8> = types.iter().flat_map(|serial| encoded(*serial)).collect();
            record.insert(0, record.len() as u8 + 1);
            record.extend(rest);
            let found = short_header(&record);
            let is_short = types.iter().all(|serial| *serial < 16_384);
            prop_assert_eq!(found.is_some(), is_short && record.len() >= SHORT_HEADER);
            if found.is_some() {
                prop_assert_eq!(found, long_header(&record));
            }
            // A record that is cut off, or whose header has other bytes.
            record.truncate(cut);
            if let Some(found) = short_header(&record) {
                prop_assert_eq!(Some(found), long_header(&record));
            }
        }

        /// A type that no text has, in any of the columns, is left to SQLite.
        #[test]
        fn only_texts_and_nulls_are_taken_for_texts(
            mut texts in prop::array::uniform5(prop_oneof![Just(0_u32), (0..40_u32).prop_map(|len| 13 + 2 * len)]),
            column in 0..5_usize,
            other in prop_oneof![3 => 0..100_u32, 1 => any::<u32>()],
        ) {
            texts[column] = other;
            // The timestamp and the checksum are 0 and 1, which take no bytes.
            let types = [&[0][..], &texts, &[8, 9]].concat();
            let mut record: Vec<u8> =
                types.iter().flat_map(|serial| encoded(i64::from(*serial))).collect();
            record.insert(0, record.len() as u8 + 1);
            record.extend([b' '; 400]);
            let is_text = |serial: &u32| *serial >= 13 && serial % 2 == 1;
            let len = |serial: &u32| if is_text(serial) { (serial - 13) as usize / 2 } else { 0 };
            let fits = texts.iter().map(len).sum::<usize>() <= 400;
            let found = RowRecord::parse(1, &record);
            prop_assert_eq!(found.is_some(), fits && (other == 0 || is_text(&other)));
            if let Some(found) = found {
                let sizes = texts.map(|serial| if serial == 0 { 0 } else { len(&serial) as u32 + 1 });
                prop_assert_eq!((found.sizes, found.timestamp_us, found.checksum), (sizes, 0, 1));
            }
        }

        #[test]
        fn numbers_of_every_length_are_decoded(
            number in any::<i64>(),
            shift in 0..64_u32,
            rest in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let number = number.cast_unsigned().checked_shr(shift).unwrap_or(0).cast_signed();
            let mut bytes = encoded(number);
            let len = bytes.len();
            bytes.extend(&rest);
            prop_assert_eq!(varint(&bytes), Some((number, &rest[..])));
            prop_assert_eq!(long_varint(&bytes), varint(&bytes));
            prop_assert_eq!(varint(&bytes[..len - 1]), None);
        }

        #[test]
        fn interpolated_and_binary_search_find_the_same_child(
            steps in prop::collection::vec(prop_oneof![9 => 0..13_i64, 1 => 0..5_000_i64], 0..400),
            start in prop_oneof![0..1_000_i64, Just(i64::MIN)],
        ) {
            let mut high = start;
            let highs = steps.iter().map(|step| { high = high.wrapping_add(*step); high });
            let highs: Vec<i64> = highs.chain([i64::MAX]).collect();
            let child = |(page, high): (usize, &i64)| Child { high: *high, page: page as u32 };
            let branch: Branch = highs.iter().enumerate().map(child).collect();
            let mut walk = Walk::new(Arc::clone(&branch), 0);
            let mut steps = 0;
            for position in highs.iter().flat_map(|high| [high.saturating_sub(1), *high, high.saturating_add(1)]) {
                let plain = highs.partition_point(|high| *high < position);
                prop_assert_eq!(child_of(&branch, position), Some(plain));
                if let Some(page) = walk.step(position) {
                    steps += 1;
                    prop_assert_eq!(page as usize, plain);
                    prop_assert!(plain > 0 && plain + 1 < branch.len());
                } else {
                    walk = Walk::new(Arc::clone(&branch), plain);
                }
            }
            let rising = highs.windows(2).filter(|pair| pair[0] < pair[1]).count();
            prop_assert!(steps + 4 > rising, "{} steps", steps);
        }
    }
}
