//! The rolling checksum of bup, by which podman cuts files too: a place is a cut when the bytes
//! before it say so, so that equal stretches of two files are cut alike.

const WINDOW: usize = 64;
const CHAR_OFFSET: u32 = 31;
/// Pieces have two to the power of this many bytes on average.
const BITS: u32 = 16;

/// The checksum of the last 64 bytes.
pub(super) struct RollSum {
    s1: u32,
    s2: u32,
    window: [u8; WINDOW],
    at: usize,
}

impl RollSum {
    pub(super) fn new() -> Self {
        let window = WINDOW as u32;
        Self {
            s1: window * CHAR_OFFSET,
            s2: window * (window - 1) * CHAR_OFFSET,
            window: [0; WINDOW],
            at: 0,
        }
    }

    /// How many of the bytes belong to the piece at hand, and whether it ends with the last of
    /// them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        const MASK: u32 = (1 << BITS) - 1;
        for (n, &byte) in bytes.iter().enumerate() {
            let drop = u32::from(std::mem::replace(&mut self.window[self.at], byte));
            self.at = (self.at + 1) % WINDOW;
            self.s1 = self.s1.wrapping_add(u32::from(byte)).wrapping_sub(drop);
            let weighed = (WINDOW as u32).wrapping_mul(drop + CHAR_OFFSET);
            self.s2 = self.s2.wrapping_add(self.s1).wrapping_sub(weighed);
            if self.s2 & MASK == MASK {
                return (n + 1, true);
            }
        }
        (bytes.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let next = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(next).collect()
    }

    fn cuts(bytes: &[u8], piece: usize) -> Vec<usize> {
        let mut sum = RollSum::new();
        let (mut cuts, mut at) = (Vec::new(), 0);
        for mut part in bytes.chunks(piece) {
            while !part.is_empty() {
                let (n, ends) = sum.take(part);
                at += n;
                cuts.extend(ends.then_some(at));
                part = &part[n..];
            }
        }
        cuts
    }

    /// The sum depends on the last 64 bytes alone, as those of the definition do.
    #[test]
    fn cuts_depend_on_what_is_before_them() {
        let bytes = noise(2 << 20);
        let found = cuts(&bytes, 4096);
        assert_eq!(found, cuts(&bytes, 1));
        let average = bytes.len() / found.len().max(1);
        assert!((30_000..130_000).contains(&average), "{average}");
        // Something else in front: the same cuts behind it.
        let moved = [&b"in front"[..], &bytes].concat();
        let expected: Vec<usize> = found.iter().map(|at| at + 8).collect();
        let moved: Vec<usize> = cuts(&moved, 4096)
            .into_iter()
            .filter(|at| *at > 80)
            .collect();
        assert_eq!(moved, expected);
        // By the definition: bytes count by their age, the oldest 64 times, on top of a constant.
        let last = &bytes[found[0] - WINDOW..found[0]];
        let weighed = last.iter().rev().zip(1_u32..);
        let sum: u32 = weighed.map(|(byte, age)| u32::from(*byte) * age).sum();
        assert_eq!((64 * 63 * 31 + sum) & 0xffff, 0xffff);
    }
}
