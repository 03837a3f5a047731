//! Source patterns of COPY and ADD, resolved to lists of entries.
//!
//! Only what a source names is looked at: `COPY requirements.txt` costs one `stat`, however large
//! the context is, and ignored directories are not entered.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::FilesError;
pub use super::entry::{Entry, Everything, Filter, Verdict};
use super::rootfs::{self, Rootfs, file_type};
use super::walk::Walk;
use crate::stop::Stop;

/// What one match of a source pattern comes to.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Where it is in the source tree, links followed, without leading slash.
    pub root: PathBuf,
    /// The path as it was asked for, wildcards filled in.
    pub named: PathBuf,
    /// Whether it is a directory, whose contents then are what is copied.
    pub is_dir: bool,
    /// The file itself, or the contents of the directory in the order of a sorted walk.
    pub entries: Vec<Entry>,
}

impl Selection {
    /// Where an entry is in the source tree.
    pub fn path_of(&self, entry: &Entry) -> PathBuf {
        // Joining an empty path would add a slash, and a file is no directory.
        if entry.path.as_os_str().is_empty() {
            self.root.clone()
        } else {
            self.root.join(&entry.path)
        }
    }

    /// Leaves out what `exclude` does, its paths being relative to the selected directory. What
    /// was selected itself stays, whatever its name is: only what is found below it is looked at.
    pub fn exclude(&mut self, exclude: &dyn Filter) {
        self.settle(exclude, &HashSet::new());
    }

    /// The same, where the directories `passed` stay only if something below them does.
    pub(super) fn settle(&mut self, exclude: &dyn Filter, passed: &HashSet<PathBuf>) {
        if !self.is_dir {
            return;
        }
        let mut kept: Vec<Entry> = Vec::with_capacity(self.entries.len());
        // Directories that stay only if something below them does, outermost first.
        let mut waiting: Vec<Entry> = Vec::new();
        for entry in self.entries.drain(..) {
            waiting.retain(|dir| entry.path.starts_with(&dir.path));
            let is_dir = entry.kind() == FileType::Directory;
            match exclude.check(&entry.path, is_dir) {
                Verdict::Include if passed.contains(&entry.path) => waiting.push(entry),
                Verdict::Include => {
                    kept.append(&mut waiting);
                    kept.push(entry);
                }
                Verdict::Descend if is_dir => waiting.push(entry),
                Verdict::Descend | Verdict::Exclude => {}
            }
        }
        self.entries = kept;
    }

    /// The last component of the path as it was asked for.
    pub fn name(&self) -> &OsStr {
        self.named.file_name().unwrap_or_default()
    }
}

/// A tree that files are taken from.
pub struct SourceTree<'a> {
    /// The tree.
    pub rootfs: &'a Rootfs,
    /// What of it is seen.
    pub filter: &'a dyn Filter,
    /// Asked now and then: ends a long walk.
    pub stop: &'a Stop,
}

impl SourceTree<'_> {
    /// All that `pattern` selects, sorted.
    ///
    /// # Errors
    /// [`FilesError::NotFound`] and [`FilesError::Ignored`] for a path without wildcards that is
    /// not there or left out, and for the folder in front of a wildcard; else a pattern may match
    /// nothing. I/O errors.
    pub fn select(&self, pattern: &str) -> Result<Vec<Selection>, FilesError> {
        let clean = clean(pattern);
        let is_pattern = has_meta(&clean);
        let named = if is_pattern {
            self.require(literal_folder(&clean))?;
            self.expand(&clean)?
        } else {
            vec![PathBuf::from(clean)]
        };
        let mut selections = Vec::with_capacity(named.len());
        let mut ignored = false;
        for named in named {
            match self.select_one(&named) {
                Ok(Some(selection)) => selections.push(selection),
                Ok(None) => ignored = true,
                Err(e) => return Err(e),
            }
        }
        if ignored && selections.is_empty() && !is_pattern {
            return Err(FilesError::Ignored(pattern.to_owned()));
        }
        Ok(selections)
    }

    /// That the folder in front of a wildcard is there.
    pub(super) fn require(&self, folder: &Path) -> Result<(), FilesError> {
        let io = FilesError::io("stat", folder);
        let root = self.rootfs.canonical(folder);
        match root.and_then(|root| self.rootfs.lstat(&root)) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(self.missing(folder)),
            Err(e) => Err(io(e)),
        }
    }

    pub(super) fn missing(&self, named: &Path) -> FilesError {
        FilesError::NotFound {
            path: display(&named.to_string_lossy()),
            similar: self.similar(named),
        }
    }

    fn select_one(&self, named: &Path) -> Result<Option<Selection>, FilesError> {
        let root = self
            .rootfs
            .canonical(named)
            .map_err(FilesError::io("resolve", named))?;
        let stat = self
            .rootfs
            .lstat(&root)
            .map_err(FilesError::io("stat", named))?;
        let Some(stat) = stat else {
            return Err(self.missing(named));
        };
        let is_dir = file_type(&stat) == FileType::Directory;
        let verdict = self.verdict(&root, is_dir);
        if verdict == Verdict::Exclude || (verdict == Verdict::Descend && !is_dir) {
            return Ok(None);
        }
        let entries = if is_dir {
            let dir = self
                .rootfs
                .open_dir(&root)
                .map_err(FilesError::io("open", named))?;
            let mut walk = self.walk();
            walk.directory(dir, &root, Path::new(""))?;
            walk.entries
        } else {
            vec![Entry::new(PathBuf::new(), stat)]
        };
        if verdict == Verdict::Descend && entries.is_empty() {
            return Ok(None);
        }
        Ok(Some(Selection {
            root,
            named: named.to_owned(),
            is_dir,
            entries,
        }))
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        Walk {
            filter: self.filter,
            stop: self.stop,
            entries: Vec::new(),
        }
    }

    /// A neighbour of a path that does not exist, of nearly the same name.
    fn similar(&self, missing: &Path) -> Option<String> {
        let wanted = missing.file_name()?.to_str()?;
        let parent = missing.parent().unwrap_or(Path::new(""));
        let dir = self.rootfs.open_dir(parent).ok()?;
        let names = rootfs::list(dir.as_fd()).ok()?;
        let names: Vec<&str> = names.iter().filter_map(|name| name.to_str()).collect();
        let close = dockerfile::suggest::closest(wanted, names.iter().copied(), true)?;
        Some(parent.join(close).to_string_lossy().into_owned())
    }

    /// The verdict on a path that was named, its parents' taken into account.
    pub(super) fn verdict(&self, path: &Path, is_dir: bool) -> Verdict {
        if path.as_os_str().is_empty() {
            return Verdict::Include;
        }
        self.filter.check(path, is_dir)
    }

    /// Fills in wildcards one component at a time, as `*` never matches a slash.
    pub(super) fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, FilesError> {
        let bad = || FilesError::BadPattern(pattern.to_owned());
        let mut found = vec![PathBuf::new()];
        for component in pattern.split('/').filter(|c| !c.is_empty()) {
            if !has_meta(component) {
                for path in &mut found {
                    path.push(component);
                }
                continue;
            }
            let mut next = Vec::new();
            for path in found {
                let Ok(dir) = self.rootfs.open_dir(&path) else {
                    continue;
                };
                let names = rootfs::list(dir.as_fd()).map_err(FilesError::io("list", &path))?;
                for name in names {
                    let text = name.to_string_lossy();
                    if golang::glob::glob_match(component, &text).map_err(|_| bad())? {
                        next.push(path.join(name));
                    }
                }
            }
            found = next;
        }
        let mut existing = Vec::with_capacity(found.len());
        for path in found {
            if self
                .rootfs
                .lstat(&path)
                .map_err(FilesError::io("stat", &path))?
                .is_some()
            {
                existing.push(path);
            }
        }
        Ok(existing)
    }
}

/// Cleans a source path as Go's `path.Clean("/" + p)` does, without the leading slash.
pub fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The folder in front of a pattern's first wildcard; empty when there is none.
pub(super) fn literal_folder(pattern: &str) -> &Path {
    let mut end = 0;
    for component in pattern.split('/') {
        if has_meta(component) {
            break;
        }
        end += component.len() + 1;
    }
    Path::new(pattern.get(..end.saturating_sub(1)).unwrap_or(pattern))
}

/// The folder that the wildcards of a source are in, when it has some and they are not in the
/// tree's root. With `parents`, the root is the part in front of `/./`.
pub fn wildcard_folder(source: &str, parents: bool) -> Option<PathBuf> {
    let (pivot, pattern) = match parents {
        true => source.split_once("/./").unwrap_or(("", source)),
        false => (source, ""),
    };
    let pivot = clean(pivot);
    let folder = literal_folder(&pivot);
    let wild = has_meta(&pivot) || has_meta(pattern);
    (wild && !folder.as_os_str().is_empty()).then(|| folder.to_owned())
}

/// Whether a path has wildcard characters.
pub fn has_meta(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

fn display(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// The bytes of a path, for hashing and sorting.
pub fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct No(&'static [&'static str]);

    impl Filter for No {
        fn check(&self, path: &Path, _: bool) -> Verdict {
            if self.0.iter().any(|p| path.starts_with(p)) {
                Verdict::Exclude
            } else {
                Verdict::Include
            }
        }
    }

    fn tree() -> (tempfile::TempDir, Rootfs) {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a.txt", "b.txt", "src/main.c", "src/deep/x.c", "docs/x.md"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        let rootfs = Rootfs::open(dir.path()).unwrap();
        (dir, rootfs)
    }

    fn names(selections: &[Selection]) -> Vec<String> {
        let all = selections.iter().flat_map(|s| {
            s.entries
                .iter()
                .map(|e| s.root.join(&e.path).to_string_lossy().into_owned())
        });
        all.map(|p| p.trim_end_matches('/').to_owned()).collect()
    }

    #[test]
    fn patterns_select_files_and_the_contents_of_directories() {
        let (_dir, rootfs) = tree();
        let tree = SourceTree {
            rootfs: &rootfs,
            filter: &Everything,
            stop: &Stop::default(),
        };
        for (pattern, selected) in [
            ("a.txt", vec!["a.txt"]),
            ("./../a.txt", vec!["a.txt"]),
            ("*.txt", vec!["a.txt", "b.txt"]),
            ("src", vec!["src/deep", "src/deep/x.c", "src/main.c"]),
            ("s*/*.c", vec!["src/main.c"]),
        ] {
            assert_eq!(names(&tree.select(pattern).unwrap()), selected, "{pattern}");
        }
        assert!(tree.select("*.rs").unwrap().is_empty());
        for missing in ["nope", "out/passwd"] {
            let error = tree.select(missing).unwrap_err();
            assert!(
                matches!(error, FilesError::NotFound { .. }),
                "{missing}: {error}"
            );
        }
    }

    #[test]
    fn what_is_ignored_is_not_found_and_says_why() {
        let (_dir, rootfs) = tree();
        let tree = SourceTree {
            rootfs: &rootfs,
            filter: &No(&["docs", "src/deep"]),
            stop: &Stop::default(),
        };
        assert_eq!(names(&tree.select("src").unwrap()), ["src/main.c"]);
        assert!(matches!(
            tree.select("docs/x.md").unwrap_err(),
            FilesError::Ignored(_)
        ));
        assert!(matches!(
            tree.select("docs").unwrap_err(),
            FilesError::Ignored(_)
        ));
        assert!(tree.select("docs/*").unwrap().is_empty());
    }

    #[test]
    fn links_and_dots_stay_in_the_tree() {
        let (dir, rootfs) = tree();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/hostname"), "ours").unwrap();
        std::os::unix::fs::symlink("../../../../..", dir.path().join("src/up")).unwrap();
        let tree = SourceTree {
            rootfs: &rootfs,
            filter: &Everything,
            stop: &Stop::default(),
        };
        for pattern in [
            "out/hostname",
            "out/*",
            "src/up/etc/hostname",
            "src/up/../../etc/hostname",
            "../../../etc/hostname",
            "/etc/../../etc/hostname",
        ] {
            assert_eq!(
                names(&tree.select(pattern).unwrap()),
                ["etc/hostname"],
                "{pattern}"
            );
        }
        // Links inside of a directory are copied as links, wherever they lead.
        let all = tree.select("src").unwrap();
        let link = all[0].entries.iter().find(|e| e.path == Path::new("up"));
        assert_eq!(link.unwrap().kind(), FileType::Symlink);
    }

    #[test]
    fn excludes_are_relative_to_the_selected_directory() {
        let (_dir, rootfs) = tree();
        let tree = SourceTree {
            rootfs: &rootfs,
            filter: &Everything,
            stop: &Stop::default(),
        };
        // What is named itself stays: so does the newest BuildKit.
        for (pattern, exclude, left) in [
            ("src", "*.c", vec!["src/deep", "src/deep/x.c"]),
            ("src", "deep", vec!["src/main.c"]),
            (
                "src",
                "src/deep",
                vec!["src/deep", "src/deep/x.c", "src/main.c"],
            ),
            ("src", "**/*.c", vec!["src/deep"]),
            ("a.txt", "*.txt", vec!["a.txt"]),
            ("*.txt", "b*", vec!["a.txt", "b.txt"]),
            ("docs/x.md", "docs/*", vec!["docs/x.md"]),
        ] {
            let filter = crate::context::IgnoreFilter::new(&[exclude.to_owned()]).unwrap();
            let mut found = tree.select(pattern).unwrap();
            for selection in &mut found {
                selection.exclude(&filter);
            }
            assert_eq!(names(&found), left, "{pattern} without {exclude}");
        }
    }
}
