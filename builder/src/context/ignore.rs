//! What a build context's ignore file leaves out.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use dockerfile::diagnostic::{Code, Diagnostic, render};
use dockerfile::ignore::{IgnoreMatcher, ParentMatches};
use dockerfile::span::Span;
use rustix::fs::{Mode, OFlags};

use super::error::ContextError;
use super::read::{read_capped, read_in};
use crate::files::rootfs::Rootfs;
use crate::files::select::{Filter, Verdict};

const IGNORE_FILE: &str = ".dockerignore";

/// The patterns of an ignore file, or of `--exclude`, as a filter.
#[derive(Debug, Default)]
pub struct IgnoreFilter {
    matcher: IgnoreMatcher,
    /// The directories that lead to what was asked about last, from the root down, and what has
    /// matched each: a walk asks about one after the other.
    known: Mutex<Vec<(String, ParentMatches)>>,
}

impl IgnoreFilter {
    /// From patterns as `--exclude` gives them.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        let matcher = IgnoreMatcher::new(patterns).map_err(|e| e.to_string())?;
        Ok(Self::of(matcher))
    }

    fn of(matcher: IgnoreMatcher) -> Self {
        Self {
            matcher,
            known: Mutex::default(),
        }
    }

    /// Whether a path is left out, by what is known of the directories above it: that is how
    /// BuildKit walks a context. `a/b` and then `!a` leaves `a/b` out.
    fn excludes(&self, path: &str) -> bool {
        if path.is_empty() || path == "." {
            return false;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let above = |dir: &str| path.strip_prefix(dir).is_some_and(|r| r.starts_with('/'));
        while known.last().is_some_and(|(dir, _)| !above(dir)) {
            known.pop();
        }
        let nothing = ParentMatches::default();
        let mut start = known.last().map_or(0, |(dir, _)| dir.len() + 1);
        while let Some(at) = path.get(start..).and_then(|rest| rest.find('/')) {
            let dir = &path[..start + at];
            let parent = known.last().map_or(&nothing, |(_, matches)| matches);
            let (_, matches) = self.matcher.matches_with_parent(dir, parent);
            known.push((dir.to_owned(), matches));
            start += at + 1;
        }
        let parent = known.last().map_or(&nothing, |(_, matches)| matches);
        self.matcher.matches_with_parent(path, parent).0
    }

    /// The patterns.
    pub fn matcher(&self) -> &IgnoreMatcher {
        &self.matcher
    }
}

impl Filter for IgnoreFilter {
    fn check(&self, path: &Path, is_dir: bool) -> Verdict {
        if self.matcher.is_empty() {
            return Verdict::Include;
        }
        let path = path.to_string_lossy();
        if !self.excludes(&path) {
            Verdict::Include
        } else if is_dir && self.matcher.could_match_below(&path) {
            Verdict::Descend
        } else {
            Verdict::Exclude
        }
    }
}

/// Reads the ignore file of a folder: the one named after the Dockerfile, else `.dockerignore`
/// (reference, ".dockerignore file").
pub fn load(root: &Path, dockerfile: Option<&Path>) -> Result<IgnoreFilter, ContextError> {
    if let Some(own) = dockerfile.map(load_own).transpose()?.flatten() {
        return Ok(own);
    }
    Ok(load_file(root.join(IGNORE_FILE))?.unwrap_or_default())
}

/// The ignore file that belongs to a Dockerfile of this machine alone, if there is one.
pub fn load_own(dockerfile: &Path) -> Result<Option<IgnoreFilter>, ContextError> {
    load_file(own_ignore_file(dockerfile))
}

fn load_file(path: PathBuf) -> Result<Option<IgnoreFilter>, ContextError> {
    // A FIFO of that name is read as empty, and not waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::open(&path, flags, Mode::empty());
    let mut file = match opened.map(File::from).map_err(io::Error::from) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => {
            return Err(ContextError::Io {
                what: "open",
                path,
                cause,
            });
        }
    };
    let bytes = read_capped(&mut file, &path, "ignore file")?;
    compile(path, &bytes).map(Some)
}

/// The same for a tree that somebody else made, where a link must not lead out.
pub fn load_in(tree: &Rootfs, dockerfile: &str) -> Result<IgnoreFilter, ContextError> {
    for path in [
        own_ignore_file(Path::new(dockerfile)),
        PathBuf::from(IGNORE_FILE),
    ] {
        if let Some(bytes) = read_in(tree, &path, "ignore file")? {
            return compile(path, &bytes);
        }
    }
    Ok(IgnoreFilter::default())
}

fn own_ignore_file(dockerfile: &Path) -> PathBuf {
    let mut name = dockerfile.as_os_str().to_owned();
    name.push(IGNORE_FILE);
    PathBuf::from(name)
}

fn compile(path: PathBuf, bytes: &[u8]) -> Result<IgnoreFilter, ContextError> {
    let text = String::from_utf8_lossy(bytes);
    match IgnoreMatcher::from_file(&text) {
        Ok(matcher) => Ok(IgnoreFilter::of(matcher)),
        Err(e) => Err(ContextError::Ignore {
            message: e.to_string(),
            excerpt: excerpt(&path, &text, &e.to_string()),
            path,
        }),
    }
}

/// The first line that cannot be used, as mistakes in a Dockerfile are shown.
fn excerpt(path: &Path, text: &str, message: &str) -> String {
    let mut start = 0;
    let wrong = text.split_inclusive('\n').find_map(|line| {
        let own = line.trim_end();
        let span = Span::new(start, start + own.len());
        start += line.len();
        IgnoreMatcher::from_file(own).is_err().then_some(span)
    });
    let span = wrong.unwrap_or(Span::at(0));
    let help = "put a backslash before a character that is to stand for itself";
    let diagnostic = Diagnostic::error(Code::InvalidArgument, message, span).help(help);
    render(&diagnostic, &path.display().to_string(), text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfiles_own_ignore_file_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".dockerignore"), "a\n").unwrap();
        let filter = load(dir.path(), Some(&dir.path().join("Dockerfile"))).unwrap();
        assert_eq!(filter.check(Path::new("a"), false), Verdict::Exclude);
        std::fs::write(dir.path().join("Dockerfile.dockerignore"), "b\n!b/keep\n").unwrap();
        let filter = load(dir.path(), Some(&dir.path().join("Dockerfile"))).unwrap();
        assert_eq!(filter.check(Path::new("a"), false), Verdict::Include);
        assert_eq!(filter.check(Path::new("b"), true), Verdict::Descend);
        assert_eq!(filter.check(Path::new("b/x"), false), Verdict::Exclude);
        assert_eq!(filter.check(Path::new("b/keep"), false), Verdict::Include);
    }

    #[test]
    fn the_order_of_questions_does_not_matter() {
        let filter = IgnoreFilter::new(&["a/c".to_owned(), "!a".to_owned()]).unwrap();
        for path in ["a/c/d", "a", "b/x/y", "a/c", "a/b", "a/c/d", "ab/c", "."] {
            let excluded = filter.check(Path::new(path), false) == Verdict::Exclude;
            assert_eq!(excluded, path.starts_with("a/c"), "{path}");
        }
    }

    #[test]
    fn malformed_files_are_errors_or_patterns_and_never_panics() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".dockerignore");
        let long = "a/".repeat(50_000);
        let stars = "**/".repeat(2_000);
        for (bytes, fine) in [
            (&b""[..], true),
            (b"\xef\xbb\xbf*\r\n!a\r\n", true),
            (b"\xff\xfe\x00\n", true),
            (b"[", false),
            (b"[a-\n", false),
            (b"[]a]\n", false),
            (b"a\\", false),
            (b"!", false),
            (b"! \n", false),
            (b"!!a\n", true),
            (b"../..\n/\n.\n", true),
            (long.as_bytes(), true),
            (stars.as_bytes(), true),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]).into_owned();
            match load(dir.path(), None) {
                Ok(filter) => {
                    assert!(fine, "{shown:?} was accepted");
                    for path in ["a", "a/b/c", "..", ".dockerignore", "\u{e9}"] {
                        filter.check(Path::new(path), true);
                    }
                }
                Err(error) => assert!(!fine, "{shown:?}: {error}"),
            }
        }
    }

    #[test]
    fn fifos_and_links_out_of_a_tree_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "[").unwrap();
        let link = dir.path().join(".dockerignore");
        std::os::unix::fs::symlink(outside.path().join("secret"), &link).unwrap();
        let tree = Rootfs::open(dir.path()).unwrap();
        let filter = load_in(&tree, "Dockerfile").unwrap();
        assert_eq!(filter.check(Path::new("a"), false), Verdict::Include);
        std::fs::remove_file(&link).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &link, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        // Neither of them hangs.
        let _ = load_in(&tree, "Dockerfile");
        let _ = load(dir.path(), None);
    }
}
