//! The symbols of lengths and distances (RFC 1951, section 3.2.5).

/// Literals, the end of a block, and lengths.
pub(super) const LITERALS: usize = 286;
/// Symbols of distances.
pub(super) const DISTANCES: usize = 30;
/// Ends a block.
pub(super) const END: usize = 256;
/// The symbol of the shortest length.
const FIRST_LENGTH: usize = 257;
/// The shortest match that there is a symbol for.
pub(super) const SHORTEST: usize = 3;

const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];
const LENGTH_EXTRA: [u8; 29] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const DISTANCE_BASE: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
    2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_EXTRA: [u8; 30] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
    13,
];

/// By length less the shortest.
static LENGTH_INDEX: [u8; 256] = length_index();

const fn length_index() -> [u8; 256] {
    let mut table = [0; 256];
    let (mut length, mut index) = (0, 0);
    while length < 256 {
        while index < 28 && length + SHORTEST >= LENGTH_BASE[index + 1] as usize {
            index += 1;
        }
        table[length] = index as u8;
        length += 1;
    }
    table
}

/// A symbol, and the bits that follow it: what they say, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) number: usize,
    pub(super) rest: u64,
    pub(super) bits: u32,
}

/// Of a length of 3 to 258.
#[inline(always)]
pub(super) fn of_length(length: usize) -> Symbol {
    let index = usize::from(LENGTH_INDEX[length - SHORTEST]);
    Symbol {
        number: FIRST_LENGTH + index,
        rest: (length - usize::from(LENGTH_BASE[index])) as u64,
        bits: LENGTH_EXTRA[index].into(),
    }
}

/// Of a distance of 1 to 32768.
#[inline(always)]
pub(super) fn of_distance(distance: usize) -> Symbol {
    // From the fifth on there are two for each power of two.
    let less = distance - 1;
    let number = match less {
        0..4 => less,
        _ => {
            let log = less.ilog2() as usize;
            2 * log + (less >> (log - 1) & 1)
        }
    };
    Symbol {
        number,
        rest: (distance - usize::from(DISTANCE_BASE[number])) as u64,
        bits: DISTANCE_EXTRA[number].into(),
    }
}

/// How many bits follow a symbol of literals and lengths.
pub(super) fn bits_after(number: usize) -> u8 {
    match number.checked_sub(FIRST_LENGTH) {
        Some(index) => LENGTH_EXTRA.get(index).copied().unwrap_or(0),
        None => 0,
    }
}

/// How many bits follow a symbol of distances.
pub(super) fn bits_after_distance(number: usize) -> u8 {
    DISTANCE_EXTRA.get(number).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_reach_from_one_base_to_the_next() {
        for length in 3..=258 {
            let symbol = of_length(length);
            let base = LENGTH_BASE[symbol.number - FIRST_LENGTH];
            assert_eq!(usize::from(base) + symbol.rest as usize, length);
            assert!(symbol.rest < 1 << symbol.bits, "{length}");
        }
        assert_eq!(of_length(258).number, 285);
        for distance in 1..=32768 {
            let symbol = of_distance(distance);
            assert!(symbol.rest < 1 << symbol.bits, "{distance}");
        }
        assert_eq!(of_distance(32768).number, 29);
    }
}
