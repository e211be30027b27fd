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

/// Computes the checksum of a row: that of its texts, continued over its position and timestamp.
pub fn of_row(text: u32, position: i64, timestamp_us: i64) -> i64 {
    let mut hasher = crc32fast::Hasher::new_with_initial(text);
    hasher.update(&numbers(position, timestamp_us));
    hasher.finalize().into()
}

/// Returns the numbers of a row as its checksum covers them, after its texts.
pub fn numbers(position: i64, timestamp_us: i64) -> [u8; 16] {
    let mut numbers = [0; 16];
    numbers[..8].copy_from_slice(&position.to_le_bytes());
    numbers[8..].copy_from_slice(&timestamp_us.to_le_bytes());
    numbers
}

/// Computes the checksum of a row from all that it covers: the texts as in [`Event::row_text`],
/// then [`numbers`]. One long CRC costs far less than several short ones.
pub fn of_covered(bytes: &[u8]) -> i64 {
    crc32fast::hash(bytes).into()
}
