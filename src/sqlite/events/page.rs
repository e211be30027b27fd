//! Pages of SQLite's b-trees and the records on them.
//!
//! The format: <https://sqlite.org/fileformat2.html>.

use std::sync::Arc;

/// The first byte of an inner page of a table, and of a leaf.
pub const BRANCH: u8 = 0x05;
const LEAF: u8 = 0x0d;

/// A child of an inner page: its page, and the highest position below it. The last child's is
/// not known: it counts as without end.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    high: i64,
    page: u32,
}

/// An inner page's children, in order: one piece of memory, since to look into a large tree is to
/// wait for memory.
pub type Branch = Arc<[Child]>;

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

/// How far from where it should be a child is looked for before all are.
const NEAR: usize = 4;

/// The first child whose positions reach up to `position`. Pages of rows that were appended hold
/// about as many positions each, so it is looked for where it should be.
pub fn child_of(branch: &[Child], position: i64) -> Option<u32> {
    let last = branch.len().checked_sub(1)?;
    let is_below = |index: usize| branch[index].high < position;
    // The children between which the answer is: `low` is below the position, or none is.
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
    branch.get(low + within).map(|child| child.page)
}

/// A leaf, which is a page of rows.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    page: &'a [u8],
    usable: usize,
    /// The position of its first row, and how many rows it has.
    first: i64,
    len: u16,
}

impl<'a> Leaf<'a> {
    pub fn parse(page: &'a [u8], usable: usize) -> Option<Self> {
        let is_leaf = *page.first()? == LEAF;
        let leaf = Leaf { page, usable, first: 0, len: be16(page, 3)? };
        (is_leaf && leaf.len > 0).then_some(())?;
        let (_, cell) = varint(leaf.cell(0)?)?;
        Some(Leaf { first: varint(cell)?.0, ..leaf })
    }

    /// Whether it is where the row of `position` would be.
    pub fn has(&self, position: i64) -> bool {
        let last = self.len.checked_sub(1).and_then(|last| self.key(last));
        self.first <= position && last.is_some_and(|last| position <= last)
    }

    fn cell(&self, index: u16) -> Option<&'a [u8]> {
        let at = be16(self.page, 8 + 2 * usize::from(index))?;
        self.page.get(usize::from(at)..)
    }

    fn key(&self, index: u16) -> Option<i64> {
        let (_, cell) = varint(self.cell(index)?)?;
        Some(varint(cell)?.0)
    }

    /// The record of `position`, if it is here as a whole. Nothing of it is checked but its length.
    pub fn record(&self, position: i64) -> Option<&'a [u8]> {
        // Events have no gaps; of blocks there are few on a page.
        let near =
            u16::try_from(position.checked_sub(self.first)?).ok().filter(|at| *at < self.len);
        let is_it = |index: &u16| self.key(*index) == Some(position);
        let index = near.filter(is_it).or_else(|| (0..self.len).find(is_it))?;
        let (size, cell) = varint(self.cell(index)?)?;
        let (_, cell) = varint(cell)?;
        let size = usize::try_from(size).ok()?;
        // A longer row goes on on other pages.
        if size > self.usable - 35 {
            return None;
        }
        cell.get(..size)
    }

    /// The row of `position`, if it is here as a whole. Nothing of it is checked but its shape.
    pub fn row(&self, position: i64) -> Option<RowRecord<'a>> {
        RowRecord::parse(position, self.record(position)?)
    }
}

/// A row as its record has it.
#[derive(Debug, Clone, Copy)]
pub struct RowRecord<'a> {
    /// Its position.
    pub position: i64,
    /// Its texts, from `type` to `metadata`, one after the other,
    pub text: &'a [u8],
    /// and the length of each; `None`: NULL.
    pub lengths: [Option<usize>; 5],
    /// The column `timestamp`.
    pub timestamp_us: i64,
    /// The column `checksum`.
    pub checksum: i64,
}

impl<'a> RowRecord<'a> {
    fn parse(position: i64, record: &'a [u8]) -> Option<Self> {
        let (size, mut types) = varint(record)?;
        let mut body = record.get(usize::try_from(size).ok()?..)?;
        let mut next_type = || {
            let (serial, rest) = varint(types)?;
            types = rest;
            Some(serial)
        };
        // The position is the row's key: its column is empty.
        (next_type()? == 0).then_some(())?;
        let mut lengths = [None; 5];
        for length in &mut lengths {
            *length = match next_type()? {
                0 => None,
                text if text >= 13 && text % 2 == 1 => Some(usize::try_from((text - 13) / 2).ok()?),
                _ => return None,
            };
        }
        let text;
        let all = lengths.iter().flatten().try_fold(0_usize, |sum, len| sum.checked_add(*len))?;
        (text, body) = body.split_at_checked(all)?;
        let timestamp_us = integer(next_type()?, &mut body)?;
        let checksum = integer(next_type()?, &mut body)?;
        Some(RowRecord { position, text, lengths, timestamp_us, checksum })
    }
}

/// A row of `dcb_postings` as its record has it.
#[derive(Debug, Clone, Copy)]
pub struct BlockRecord<'a> {
    /// The block. (What the other columns say, it says itself.)
    pub bytes: &'a [u8],
}

impl<'a> BlockRecord<'a> {
    /// Of a record. Nothing of it is checked but its shape.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let (size, mut types) = varint(record)?;
        let mut body = record.get(usize::try_from(size).ok()?..)?;
        // The segment, and what the block begins with.
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

/// An integer of a record, taken off its body.
pub fn integer(serial: i64, body: &mut &[u8]) -> Option<i64> {
    let bytes = match serial {
        1..=4 => serial as usize,
        5 => 6,
        6 => 8,
        8..=9 => return Some(serial - 8),
        _ => return None,
    };
    let number;
    (number, *body) = body.split_at_checked(bytes)?;
    let first = i64::from(*number.first()? as i8);
    Some(number[1..].iter().fold(first, |number, byte| number << 8 | i64::from(*byte)))
}

pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// A number of one to nine bytes, and what follows it.
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
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

    proptest! {
        #[test]
        fn a_child_is_found_where_a_plain_search_finds_it(
            steps in prop::collection::vec(prop_oneof![9 => 0..13_i64, 1 => 0..5_000_i64], 0..400),
            start in prop_oneof![0..1_000_i64, Just(i64::MIN)],
        ) {
            let mut high = start;
            let highs = steps.iter().map(|step| { high = high.wrapping_add(*step); high });
            let highs: Vec<i64> = highs.chain([i64::MAX]).collect();
            let child = |(page, high): (usize, &i64)| Child { high: *high, page: page as u32 };
            let branch: Vec<Child> = highs.iter().enumerate().map(child).collect();
            for position in highs.iter().flat_map(|high| [high.saturating_sub(1), *high, high.saturating_add(1)]) {
                let plain = highs.partition_point(|high| *high < position) as u32;
                prop_assert_eq!(child_of(&branch, position), Some(plain));
            }
        }
    }
}
