//! Pseudo-random numbers.

/// A generator of the same pseudo-random numbers in each run (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    /// Returns a number from 0 up to `bound`, exclusive.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
