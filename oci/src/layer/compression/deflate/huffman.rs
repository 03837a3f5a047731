//! Huffman codes of limited length (RFC 1951, section 3.2.2).

/// The longest code of DEFLATE, in bits.
pub(super) const LONGEST: usize = 15;

/// How long the codes of symbols are that occur so often, none longer than `limit`; 0 for those
/// that do not occur. A single symbol has a code of one bit.
pub(super) fn lengths<const N: usize>(frequencies: &[u32; N], limit: usize) -> [u8; N] {
    let mut lengths = [0; N];
    let symbols = frequencies.iter().zip(0_u16..);
    let mut used: Vec<(u32, u16)> = symbols
        .filter(|(frequency, _)| **frequency > 0)
        .map(|(frequency, symbol)| (*frequency, symbol))
        .collect();
    match used.as_slice() {
        [] => return lengths,
        [(_, only)] => {
            lengths[usize::from(*only)] = 1;
            return lengths;
        }
        _ => {}
    }
    used.sort_unstable();
    let counts = limited(&depths(&used), limit);
    // The rarest symbols have the longest codes.
    let mut rarest = used.iter();
    for length in (1..=limit).rev() {
        for (_, symbol) in rarest.by_ref().take(counts[length]) {
            lengths[usize::from(*symbol)] = length as u8;
        }
    }
    lengths
}

/// How many leaves of each depth an optimal tree has, of at least two symbols sorted by
/// frequency. The tree is built in one array (Moffat and Katajainen, 1995).
fn depths(used: &[(u32, u16)]) -> [usize; 64] {
    let n = used.len();
    let mut tree: Vec<u32> = used.iter().map(|(frequency, _)| *frequency).collect();
    let (mut root, mut leaf) = (0, 2);
    tree[0] += tree[1];
    for next in 1..n - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            // The lighter one of the next inner node and the next leaf.
            if leaf >= n || (root < next && tree[root] < tree[leaf]) {
                weight += tree[root];
                tree[root] = next as u32;
                root += 1;
            } else {
                weight += tree[leaf];
                leaf += 1;
            }
        }
        tree[next] = weight;
    }
    tree[n - 2] = 0;
    for node in (0..n - 2).rev() {
        tree[node] = tree[tree[node] as usize] + 1;
    }
    let mut counts = [0; 64];
    let (mut open, mut depth) = (1, 0);
    let mut inner = tree[..n - 1].iter().rev().peekable();
    while open > 0 {
        let mut inside = 0;
        while inner.next_if(|at| **at as usize == depth).is_some() {
            inside += 1;
        }
        counts[depth.min(63)] += open - inside;
        open = 2 * inside;
        depth += 1;
    }
    counts
}

/// The same with no depth beyond `limit`: leaves that are too deep come up to it, and others go
/// down until there is room for all.
fn limited(depths: &[usize; 64], limit: usize) -> [usize; LONGEST + 1] {
    let mut counts = [0; LONGEST + 1];
    for (depth, count) in depths.iter().enumerate() {
        counts[depth.min(limit)] += count;
    }
    let mut taken: usize = (1..=limit).map(|at| counts[at] << (limit - at)).sum();
    while taken > 1 << limit {
        counts[limit] -= 1;
        if let Some(at) = (1..limit).rev().find(|at| counts[*at] > 0) {
            counts[at] -= 1;
            counts[at + 1] += 2;
        }
        taken -= 1;
    }
    counts
}

/// Codes, with their bits in the order in which they are written.
pub(super) struct Codes<const N: usize> {
    codes: [u16; N],
    lengths: [u8; N],
}

impl<const N: usize> Codes<N> {
    /// The codes that follow from their lengths.
    pub(super) fn of(lengths: &[u8; N]) -> Self {
        let mut counts = [0_u16; LONGEST + 1];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        counts[0] = 0;
        let mut next = [0_u16; LONGEST + 1];
        for length in 1..=LONGEST {
            next[length] = (next[length - 1] + counts[length - 1]) << 1;
        }
        let mut codes = [0; N];
        for (code, length) in codes.iter_mut().zip(lengths).filter(|(_, l)| **l > 0) {
            let next = &mut next[usize::from(*length)];
            *code = next.reverse_bits() >> (16 - length);
            *next = next.wrapping_add(1);
        }
        let lengths = *lengths;
        Self { codes, lengths }
    }

    /// The code of a symbol, and its bits.
    #[inline(always)]
    pub(super) fn of_symbol(&self, symbol: usize) -> (u64, u32) {
        (self.codes[symbol].into(), self.lengths[symbol].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code is complete when the fractions of its lengths add up to one (Kraft).
    #[test]
    fn codes_are_complete_and_as_short_as_may_be() {
        let mut fibonacci = [0_u32; 40];
        (fibonacci[0], fibonacci[1]) = (1, 1);
        for at in 2..40 {
            fibonacci[at] = fibonacci[at - 1] + fibonacci[at - 2];
        }
        for limit in [7, 9, LONGEST] {
            let lengths = lengths(&fibonacci, limit);
            let sum: u32 = lengths.iter().map(|l| 1 << (limit - usize::from(*l))).sum();
            assert_eq!(sum, 1 << limit, "{lengths:?}");
            assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");
        }
        // By hand: 1, 1 and 2 make 4, beside 4.
        assert_eq!(lengths(&[4, 1, 0, 2, 1], LONGEST), [1, 3, 0, 2, 3]);
        assert_eq!(lengths(&[0, 9, 0], LONGEST), [0, 1, 0]);
        assert_eq!(lengths(&[0, 0], LONGEST), [0, 0]);
    }

    /// The example of RFC 1951, section 3.2.2.
    #[test]
    fn codes_are_those_of_the_specification() {
        let codes = Codes::of(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let shown: Vec<String> = (0..8)
            .map(|symbol| {
                let (code, bits) = codes.of_symbol(symbol);
                (0..bits)
                    .map(|at| if code >> at & 1 == 1 { '1' } else { '0' })
                    .collect()
            })
            .collect();
        let expected = ["010", "011", "100", "101", "110", "00", "1110", "1111"];
        assert_eq!(shown, expected);
    }
}
