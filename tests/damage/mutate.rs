//! Ways to damage a file's bytes.

use crate::random::Random;

/// SQLite's page size.
pub const PAGE: usize = 4096;

/// A kind of damage to a database file.
#[derive(Debug, Clone, Copy)]
pub enum Mutation {
    /// Flips a bit anywhere.
    Bit,
    /// Changes a byte of the file's header.
    FileHeader,
    /// Changes a byte of the header of a b-tree page.
    PageHeader,
    /// Changes one of the cell pointers of a page.
    CellPointer,
    /// Changes the first bytes of a cell: lengths, keys, page numbers, column types.
    Cell,
    /// Swaps two pages.
    Swap,
    /// Overwrites a page with the content of another.
    Copy,
    /// Overwrites a page with zeros.
    Zero,
}

/// Returns the two-byte number at `at`.
fn number(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1])
}

impl Mutation {
    /// Changes the file, and returns a description of the change.
    pub fn apply(self, file: &mut [u8], random: &mut Random) -> String {
        let pages = file.len() / PAGE;
        let mut page = || random.below(pages as u64) as usize * PAGE;
        match self {
            Mutation::Swap | Mutation::Copy => {
                let (one, two) = (page(), page());
                let other = file[two..two + PAGE].to_vec();
                if matches!(self, Mutation::Swap) {
                    file.copy_within(one..one + PAGE, two);
                }
                file[one..one + PAGE].copy_from_slice(&other);
                format!("page {} and {}", one / PAGE + 1, two / PAGE + 1)
            }
            Mutation::Zero => {
                let page = page();
                file[page..page + PAGE].fill(0);
                format!("page {}", page / PAGE + 1)
            }
            Mutation::Bit => {
                let at = random.below(file.len() as u64) as usize;
                flip(file, at, random)
            }
            Mutation::FileHeader => {
                let at = random.below(100) as usize;
                flip(file, at, random)
            }
            Mutation::PageHeader | Mutation::CellPointer | Mutation::Cell => {
                // The first byte of a page says whether it is a b-tree page.
                let header = loop {
                    let page = random.below(pages as u64) as usize * PAGE;
                    let header = if page == 0 { 100 } else { page };
                    if matches!(file[header], 2 | 5 | 10 | 13) {
                        break header;
                    }
                };
                let size = if matches!(file[header], 2 | 5) { 12 } else { 8 };
                let cells = number(file, header + 3);
                if matches!(self, Mutation::PageHeader) || cells == 0 {
                    return flip(file, header + random.below(size) as usize, random);
                }
                let cell = random.below(cells as u64) as usize;
                let pointer = header + size as usize + 2 * cell;
                if matches!(self, Mutation::CellPointer) {
                    return flip(file, pointer + random.below(2) as usize, random);
                }
                let start = header / PAGE * PAGE + number(file, pointer);
                let at = (start + random.below(16) as usize).min(file.len() - 1);
                flip(file, at, random)
            }
        }
    }
}

/// Flips one or more bits of the byte at `at`, and describes the change.
fn flip(file: &mut [u8], at: usize, random: &mut Random) -> String {
    let change = if random.one_in(4) { random.next() as u8 | 1 } else { 1 << random.below(8) };
    file[at] ^= change;
    format!("byte {at} (page {}, {}) by {change:#04x}", at / PAGE + 1, at % PAGE)
}
