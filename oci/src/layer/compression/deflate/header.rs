//! The head of a block with codes of its own (RFC 1951, section 3.2.7).

use super::bits::Bits;
use super::huffman::{Codes, lengths};
use super::symbols::{DISTANCES, LITERALS};

/// The order in which the lengths of the lengths' own codes are written.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
/// The longest code of a length, in bits.
const LONGEST: usize = 7;

/// All that stands before a block's symbols.
pub(super) struct Header {
    literals: usize,
    distances: usize,
    /// How many lengths are written, in their order.
    ordered: usize,
    lengths: [u8; 19],
    /// Symbols, and what the bits after them say.
    symbols: Vec<(u8, u8)>,
}

/// How many bits follow a symbol.
fn bits_after(symbol: u8) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

/// How many there are up to the last that is not 0, of at least `least`.
fn used(lengths: &[u8], least: usize) -> usize {
    let last = lengths.iter().rposition(|length| *length > 0);
    last.map_or(least, |last| least.max(last + 1))
}

impl Header {
    /// For codes of these lengths.
    pub(super) fn new(literal: &[u8; LITERALS], distance: &[u8; DISTANCES]) -> Self {
        let (literals, distances) = (used(literal, 257), used(distance, 1));
        let all = literal[..literals].iter().chain(&distance[..distances]);
        let all: Vec<u8> = all.copied().collect();
        let mut symbols = Vec::new();
        for run in all.chunk_by(u8::eq) {
            repeat(run[0], run.len(), &mut symbols);
        }
        let mut frequencies = [0; 19];
        for (symbol, _) in &symbols {
            frequencies[usize::from(*symbol)] += 1;
        }
        let lengths = lengths(&frequencies, LONGEST);
        let last = ORDER.iter().rposition(|symbol| lengths[*symbol] > 0);
        Self {
            literals,
            distances,
            ordered: last.map_or(4, |last| 4.max(last + 1)),
            lengths,
            symbols,
        }
    }

    /// How long it is.
    pub(super) fn bits(&self) -> u64 {
        let symbols = self.symbols.iter().map(|(symbol, _)| {
            u64::from(self.lengths[usize::from(*symbol)]) + u64::from(bits_after(*symbol))
        });
        17 + 3 * self.ordered as u64 + symbols.sum::<u64>()
    }

    pub(super) fn write(&self, bits: &mut Bits) {
        // Not the last block, with codes of its own.
        bits.put(0b100, 3);
        bits.put(self.literals as u64 - 257, 5);
        bits.put(self.distances as u64 - 1, 5);
        bits.put(self.ordered as u64 - 4, 4);
        bits.flush();
        for symbol in &ORDER[..self.ordered] {
            bits.put(self.lengths[*symbol].into(), 3);
            bits.flush();
        }
        let codes = Codes::of(&self.lengths);
        for (symbol, rest) in &self.symbols {
            let (code, count) = codes.of_symbol(usize::from(*symbol));
            bits.put(code, count);
            bits.put((*rest).into(), bits_after(*symbol));
            bits.flush();
        }
    }
}

/// A length that comes so often in a row.
fn repeat(length: u8, mut times: usize, symbols: &mut Vec<(u8, u8)>) {
    if length == 0 {
        while times >= 11 {
            let now = times.min(138);
            symbols.push((18, (now - 11) as u8));
            times -= now;
        }
        if times >= 3 {
            symbols.push((17, (times - 3) as u8));
            times = 0;
        }
    } else {
        symbols.push((length, 0));
        times -= 1;
        while times >= 3 {
            let now = times.min(6);
            symbols.push((16, (now - 3) as u8));
            times -= now;
        }
    }
    symbols.extend(std::iter::repeat_n((length, 0), times));
}
