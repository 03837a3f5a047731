//! Bytes that layers hold for nothing, because others above replace or remove the file: counted
//! as `dive` counts them, so that its users find their numbers again.
//!
//! Only paths without anything below them in their layer count. A path that several layers have
//! wastes all that they hold for it together; one that a layer takes away counts there with what
//! it was, when that was a directory, and with nothing else.

use std::collections::BTreeMap;

use super::entry::{Kind, Listing};
use super::tree::Tree;

/// A path that several layers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wasted {
    /// The path.
    pub path: String,
    /// In how many layers it is.
    pub times: usize,
    /// Bytes that all of them hold for it.
    pub bytes: u64,
}

/// What several layers hold for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waste {
    /// The paths, those that waste most first.
    pub paths: Vec<Wasted>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// How much of all bytes is needed, in hundredths of a percent.
    pub efficiency: u32,
}

#[derive(Default)]
struct Seen {
    times: usize,
    bytes: u64,
    least: u64,
}

/// What layers, the lowest first, hold for nothing.
pub fn waste(layers: &[&Listing]) -> Waste {
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut below = Tree::default();
    for (number, layer) in layers.iter().enumerate() {
        for (at, entry) in layer.entries.iter().enumerate() {
            let size = match entry.kind {
                Kind::Whiteout => below
                    .get(&entry.path)
                    .filter(|placed| placed.entry.is_directory())
                    .map_or(0, |_| {
                        below.below(&entry.path).map(|(_, p)| p.entry.size).sum()
                    }),
                _ if has_more(layer, at) => continue,
                _ => entry.size,
            };
            let path = seen.entry(&entry.path).or_default();
            path.least = if path.times == 0 {
                size
            } else {
                path.least.min(size)
            };
            path.times += 1;
            path.bytes += size;
        }
        below.add(number, layer);
    }
    let (mut all, mut needed) = (0, 0);
    let mut paths = Vec::new();
    for (path, seen) in seen {
        all += seen.bytes;
        needed += seen.least;
        if seen.times > 1 {
            paths.push(Wasted {
                path: path.to_owned(),
                times: seen.times,
                bytes: seen.bytes,
            });
        }
    }
    paths.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    let efficiency = match all {
        0 => 10_000,
        // At most 10,000.
        all => (u128::from(needed) * 10_000 / u128::from(all)) as u32,
    };
    Waste {
        bytes: paths.iter().map(|path| path.bytes).sum(),
        paths,
        efficiency,
    }
}

/// Whether a layer has anything below its entry of this number.
fn has_more(layer: &Listing, at: usize) -> bool {
    let below = format!("{}/", layer.entries[at].path);
    let first = layer.entries.partition_point(|entry| entry.path < below);
    let entry = layer.entries.get(first);
    entry.is_some_and(|entry| entry.path.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::testing::listing;

    /// The example of three layers: a file replaced, one removed, a directory removed.
    #[test]
    fn replaced_and_removed_files_are_wasted() {
        let layers = [
            listing(&[
                ("bin/tool", Some("0123456789")),
                ("bin/other", Some("01234")),
                ("cache/one", Some("111")),
                ("cache/two", Some("2222")),
                ("cache/", None),
                ("kept", Some("1")),
            ]),
            listing(&[("bin/tool", Some("01234567")), ("bin/.wh.other", Some(""))]),
            listing(&[(".wh.cache", Some(""))]),
        ];
        let found = waste(&layers.iter().collect::<Vec<_>>());
        let paths: Vec<_> = found
            .paths
            .iter()
            .map(|p| (p.path.as_str(), p.times, p.bytes))
            .collect();
        assert_eq!(paths, [("bin/tool", 2, 18), ("bin/other", 2, 5)]);
        assert_eq!(found.bytes, 23);
        // All: 10 + 8, 5 + 0, 3, 4, 7 for the directory, 1; needed: 8, 0, 3, 4, 7, 1.
        assert_eq!(found.efficiency, 23 * 10_000 / 38);
        assert_eq!(waste(&[]).efficiency, 10_000);
    }
}
