//! The checksum of a row.

use smallvec::SmallVec;

use crate::domain::Event;

/// One for each event of an append.
pub type Checksums = SmallVec<[u32; 1]>;

/// The checksums of the rows of `events`, as far as they can be made before the positions are known:
/// by the caller's thread, so that the writer's does not have to.
pub fn checksums(events: &[Event]) -> Checksums {
    events.iter().map(|event| crc32fast::hash(event.row_text().as_bytes())).collect()
}

/// CRC-32 of the texts of a row, as [`Event::row_text`] has them: in the order of the columns, each
/// led by 1, an absent one a 0.
pub fn checksum_of_text(scratch: &mut Vec<u8>, columns: [Option<&str>; 5]) -> u32 {
    // Put together first: one long sum costs far less than many short ones.
    scratch.clear();
    scratch.reserve(columns.iter().flatten().map(|text| text.len()).sum::<usize>() + columns.len());
    for column in columns {
        scratch.push(u8::from(column.is_some()));
        scratch.extend_from_slice(column.unwrap_or_default().as_bytes());
    }
    crc32fast::hash(scratch)
}

/// The checksum of a whole row: that of its texts, continued over its two numbers.
pub fn checksum_of_row(text: u32, position: i64, timestamp_us: i64) -> i64 {
    let mut hasher = crc32fast::Hasher::new_with_initial(text);
    let mut numbers = [0; 16];
    numbers[..8].copy_from_slice(&position.to_le_bytes());
    numbers[8..].copy_from_slice(&timestamp_us.to_le_bytes());
    hasher.update(&numbers);
    hasher.finalize().into()
}
