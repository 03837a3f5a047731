//! The files of several layers together, as a container would see them.

use std::collections::BTreeMap;

use super::entry::{FileEntry, Kind, Listing};
use super::packages::{Database, Package};

/// A path, and the layer that it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'l> {
    /// What it is.
    pub entry: &'l FileEntry,
    /// The number of its layer, the lowest being 0.
    pub layer: usize,
}

/// The files of layers, one on the other.
#[derive(Clone, Debug, Default)]
pub struct Tree<'l> {
    files: BTreeMap<&'l str, Placed<'l>>,
}

/// Something in a directory.
#[derive(Clone, Debug)]
pub struct Child<'l> {
    /// Its name in there.
    pub name: &'l str,
    /// The path itself; `None` for a directory that no layer has an entry for.
    pub placed: Option<Placed<'l>>,
    /// Bytes of all files in it.
    pub size: u64,
    /// How many files there are in it, itself not counted.
    pub files: usize,
}

impl Child<'_> {
    /// Whether one can look into it.
    pub fn is_directory(&self) -> bool {
        self.placed.is_none_or(|placed| placed.entry.is_directory()) || self.files > 0
    }
}

impl<'l> Tree<'l> {
    /// Puts layers on each other, the lowest first. `None` is a layer that is not known.
    pub fn of(layers: impl IntoIterator<Item = Option<&'l Listing>>) -> Self {
        let mut tree = Self::default();
        for (number, layer) in layers.into_iter().enumerate() {
            if let Some(layer) = layer {
                tree.add(number, layer);
            }
        }
        tree
    }

    /// One layer alone, with what it takes away.
    pub fn alone(number: usize, layer: &'l Listing) -> Self {
        let entries = layer.entries.iter();
        let placed = entries.map(|entry| {
            let layer = number;
            (entry.path.as_str(), Placed { entry, layer })
        });
        Self {
            files: placed.collect(),
        }
    }

    /// Puts one more layer on top.
    pub(super) fn add(&mut self, number: usize, layer: &'l Listing) {
        // What it hides is in lower layers alone, wherever in the archive it says so.
        for entry in &layer.entries {
            match entry.kind {
                Kind::Whiteout => self.remove(&entry.path),
                Kind::Opaque => self.remove_below(&entry.path),
                _ => {}
            }
        }
        for entry in layer.entries.iter().filter(|e| e.kind != Kind::Whiteout) {
            if !entry.is_directory() {
                self.remove_below(&entry.path);
            }
            let layer = number;
            self.files.insert(&entry.path, Placed { entry, layer });
        }
    }

    fn remove(&mut self, path: &str) {
        self.files.remove(path);
        self.remove_below(path);
    }

    fn remove_below(&mut self, path: &str) {
        let below: Vec<&str> = self.below(path).map(|(path, _)| path).collect();
        for path in below {
            self.files.remove(path);
        }
    }

    /// All that lies below a path; of all there is for the empty one.
    pub(super) fn below<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'l str, Placed<'l>)> + 'a {
        let prefix = match path {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let first = prefix.clone();
        self.files
            .range::<str, _>((
                std::ops::Bound::Included(first.as_str()),
                std::ops::Bound::Unbounded,
            ))
            .map(|(path, placed)| (*path, *placed))
            .take_while(move |(path, _)| path.starts_with(prefix.as_str()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// What is at a path.
    pub fn get(&self, path: &str) -> Option<Placed<'l>> {
        self.files.get(path).copied()
    }

    /// All paths, in byte order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'l str, Placed<'l>)> {
        self.files.iter().map(|(path, placed)| (*path, *placed))
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.values().map(|placed| placed.entry.size).sum()
    }

    /// What is in a directory, directories first; `None` when there is no such one.
    pub fn children(&self, path: &str) -> Option<Vec<Child<'l>>> {
        let skip = if path.is_empty() { 0 } else { path.len() + 1 };
        let mut children: Vec<Child<'l>> = Vec::new();
        let mut at: BTreeMap<&str, usize> = BTreeMap::new();
        for (full, placed) in self.below(path) {
            let rest = &full[skip..];
            let (name, deeper) = match rest.split_once('/') {
                Some((name, _)) => (name, true),
                None => (rest, false),
            };
            let index = *at.entry(name).or_insert_with(|| {
                children.push(Child {
                    name,
                    placed: None,
                    size: 0,
                    files: 0,
                });
                children.len() - 1
            });
            let child = &mut children[index];
            child.size += placed.entry.size;
            if deeper {
                child.files += 1;
            } else {
                child.placed = Some(placed);
            }
        }
        let known = path.is_empty()
            || !children.is_empty()
            || self.get(path).is_some_and(|p| p.entry.is_directory());
        children.sort_by_key(|child| (!child.is_directory(), child.name));
        known.then_some(children)
    }

    /// What package managers say is installed, by package manager and name.
    pub fn packages(
        &self,
        layers: &[Option<&'l Listing>],
    ) -> BTreeMap<(&'l str, &'l str), &'l str> {
        let mut all = BTreeMap::new();
        for (number, layer) in layers.iter().enumerate() {
            for database in layer.iter().flat_map(|layer| &layer.packages) {
                let top = self.get(&database.path).is_some_and(|p| p.layer == number);
                if top {
                    add_packages(&mut all, database);
                }
            }
        }
        all
    }
}

fn add_packages<'l>(
    all: &mut BTreeMap<(&'l str, &'l str), &'l str>,
    Database {
        manager, packages, ..
    }: &'l Database,
) {
    for Package { name, version } in packages {
        all.insert((manager, name), version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::testing::listing;

    fn paths(tree: &Tree<'_>) -> Vec<String> {
        let paths = tree.iter();
        paths
            .map(|(path, placed)| format!("{path}@{}", placed.layer))
            .collect()
    }

    #[test]
    fn upper_layers_hide_what_they_say() {
        let layers = [
            listing(&[
                ("a/1", Some("1")),
                ("a/2", Some("22")),
                ("a.b", Some("x")),
                ("c/d/e", Some("e")),
                ("f/", None),
                ("f/g", Some("g")),
            ]),
            listing(&[
                ("a/.wh.1", Some("")),
                ("c/.wh..wh..opq", Some("")),
                ("c/n", Some("new")),
                ("f", Some("a file now")),
            ]),
        ];
        let tree = Tree::of(layers.iter().map(Some));
        assert_eq!(paths(&tree), ["a.b@0", "a/2@0", "c@1", "c/n@1", "f@1"]);
        assert_eq!(tree.size(), 2 + 1 + 3 + 10);
        let root = tree.children("").unwrap();
        let names: Vec<_> = root.iter().map(|c| (c.name, c.size, c.files)).collect();
        assert_eq!(
            names,
            [("a", 2, 1), ("c", 3, 1), ("a.b", 1, 0), ("f", 10, 0)]
        );
        assert!(tree.children("c/d").is_none());
        assert!(tree.children("a.b").is_none());
        assert_eq!(tree.children("a").unwrap().len(), 1);
        // A layer that is not known counts.
        let tree = Tree::of([None, Some(&layers[0])]);
        assert_eq!(tree.get("a.b").unwrap().layer, 1);
    }

    #[test]
    fn the_upmost_database_of_packages_counts() {
        let database = "var/lib/dpkg/status";
        let one = "Package: a\nVersion: 1\n\nPackage: b\nVersion: 1\n";
        let two = "Package: a\nVersion: 2\n";
        let layers = [
            listing(&[(database, Some(one))]),
            listing(&[(database, Some(two))]),
            listing(&[("var/lib/dpkg/.wh.status", Some(""))]),
        ];
        let packages = |n: usize| {
            let layers: Vec<_> = layers[..n].iter().map(Some).collect();
            let tree = Tree::of(layers.iter().copied());
            let packages = tree.packages(&layers);
            packages
                .iter()
                .map(|((m, n), v)| format!("{m} {n} {v}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(packages(1), ["dpkg a 1", "dpkg b 1"]);
        assert_eq!(packages(2), ["dpkg a 2"]);
        assert_eq!(packages(3), Vec::<String>::new());
    }
}
