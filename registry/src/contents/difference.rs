//! What changed from one tree to another.

use super::entry::{FileEntry, Kind};
use super::tree::Tree;

/// How a path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

/// A path that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<'l> {
    /// The path.
    pub path: &'l str,
    /// How.
    pub change: Change,
    /// Bytes before.
    pub before: u64,
    /// Bytes now.
    pub after: u64,
}

/// All that changed, in byte order of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes<'l> {
    /// The paths.
    pub paths: Vec<Changed<'l>>,
}

impl Changes<'_> {
    /// How many paths changed so.
    pub fn count(&self, change: Change) -> usize {
        self.paths
            .iter()
            .filter(|path| path.change == change)
            .count()
    }

    /// Bytes that came, less those that went.
    pub fn growth(&self) -> i128 {
        let growth = |path: &Changed<'_>| i128::from(path.after) - i128::from(path.before);
        self.paths.iter().map(growth).sum()
    }
}

/// What changed from one tree to another. Times do not count: every build has others.
pub fn difference<'l>(old: &Tree<'l>, new: &Tree<'l>) -> Changes<'l> {
    let mut paths = Vec::new();
    for (path, placed) in old.iter() {
        let (before, now) = (placed.entry, new.get(path).map(|placed| placed.entry));
        let change = match now {
            None => Change::Removed,
            Some(now) if same(before, now) => continue,
            Some(_) => Change::Changed,
        };
        paths.push(Changed {
            path,
            change,
            before: before.size,
            after: now.map_or(0, |now| now.size),
        });
    }
    let added = new.iter().filter(|(path, _)| old.get(path).is_none());
    paths.extend(added.map(|(path, placed)| Changed {
        path,
        change: Change::Added,
        before: 0,
        after: placed.entry.size,
    }));
    paths.sort_by_key(|changed| changed.path);
    Changes { paths }
}

/// Whether two entries of one path are the same to whoever uses the image.
fn same(a: &FileEntry, b: &FileEntry) -> bool {
    let kind = |entry: &FileEntry| match entry.kind {
        // Which of a file's names is the first makes no difference.
        Kind::HardLink if entry.content.is_some() => Kind::File,
        Kind::Opaque => Kind::Directory,
        kind => kind,
    };
    let target = |entry: &FileEntry| match kind(entry) {
        Kind::File => None,
        _ => entry.target.clone(),
    };
    kind(a) == kind(b)
        && (a.mode, a.uid, a.gid) == (b.mode, b.uid, b.gid)
        && a.content == b.content
        && target(a) == target(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::testing::listing;

    #[test]
    fn content_decides_and_sizes_do_not() {
        let old = listing(&[
            ("same", Some("same")),
            ("changed", Some("old")),
            ("gone", Some("1234")),
            ("d/", None),
        ]);
        let new = listing(&[
            ("d/", None),
            ("d/new", Some("12")),
            ("changed", Some("new")),
            ("same", Some("same")),
        ]);
        let (old, new) = (Tree::of([Some(&old)]), Tree::of([Some(&new)]));
        let changes = difference(&old, &new);
        let shown: Vec<_> = changes
            .paths
            .iter()
            .map(|c| (c.path, c.change, c.before, c.after))
            .collect();
        assert_eq!(
            shown,
            [
                ("changed", Change::Changed, 3, 3),
                ("d/new", Change::Added, 0, 2),
                ("gone", Change::Removed, 4, 0),
            ]
        );
        assert_eq!(changes.growth(), -2);
        assert_eq!(changes.count(Change::Added), 1);
        assert!(difference(&old, &old).paths.is_empty());
    }
}
