//! CRC-32C, the CRC of iSCSI, with the processor's instructions where it has them.
//!
//! A state is the CRC before its bits are inverted at the end. The oracle is [`bytewise`].

/// The state before the first byte.
pub const START: u32 = !0;
/// The polynomial, with its bits in the order in which a state has them.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Continues over `bytes`.
pub fn update(state: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(state) = x86_64::update(state, bytes) {
        return state;
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(state) = aarch64::update(state, bytes) {
        return state;
    }
    bytewise(state, bytes)
}

/// Sums `text`, zero bytes up to a multiple of 8, and the words `behind`, which are little-endian.
/// Also returns whether the text is ASCII, which takes hardly longer to find out on the way.
#[inline]
pub fn of_padded(text: &[u8], behind: &[u64; 5]) -> (u32, bool) {
    #[cfg(target_arch = "x86_64")]
    if let Some(found) = x86_64::of_padded(text, behind) {
        return found;
    }
    let padding = &[0; 8][..padding(text.len())];
    let behind = behind.map(u64::to_le_bytes);
    let state = [text, padding, behind.as_flattened()].into_iter().fold(START, update);
    (state, text.is_ascii())
}

/// Returns how many bytes `len` bytes lack to a multiple of 8.
pub fn padding(len: usize) -> usize {
    len.wrapping_neg() % 8
}

/// Continues over `bytes` without the processor's instructions.
fn bytewise(state: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(state, |state, byte| TABLE[(state as u8 ^ byte) as usize] ^ state >> 8)
}

/// The states that the bytes lead to from the state 0.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = times_x(byte as u32, 8);
        byte += 1;
    }
    table
};

/// Returns `state` times x to the power of `power`, modulo the polynomial.
const fn times_x(mut state: u32, power: u32) -> u32 {
    let mut bit = 0;
    while bit < power {
        state = state >> 1 ^ if state & 1 == 0 { 0 } else { POLYNOMIAL };
        bit += 1;
    }
    state
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::is_x86_feature_detected;
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u64, _mm_cvtsi64_si128, _mm_cvtsi128_si64,
        _mm_xor_si128,
    };

    use super::{START, times_x};

    /// A text of fewer words is summed in one piece.
    const FEW: usize = 9;
    /// How many words a third of a text has at most.
    const MAX_THIRD: usize = 128;

    /// The factors that bring a state forward by so many words, which multiplying without carries
    /// and then [`_mm_crc32_u64`] turn into a state: x to the power of 64 times the words minus 33.
    const FORWARD: [u32; 2 * MAX_THIRD + 1] = {
        let mut factors = [0; 2 * MAX_THIRD + 1];
        // x to the power of 31.
        factors[1] = 1;
        let mut words = 2;
        while words < factors.len() {
            factors[words] = times_x(factors[words - 1], 64);
            words += 1;
        }
        factors
    };

    /// Does what [`super::update`] does, if the processor can.
    pub fn update(state: u32, bytes: &[u8]) -> Option<u32> {
        // SAFETY: the processor has the instructions.
        is_x86_feature_detected!("sse4.2").then(|| unsafe { chained(state, bytes) })
    }

    /// Does what [`super::of_padded`] does, if the processor can.
    #[inline]
    pub fn of_padded(text: &[u8], behind: &[u64; 5]) -> Option<(u32, bool)> {
        let can = is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("pclmulqdq");
        // SAFETY: the processor has the instructions.
        can.then(|| unsafe { padded(text, behind) })
    }

    #[target_feature(enable = "sse4.2")]
    fn chained(state: u32, bytes: &[u8]) -> u32 {
        let (words, tail) = bytes.as_chunks();
        let add = |crc, word: &[u8; 8]| _mm_crc32_u64(crc, u64::from_le_bytes(*word));
        let crc = words.iter().fold(state.into(), add) as u32;
        tail.iter().fold(crc, |crc, byte| _mm_crc32_u8(crc, *byte))
    }

    /// An instruction waits for the one before it that has the same state. So a text is summed in
    /// three thirds at once.
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn padded(text: &[u8], behind: &[u64; 5]) -> (u32, bool) {
        let (mut words, tail) = text.as_chunks::<8>();
        let (mut crc, mut bits) = (u64::from(START), 0);
        while words.len() >= FEW {
            let len = (words.len() / 3).min(MAX_THIRD);
            let (first, rest) = words.split_at(len);
            let (second, rest) = rest.split_at(len);
            let (third, rest) = rest.split_at(len);
            let (mut one, mut two, mut three) = (crc, 0, 0);
            for ((first, second), third) in first.iter().zip(second).zip(third) {
                let [first, second, third] = [first, second, third].map(|w| u64::from_le_bytes(*w));
                one = _mm_crc32_u64(one, first);
                two = _mm_crc32_u64(two, second);
                three = _mm_crc32_u64(three, third);
                bits |= first | second | third;
            }
            let forward = |crc: u64, words: usize| {
                let factor = _mm_cvtsi64_si128(FORWARD[words].into());
                _mm_clmulepi64_si128(_mm_cvtsi64_si128(crc.cast_signed()), factor, 0)
            };
            let both = _mm_xor_si128(forward(one, 2 * len), forward(two, len));
            crc = _mm_crc32_u64(0, _mm_cvtsi128_si64(both).cast_unsigned()) ^ three;
            words = rest;
        }
        for word in words {
            let word = u64::from_le_bytes(*word);
            crc = _mm_crc32_u64(crc, word);
            bits |= word;
        }
        if !tail.is_empty() {
            let word = match text.last_chunk::<8>() {
                Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * tail.len()),
                None => tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
            };
            crc = _mm_crc32_u64(crc, word);
            bits |= word;
        }
        crc = behind.iter().fold(crc, |crc, word| _mm_crc32_u64(crc, *word));
        (crc as u32, bits & 0x8080_8080_8080_8080 == 0)
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::aarch64::{__crc32cb, __crc32cd};
    use std::arch::is_aarch64_feature_detected;

    /// Does what [`super::update`] does, if the processor can.
    pub fn update(state: u32, bytes: &[u8]) -> Option<u32> {
        // SAFETY: the processor has the instructions.
        is_aarch64_feature_detected!("crc").then(|| unsafe { chained(state, bytes) })
    }

    #[target_feature(enable = "crc")]
    fn chained(state: u32, bytes: &[u8]) -> u32 {
        let (words, tail) = bytes.as_chunks();
        let add = |crc, word: &[u8; 8]| __crc32cd(crc, u64::from_le_bytes(*word));
        let crc = words.iter().fold(state, add);
        tail.iter().fold(crc, |crc, byte| __crc32cb(crc, *byte))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_crc_is_that_of_iscsi() {
        // The check value of the catalogue of CRCs, and an example of RFC 3720.
        assert_eq!(!update(START, b"123456789"), 0xe306_9283);
        assert_eq!(!update(START, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(!bytewise(START, b"123456789"), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn the_processor_computes_what_the_table_says(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            times in 1_usize..20,
            state in any::<u32>(),
            is_ascii in any::<bool>(),
            behind in any::<[u64; 5]>(),
        ) {
            let mut text = bytes.repeat(times);
            if is_ascii {
                text.iter_mut().for_each(|byte| *byte &= 0x7f);
            }
            prop_assert_eq!(update(state, &text), bytewise(state, &text));
            let mut padded = text.clone();
            padded.resize(text.len().next_multiple_of(8), 0);
            padded.extend_from_slice(behind.map(u64::to_le_bytes).as_flattened());
            prop_assert_eq!(of_padded(&text, &behind), (bytewise(START, &padded), text.is_ascii()));
        }
    }
}
