//! What `--parents` selects: a filtered view of the tree below the pivot, or of the whole tree.
//!
//! The pattern is one of an ignore file (`**` is any number of folders), the directories on the
//! way come along with their own metadata, and links on the way are not followed. Of the tree
//! only that is listed which the pattern may match.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use dockerfile::ignore::IgnoreMatcher;
use rustix::fs::{self, AtFlags, FileType};

use super::FilesError;
use super::rootfs::{self, file_type};
use super::select::{
    Entry, Filter, Selection, SourceTree, Verdict, clean, has_meta, literal_folder,
};
use super::walk::{self, Walk};

impl SourceTree<'_> {
    /// All that `source` selects with `--parents`: one selection for each folder that its part in
    /// front of `/./` names, whose entries start there. `exclude` sees the same paths.
    ///
    /// # Errors
    /// [`FilesError::NotFound`], [`FilesError::Ignored`], [`FilesError::Linked`] and
    /// [`FilesError::Excluded`] where there
    /// is no wildcard, or no folder in front of one; I/O errors.
    pub fn select_parents(
        &self,
        source: &str,
        exclude: &dyn Filter,
    ) -> Result<Vec<Selection>, FilesError> {
        let (pivot, pattern) = source.split_once("/./").unwrap_or(("", source));
        let (pivot, pattern) = (clean(pivot), clean(pattern));
        if pattern.is_empty() {
            return Err(FilesError::NoParents(source.to_owned()));
        }
        let wanted = Wanted::new(&pattern)?;
        let is_pattern = has_meta(&pivot) || has_meta(&pattern);
        if is_pattern {
            self.require(literal_folder(&pivot))?;
        }
        let pivots = match has_meta(&pivot) {
            true => self.expand(&pivot)?,
            false => vec![PathBuf::from(&pivot)],
        };
        let mut selections = Vec::new();
        for named in pivots {
            selections.extend(self.below(&named, &wanted, exclude)?);
        }
        if !is_pattern {
            let pattern = Path::new(&pattern);
            let found = |s: &Selection| s.entries.iter().any(|e| e.path == pattern);
            if !selections.iter().any(found) {
                return Err(self.absent(source, &Path::new(&pivot).join(pattern)));
            }
        }
        Ok(selections)
    }

    /// Why a path that is named as it is was not selected.
    fn absent(&self, source: &str, path: &Path) -> FilesError {
        let Ok(Some(stat)) = self.rootfs.lstat(path) else {
            return self.missing(path);
        };
        let is_dir = file_type(&stat) == FileType::Directory;
        match self.verdict(path, is_dir) {
            Verdict::Include if file_type(&stat) == FileType::Socket => {
                FilesError::Socket(path.to_owned())
            }
            Verdict::Include if self.is_behind_link(path) => FilesError::Linked(source.to_owned()),
            Verdict::Include => FilesError::Excluded(source.to_owned()),
            Verdict::Exclude | Verdict::Descend => FilesError::Ignored(source.to_owned()),
        }
    }

    /// Whether a folder on the way to a path is a link.
    fn is_behind_link(&self, path: &Path) -> bool {
        let folder = path.parent().unwrap_or(Path::new(""));
        let real = self.rootfs.canonical(folder);
        real.is_ok_and(|real| real.strip_prefix("/").unwrap_or(&real) != folder)
    }

    /// What is wanted below one pivot.
    fn below(
        &self,
        named: &Path,
        wanted: &Wanted,
        exclude: &dyn Filter,
    ) -> Result<Option<Selection>, FilesError> {
        let root = self
            .rootfs
            .canonical(named)
            .map_err(FilesError::io("resolve", named))?;
        let dir = match self.rootfs.open_dir(&root) {
            Ok(dir) => dir,
            Err(e) if rootfs::is_absent(&e) => return Ok(None),
            Err(e) => return Err(FilesError::io("open", named)(e)),
        };
        let mut search = Search {
            wanted,
            walk: self.walk(),
            passed: HashSet::new(),
        };
        search.directory(dir.as_fd(), &root, Path::new(""), 0)?;
        let mut selection = Selection {
            root,
            named: named.to_owned(),
            is_dir: true,
            entries: search.walk.entries,
        };
        selection.settle(exclude, &search.passed);
        Ok(Some(selection))
    }
}

/// What a pattern asks for.
struct Wanted {
    components: Vec<String>,
    /// The whole pattern, unless it has no wildcard.
    whole: Option<IgnoreMatcher>,
    /// The first one, two, … components, up to the first with `**`: what is as deep as that and
    /// does not match has nothing below it that could.
    leading: Vec<IgnoreMatcher>,
}

impl Wanted {
    fn new(pattern: &str) -> Result<Self, FilesError> {
        let components: Vec<String> = pattern.split('/').map(str::to_owned).collect();
        let compile = |text: &str| {
            // To an ignore file the mark is no name: here it is.
            let text = match text.strip_prefix('!') {
                Some(rest) => format!("\\!{rest}"),
                None => text.to_owned(),
            };
            IgnoreMatcher::new([text]).map_err(|_| FilesError::BadPattern(pattern.to_owned()))
        };
        let (mut whole, mut leading) = (None, Vec::new());
        if has_meta(pattern) {
            whole = Some(compile(pattern)?);
            for n in 1..components.len() {
                if components[n - 1].contains("**") {
                    break;
                }
                leading.push(compile(&components[..n].join("/"))?);
            }
        }
        Ok(Self {
            components,
            whole,
            leading,
        })
    }

    /// The only name that can lead on at this depth, when there is just one.
    fn name(&self, depth: usize) -> Option<&str> {
        let before = self.components.get(..=depth)?;
        let literal = before.iter().all(|component| !has_meta(component));
        literal.then(|| self.components[depth].as_str())
    }

    fn matches(&self, path: &Path, depth: usize) -> bool {
        match &self.whole {
            Some(matcher) => matcher.matches(&path.to_string_lossy()),
            // Only wanted names are looked up.
            None => depth + 1 == self.components.len(),
        }
    }

    /// Whether something below a directory of this depth may match.
    fn may_match_below(&self, path: &Path, depth: usize) -> bool {
        if self.whole.is_none() {
            return depth + 1 < self.components.len();
        }
        match self.leading.get(depth) {
            Some(leading) => leading.matches(&path.to_string_lossy()),
            None => self.components.iter().any(|c| c.contains("**")),
        }
    }
}

struct Search<'a> {
    wanted: &'a Wanted,
    walk: Walk<'a>,
    /// Directories that were not asked for, but lead to what was.
    passed: HashSet<PathBuf>,
}

impl Search<'_> {
    fn directory(
        &mut self,
        dir: BorrowedFd<'_>,
        full: &Path,
        below: &Path,
        depth: usize,
    ) -> Result<(), FilesError> {
        self.walk
            .stop
            .check()
            .map_err(FilesError::io("list", full))?;
        let names = match self.wanted.name(depth) {
            Some(name) => vec![name.into()],
            None => rootfs::list(dir).map_err(FilesError::io("list", full))?,
        };
        for name in names {
            let (full, below) = (full.join(&name), below.join(&name));
            let stat = match fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(rustix::io::Errno::NOENT) => continue,
                Err(e) => return Err(FilesError::io("stat", &full)(e.into())),
            };
            if file_type(&stat) == FileType::Socket {
                continue;
            }
            let is_dir = file_type(&stat) == FileType::Directory;
            let seen = match self.walk.filter.check(&full, is_dir) {
                Verdict::Exclude => continue,
                Verdict::Descend if !is_dir => continue,
                verdict => verdict,
            };
            let path = below.clone();
            if self.wanted.matches(&below, depth) {
                if seen == Verdict::Descend {
                    self.passed.insert(below.clone());
                }
                self.walk.entries.push(Entry::new(path, stat));
                if is_dir {
                    self.walk.enter(dir, &name, &full, &below)?;
                }
            } else if is_dir && self.wanted.may_match_below(&below, depth) {
                self.passed.insert(below.clone());
                self.walk.entries.push(Entry::new(path, stat));
                let inner = walk::open(dir, &name, &full)?;
                self.directory(inner.as_fd(), &full, &below, depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::IgnoreFilter;
    use crate::files::rootfs::Rootfs;
    use crate::files::select::Everything;
    use crate::stop::Stop;

    fn select(source: &str, exclude: &[&str]) -> Result<Vec<String>, FilesError> {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "a/top.txt",
            "a/b/mid.txt",
            "a/b/c/deep.txt",
            "a/b/c/no.md",
            "d1/x",
            "d2/x",
            "d2/y",
            "f",
            "!n/m",
        ] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        let exclude: Vec<String> = exclude.iter().map(|s| (*s).to_owned()).collect();
        let exclude = IgnoreFilter::new(&exclude).unwrap();
        let rootfs = Rootfs::open(dir.path()).unwrap();
        let tree = SourceTree {
            rootfs: &rootfs,
            filter: &Everything,
            stop: &Stop::default(),
        };
        let found = tree.select_parents(source, &exclude)?;
        let entries = found.iter().flat_map(|s| &s.entries);
        Ok(entries.map(|e| e.path.display().to_string()).collect())
    }

    #[test]
    fn patterns_are_those_of_ignore_files() {
        for (source, exclude, selected) in [
            // BuildKit: any number of folders, none among them.
            (
                "a/**/*.txt",
                &[][..],
                &[
                    "a",
                    "a/b",
                    "a/b/c",
                    "a/b/c/deep.txt",
                    "a/b/mid.txt",
                    "a/top.txt",
                ][..],
            ),
            ("a/*/*.txt", &[], &["a", "a/b", "a/b/mid.txt"]),
            ("**/deep.txt", &[], &["a", "a/b", "a/b/c", "a/b/c/deep.txt"]),
            (
                "a/b/c",
                &[],
                &["a", "a/b", "a/b/c", "a/b/c/deep.txt", "a/b/c/no.md"],
            ),
            ("/f", &[], &["f"]),
            (
                "*/",
                &["**/x", "a", "?n"],
                &["d1", "d2", "d2/y", "f", "link"],
            ),
            // The part in front of the pivot is not rebuilt, with wildcards or without.
            ("a/./b/mid.txt", &[], &["b", "b/mid.txt"]),
            ("d*/./*", &[], &["x", "x", "y"]),
            ("./a/./b/c/*.md", &[], &["b", "b/c", "b/c/no.md"]),
            ("link/./top.txt", &[], &["top.txt"]),
            // What nothing is taken from is not made.
            ("a/**/*.none", &[], &[]),
            ("a/**/*.txt", &["a/b"], &["a", "a/top.txt"]),
            (
                "**",
                &["**/*.txt", "d?", "?n"],
                &["a", "a/b", "a/b/c", "a/b/c/no.md", "f", "link"],
            ),
            ("!n/m", &[], &["!n", "!n/m"]),
            ("!n/*", &[], &["!n", "!n/m"]),
        ] {
            let found = select(source, exclude).unwrap();
            assert_eq!(found, selected, "{source} without {exclude:?}");
        }
    }

    #[test]
    fn what_is_named_must_be_there() {
        for (source, exclude) in [
            ("nope", &[][..]),
            ("nope/./x*", &[]),
            ("a/./nope", &[]),
            (".", &[]),
            ("a/./", &[]),
            // Links on the way are not followed: "/link/top.txt": not found, says BuildKit.
            ("link/top.txt", &[]),
        ] {
            assert!(select(source, exclude).is_err(), "{source}");
        }
        let linked = select("link/top.txt", &[]).unwrap_err();
        assert!(matches!(linked, FilesError::Linked(_)), "{linked}");
        let excluded = select("a/b", &["a"]).unwrap_err();
        assert!(matches!(excluded, FilesError::Excluded(_)), "{excluded}");
    }
}
