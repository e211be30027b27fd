//! The checksum of a row of `dcb_events`.

use smallvec::SmallVec;

use crate::domain::Event;

/// The checksums of an append's events, over their texts only.
pub type Checksums = SmallVec<[u32; 1]>;

/// Computes the checksums of the texts of `events`. This part needs no position, so the caller's
/// thread does it and the writer's thread does not have to.
pub fn checksums(events: &[Event]) -> Checksums {
    events.iter().map(|event| crc32fast::hash(event.row_text().as_bytes())).collect()
}

/// Computes the CRC-32 of the texts of a row, encoded as in [`Event::row_text`]: in the order of
/// the columns, each with a leading 1, or a 0 for a column that is NULL.
pub fn checksum_of_text(scratch: &mut Vec<u8>, columns: [Option<&str>; 5]) -> u32 {
    // The texts are concatenated first: one long CRC costs far less than many short ones.
    scratch.clear();
    scratch.reserve(columns.iter().flatten().map(|text| text.len()).sum::<usize>() + columns.len());
    for column in columns {
        scratch.push(u8::from(column.is_some()));
        scratch.extend_from_slice(column.unwrap_or_default().as_bytes());
    }
    crc32fast::hash(scratch)
}

/// Computes the checksum of a row: that of its texts, continued over its position and timestamp.
pub fn checksum_of_row(text: u32, position: i64, timestamp_us: i64) -> i64 {
    let mut hasher = crc32fast::Hasher::new_with_initial(text);
    let mut numbers = [0; 16];
    numbers[..8].copy_from_slice(&position.to_le_bytes());
    numbers[8..].copy_from_slice(&timestamp_us.to_le_bytes());
    hasher.update(&numbers);
    hasher.finalize().into()
}
