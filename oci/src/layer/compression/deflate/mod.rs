//! DEFLATE (RFC 1951) for layers: faster than what zlib does at its low levels, and no larger.
//!
//! Matches of four bytes and more are found with two candidates for each hash and taken greedily;
//! each block has codes of its own. The output is a row of blocks of which none is the last, up to
//! a byte boundary, so that what was deflated apart can follow one another.

mod bits;
mod header;
mod huffman;
mod symbols;

use bits::Bits;
use header::Header;
use huffman::{Codes, LONGEST, lengths};
use symbols::{DISTANCES, END, LITERALS, SHORTEST, of_distance, of_length};

/// How far back matches reach.
const WINDOW: u32 = 32 << 10;
/// Matches are as long as this at least and at most.
const LEAST: usize = 4;
const MOST: usize = 258;
/// Literals and matches of one block.
const TOKENS: usize = 24 << 10;
/// So many first places in a match can be found again.
const INSERTED: usize = 12;
const HASH_BITS: u32 = 15;
/// The longest stored block.
const STORED: usize = 65_535;

/// A literal is its byte; a match has this bit, its length less three, and its distance less one.
const MATCH: u32 = 1 << 31;

type Table = [[u32; 2]; 1 << HASH_BITS];

/// Deflates one piece of data after the other, each on its own.
pub(super) struct Deflate {
    /// The last two places of each hash.
    table: Box<Table>,
    /// The place of the data's first byte. It grows from piece to piece by more than the window, so
    /// that no place of another piece is in reach.
    base: u32,
    tokens: Vec<u32>,
    bits: Bits,
}

#[inline(always)]
fn word(bytes: &[u8]) -> u32 {
    match bytes.first_chunk() {
        Some(four) => u32::from_le_bytes(*four),
        None => 0,
    }
}

#[inline(always)]
fn hash(word: u32) -> usize {
    (word.wrapping_mul(0x1E35_A7BD) >> (32 - HASH_BITS)) as usize
}

/// How many bytes are equal, of slices that are equally long and begin with the same four.
#[inline(always)]
fn common(a: &[u8], b: &[u8]) -> usize {
    let mut n = LEAST;
    let (long_a, long_b) = (a[n..].as_chunks::<8>().0, b[n..].as_chunks::<8>().0);
    for (x, y) in long_a.iter().zip(long_b) {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return n + (differ.trailing_zeros() / 8) as usize;
        }
        n += 8;
    }
    let rest = a[n..].iter().zip(&b[n..]);
    n + rest.take_while(|(x, y)| x == y).count()
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self {
            table: empty_table(),
            base: WINDOW + 1,
            tokens: Vec::with_capacity(TOKENS),
            bits: Bits::default(),
        }
    }

    /// Appends `data`, of at most 1 GiB, deflated.
    pub(super) fn run(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let len = data.len() as u32;
        if self.base.checked_add(len + 2 * (WINDOW + 1)).is_none() {
            self.table = empty_table();
            self.base = WINDOW + 1;
        }
        let mut start = 0;
        while start < data.len() {
            let end = self.parse(data, start);
            self.block(&data[start..end]);
            start = end;
        }
        self.base += len + WINDOW + 1;
        // A stored block of nothing comes to a byte boundary.
        self.bits.room(8);
        self.bits.put(0, 3);
        self.bits.align();
        self.bits.bytes(&[0, 0, 0xff, 0xff]);
        out.extend_from_slice(self.bits.take());
    }

    /// The tokens of a block that begins here; where it ends.
    fn parse(&mut self, data: &[u8], start: usize) -> usize {
        self.tokens.clear();
        let last = data.len().saturating_sub(LEAST);
        let mut at = start;
        while at < data.len() && self.tokens.len() < TOKENS {
            let (len, distance) = match at < last {
                true => self.find(data, at),
                false => (0, 0),
            };
            if len < LEAST {
                self.tokens.push(data[at].into());
                at += 1;
                continue;
            }
            let told = ((len - SHORTEST) as u32) << 16 | (distance - 1);
            self.tokens.push(MATCH | told);
            let end = at + len;
            let stop = end.min(last).min(at + 1 + INSERTED);
            let mut place = self.base + at as u32;
            for four in data[at + 1..(stop + 3).max(at + 1)].windows(4) {
                place += 1;
                let slot = &mut self.table[hash(word(four))];
                *slot = [place, slot[0]];
            }
            at = end;
        }
        at
    }

    /// The longest match of what begins here, if there is one: its length and distance.
    #[inline(always)]
    fn find(&mut self, data: &[u8], at: usize) -> (usize, u32) {
        let place = self.base + at as u32;
        let most = MOST.min(data.len() - at);
        let here = &data[at..at + most];
        let now = word(here);
        let slot = &mut self.table[hash(now)];
        let candidates = *slot;
        *slot = [place, candidates[0]];
        let oldest = self.base.max(place - WINDOW);
        let (mut len, mut distance) = (0, 0);
        for candidate in candidates {
            if candidate < oldest || len == most {
                break;
            }
            let from = (candidate - self.base) as usize;
            let there = &data[from..from + most];
            // A longer match has the byte as well at which this one ends.
            if word(there) == now && there[len] == here[len] {
                let found = common(there, here);
                if found > len {
                    (len, distance) = (found, place - candidate);
                }
            }
        }
        (len, distance)
    }

    /// Writes the tokens, which stand for `data`.
    fn block(&mut self, data: &[u8]) {
        let mut literals = [0_u32; LITERALS];
        let mut distances = [0_u32; DISTANCES];
        for &token in &self.tokens {
            match lengths_of(token) {
                None => literals[(token & 0xff) as usize] += 1,
                Some((length, distance)) => {
                    literals[of_length(length).number] += 1;
                    distances[of_distance(distance).number] += 1;
                }
            }
        }
        literals[END] = 1;
        let long = lengths(&literals, LONGEST);
        let far = lengths(&distances, LONGEST);
        let header = Header::new(&long, &far);
        let literals = literals.iter().zip(&long).enumerate();
        let literals = literals
            .map(|(at, (n, bits))| u64::from(*n) * u64::from(bits + symbols::bits_after(at)));
        let distances = distances.iter().zip(&far).enumerate();
        let distances = distances.map(|(at, (n, bits))| {
            u64::from(*n) * u64::from(bits + symbols::bits_after_distance(at))
        });
        let bits = header.bits() + literals.sum::<u64>() + distances.sum::<u64>();
        let stored = 8 * (data.len() + 5 * data.len().div_ceil(STORED) + 1);
        if bits >= stored as u64 {
            return self.store(data);
        }
        self.bits.room(bits as usize / 8 + 16);
        header.write(&mut self.bits);
        self.write(&Codes::of(&long), &Codes::of(&far));
    }

    fn write(&mut self, literals: &Codes<LITERALS>, distances: &Codes<DISTANCES>) {
        let bits = &mut self.bits;
        for &token in &self.tokens {
            let Some((length, distance)) = lengths_of(token) else {
                let (code, count) = literals.of_symbol((token & 0xff) as usize);
                bits.put(code, count);
                if bits.gathered() > 40 {
                    bits.flush();
                }
                continue;
            };
            bits.flush();
            let symbol = of_length(length);
            let (code, count) = literals.of_symbol(symbol.number);
            bits.put(code, count);
            bits.put(symbol.rest, symbol.bits);
            let symbol = of_distance(distance);
            let (code, count) = distances.of_symbol(symbol.number);
            bits.put(code, count);
            bits.put(symbol.rest, symbol.bits);
            bits.flush();
        }
        bits.flush();
        let (code, count) = literals.of_symbol(END);
        bits.put(code, count);
        bits.flush();
    }

    /// What does not get smaller (section 3.2.4).
    fn store(&mut self, data: &[u8]) {
        self.bits.room(data.len() + 8 * (data.len() / STORED + 2));
        for piece in data.chunks(STORED) {
            let len = piece.len() as u16;
            self.bits.put(0, 3);
            self.bits.align();
            self.bits.bytes(&len.to_le_bytes());
            self.bits.bytes(&(!len).to_le_bytes());
            self.bits.bytes(piece);
        }
    }
}

/// Length and distance of a match.
#[inline(always)]
fn lengths_of(token: u32) -> Option<(usize, usize)> {
    let length = (token >> 16 & 0xff) as usize + SHORTEST;
    let distance = (token & 0xffff) as usize + 1;
    (token & MATCH != 0).then_some((length, distance))
}

fn empty_table() -> Box<Table> {
    let table = vec![[0; 2]; 1 << HASH_BITS].into_boxed_slice();
    match table.try_into() {
        Ok(table) => table,
        Err(_) => Box::new([[0; 2]; 1 << HASH_BITS]),
    }
}

#[cfg(test)]
mod tests;
