//! File trees read from tar archives, to look into and to compare.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// A file, whatever its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `f` file, `d` directory, `l` symbolic link, `c`/`b` device, `p` pipe.
    pub kind: char,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Target of a link.
    pub link: String,
    /// Content of a file.
    pub content: Content,
}

/// Content of a file: its size and digest, and the bytes of a short one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Content {
    size: u64,
    sha256: String,
    bytes: Vec<u8>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes {:.8}", self.size, self.sha256)
    }
}

/// Bytes of a file that are kept.
const SHORT: usize = 64 << 10;

impl Content {
    fn read(mut from: impl Read) -> Self {
        let mut content = Self::default();
        let mut hash = Sha256::new();
        let mut buffer = [0; 32 << 10];
        loop {
            let n = from.read(&mut buffer).expect("read a file of an archive");
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            content.size += n as u64;
            if content.bytes.len() < SHORT {
                content.bytes.extend_from_slice(&buffer[..n]);
            }
        }
        content.sha256 = hex::encode(hash.finalize());
        content
    }
}

/// Files by path, without a slash at either end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Of an archive in a file.
    #[track_caller]
    pub fn from_tar(file: &Path) -> Self {
        Self::read(File::open(file).expect("open an archive"))
    }

    /// Of an archive.
    pub fn read(tar: impl Read) -> Self {
        let mut tree = Self::default();
        tree.add(tar, false);
        tree
    }

    /// Lays a layer over the tree: whiteouts take away.
    pub fn apply(&mut self, layer: impl Read) {
        self.add(layer, true);
    }

    fn add(&mut self, tar: impl Read, whiteouts: bool) {
        let mut archive = tar::Archive::new(tar);
        let mut fresh = Vec::new();
        for entry in archive.entries().expect("an archive") {
            let mut entry = entry.expect("an entry of an archive");
            let path = clean(&entry.path_bytes());
            if whiteouts && let Some(taken) = whiteout(&path) {
                match taken {
                    Taken::One(path) => self.remove(&path, &[]),
                    Taken::Content(dir) => self.remove_below(&dir, &fresh),
                }
                continue;
            }
            let file = self.entry(&mut entry);
            if file.kind != 'd' {
                self.remove(&path, &fresh);
            }
            fresh.push(path.clone());
            self.0.insert(path, file);
        }
    }

    fn entry(&self, entry: &mut tar::Entry<'_, impl Read>) -> Entry {
        use tar::EntryType;
        let link = entry.link_name_bytes().unwrap_or_default().into_owned();
        let header = entry.header();
        let kind = match header.entry_type() {
            EntryType::Link => {
                let target = clean(&link);
                let known = self.0.get(&target);
                return known.expect("a hard link to an earlier file").clone();
            }
            EntryType::Directory => 'd',
            EntryType::Symlink => 'l',
            EntryType::Char => 'c',
            EntryType::Block => 'b',
            EntryType::Fifo => 'p',
            _ => 'f',
        };
        Entry {
            kind,
            mode: header.mode().expect("mode") & 0o7777,
            uid: header.uid().expect("uid"),
            gid: header.gid().expect("gid"),
            mtime: header.mtime().expect("mtime"),
            link: String::from_utf8_lossy(&link).into_owned(),
            content: if kind == 'f' {
                Content::read(entry)
            } else {
                Content::default()
            },
        }
    }

    fn remove(&mut self, path: &str, keep: &[String]) {
        self.0.remove(path);
        self.remove_below(path, keep);
    }

    fn remove_below(&mut self, dir: &str, keep: &[String]) {
        let below = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        self.0
            .retain(|path, _| !path.starts_with(&below) || keep.contains(path));
    }

    /// A file that has to be there.
    #[track_caller]
    pub fn get(&self, path: &str) -> &Entry {
        self.0.get(path).unwrap_or_else(|| panic!("no {path}"))
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// A file's text.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        let entry = self.get(path);
        assert_eq!(entry.kind, 'f', "{path} is no file");
        String::from_utf8_lossy(&entry.content.bytes).into_owned()
    }

    /// Owner, group and mode as `0:0 644`.
    #[track_caller]
    pub fn owner(&self, path: &str) -> String {
        let entry = self.get(path);
        format!("{}:{} {:o}", entry.uid, entry.gid, entry.mode)
    }

    /// Paths below a folder.
    pub fn below(&self, dir: &str) -> Vec<&str> {
        let dir = format!("{dir}/");
        let all = self.0.keys();
        all.filter_map(|path| path.strip_prefix(&dir)).collect()
    }

    /// Without these paths and what is below them.
    #[must_use]
    pub fn without(mut self, paths: &[&str]) -> Self {
        for path in paths {
            self.remove(path, &[]);
        }
        self
    }

    /// In what it differs from another tree, a line a file. Times count only for files (not
    /// folders) that are older than any build: what was copied keeps its time.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        const BUILT_LATER_THAN: u64 = 1_700_000_000;
        let paths = self.0.keys().chain(other.0.keys());
        let all: std::collections::BTreeSet<_> = paths.filter(|path| !path.is_empty()).collect();
        let mut found = Vec::new();
        for path in all {
            match (self.0.get(path), other.0.get(path)) {
                (Some(a), Some(b)) => {
                    let (mut left, mut right) = (a.clone(), b.clone());
                    let old = a.mtime.min(b.mtime) < BUILT_LATER_THAN;
                    if a.kind == 'd' || a.kind == 'l' || !old {
                        (left.mtime, right.mtime) = (0, 0);
                    }
                    if left != right {
                        found.push(format!("{path}:\n      {left:?}\n      {right:?}"));
                    }
                }
                (Some(_), None) => found.push(format!("{path}: only in the first")),
                (None, _) => found.push(format!("{path}: only in the second")),
            }
        }
        found
    }
}

fn clean(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path).into_owned();
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

enum Taken {
    One(String),
    Content(String),
}

fn whiteout(path: &str) -> Option<Taken> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = name.strip_prefix(".wh.")?;
    if name == ".wh..opq" {
        return Some(Taken::Content(dir.to_owned()));
    }
    let path = format!("{dir}/{name}");
    Some(Taken::One(path.trim_start_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(entries: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            let bytes = content.unwrap_or_default().as_bytes();
            header.set_size(bytes.len() as u64);
            header.set_entry_type(match content {
                Some(_) => tar::EntryType::Regular,
                None => tar::EntryType::Directory,
            });
            builder.append_data(&mut header, path, bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn layers_take_away_and_replace() {
        let mut tree = Tree::default();
        tree.apply(
            &tar(&[
                ("a", None),
                ("a/x", Some("1")),
                ("b", None),
                ("b/y", Some("2")),
            ])[..],
        );
        tree.apply(
            &tar(&[
                ("a/.wh.x", Some("")),
                ("b/z", Some("3")),
                ("b/.wh..wh..opq", Some("")),
            ])[..],
        );
        assert_eq!(tree.0.keys().collect::<Vec<_>>(), ["a", "b", "b/z"]);
        tree.apply(&tar(&[("b", Some("file"))])[..]);
        assert_eq!(tree.0.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(tree.text("b"), "file");
    }

    #[test]
    fn differences_name_the_file() {
        let one = Tree::read(&tar(&[("same", Some("1")), ("f", Some("1")), ("g", Some(""))])[..]);
        let two = Tree::read(&tar(&[("same", Some("1")), ("f", Some("2"))])[..]);
        let found = one.differences(&two);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("f:"), "{found:?}");
        assert_eq!(found[1], "g: only in the first");
    }
}
