//! "Did you mean": the closest known word to an unknown one.

/// The option closest to `word`, when it is close enough to be a typing mistake: two edits at
/// most, and fewer than half its letters. Case counts unless `ignore_case`.
pub fn closest<'o, I>(word: &str, options: I, ignore_case: bool) -> Option<&'o str>
where
    I: IntoIterator<Item = &'o str>,
{
    let fold = |text: &str| {
        if ignore_case {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let own = fold(word);
    let mut best: Option<(usize, &str)> = None;
    for option in options {
        let other = fold(option);
        if own == other && word == option {
            continue;
        }
        let distance = distance(&own, &other);
        let close = distance <= 2 && distance * 2 < own.chars().count().max(2);
        let better = best.is_none_or(|(least, kept)| (distance, option) < (least, kept));
        if close && better {
            best = Some((distance, option));
        }
    }
    best.map(|(_, option)| option)
}

/// Among more options than that nothing is suggested: looking at each for each of thousands of
/// unknown words would take minutes.
const MAX_OPTIONS: usize = 1000;

/// The option at most two edits from `word`, the way BuildKit's messages suggest one: case counts,
/// a swap of neighbours is two edits, and a word that is an option itself has none.
pub(crate) fn nearest<'o>(word: &str, options: &[&'o str]) -> Option<&'o str> {
    if options.len() > MAX_OPTIONS || options.contains(&word) {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for option in options {
        let distance = edits(word, option, false);
        if distance <= 2 && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, option));
        }
    }
    best.map(|(_, option)| option)
}

fn distance(a: &str, b: &str) -> usize {
    edits(a, b, true)
}

/// Edits between two words: insertions, deletions, substitutions and, with `swaps`, swaps of
/// neighbours.
fn edits(a: &str, b: &str, swaps: bool) -> usize {
    // What they begin and end with alike costs nothing.
    let alike = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let start = (0..=alike)
        .rev()
        .find(|at| a.is_char_boundary(*at) && b.is_char_boundary(*at));
    let (a, b) = (&a[start.unwrap_or(0)..], &b[start.unwrap_or(0)..]);
    let ends = a.chars().rev().zip(b.chars().rev());
    let end: usize = ends
        .take_while(|(x, y)| x == y)
        .map(|(c, _)| c.len_utf8())
        .sum();
    let a: Vec<char> = a[..a.len() - end].chars().take(64).collect();
    let b: Vec<char> = b[..b.len() - end].chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let substitute = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = substitute.min(row[j] + 1).min(next[j - 1] + 1);
            if swaps && i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, n) in [
            ("", "", 0),
            ("FROM", "FORM", 1),
            ("RUN", "RUNN", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }

    #[test]
    fn finds_the_closest() {
        let words = ["FROM", "RUN", "COPY", "ENTRYPOINT"];
        assert_eq!(closest("FORM", words, true), Some("FROM"));
        assert_eq!(closest("entrypont", words, true), Some("ENTRYPOINT"));
        assert_eq!(closest("XYZ", words, true), None);
        assert_eq!(closest("PAHT", ["PATH", "HOME"], false), Some("PATH"));
        assert_eq!(closest("RUM", words, true), Some("RUN"));
    }
}
