//! Bits into bytes, the lowest first (RFC 1951, section 3.1.1).

/// More bytes than what was written are there, so that eight can be written at once.
const SLACK: usize = 16;

/// Output of bits.
#[derive(Default)]
pub(super) struct Bits {
    out: Vec<u8>,
    /// Bytes that are written.
    at: usize,
    bits: u64,
    count: u32,
}

impl Bits {
    /// Makes room for so many bytes.
    pub(super) fn room(&mut self, bytes: usize) {
        let wanted = self.at + bytes + SLACK;
        if self.out.len() < wanted {
            self.out.resize(wanted.max(2 * self.out.len()), 0);
        }
    }

    /// Appends bits: at most 56 between two flushes.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.bits |= bits << self.count;
        self.count += count;
    }

    /// How many bits have gathered.
    #[inline(always)]
    pub(super) fn gathered(&self) -> u32 {
        self.count
    }

    /// Writes whole bytes.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        self.out[self.at..self.at + 8].copy_from_slice(&self.bits.to_le_bytes());
        let bytes = self.count / 8;
        self.at += bytes as usize;
        self.bits = self.bits.checked_shr(8 * bytes).unwrap_or(0);
        self.count %= 8;
    }

    /// Goes on to the next whole byte.
    pub(super) fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// Appends bytes, where the last one is whole.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// What was written, of which nothing is kept.
    pub(super) fn take(&mut self) -> &[u8] {
        let n = std::mem::take(&mut self.at);
        &self.out[..n]
    }
}
