//! What a build context's ignore file leaves out.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use dockerfile::ignore::IgnoreMatcher;

use super::{ContextError, read_capped};
use crate::files::select::{Filter, Verdict};

/// The patterns of an ignore file, or of `--exclude`, as a filter.
#[derive(Debug, Default)]
pub struct IgnoreFilter {
    matcher: IgnoreMatcher,
}

impl IgnoreFilter {
    /// From patterns as `--exclude` gives them.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        let matcher = IgnoreMatcher::new(patterns).map_err(|e| e.to_string())?;
        Ok(Self { matcher })
    }
}

impl Filter for IgnoreFilter {
    fn check(&self, path: &Path, is_dir: bool) -> Verdict {
        if self.matcher.is_empty() {
            return Verdict::Include;
        }
        let path = path.to_string_lossy();
        if !self.matcher.matches(&path) {
            Verdict::Include
        } else if is_dir && self.matcher.could_match_below(&path) {
            Verdict::Descend
        } else {
            Verdict::Exclude
        }
    }
}

/// Reads the ignore file of a context: the one named after the Dockerfile, else `.dockerignore`
/// (reference, ".dockerignore file").
pub fn load(root: &Path, dockerfile: Option<&Path>) -> Result<IgnoreFilter, ContextError> {
    let own = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in own.into_iter().chain([root.join(".dockerignore")]) {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(ContextError::Io {
                    what: "open",
                    path,
                    source,
                });
            }
        };
        let bytes = read_capped(&mut file, &path, "ignore file")?;
        let text = String::from_utf8_lossy(&bytes);
        let matcher = IgnoreMatcher::from_file(&text).map_err(|e| ContextError::Ignore {
            path,
            message: e.to_string(),
        })?;
        return Ok(IgnoreFilter { matcher });
    }
    Ok(IgnoreFilter::default())
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
}
