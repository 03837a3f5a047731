//! One entry of a tree that is copied, and the filters that decide which are seen.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use super::rootfs::file_type;

/// What an ignore file or `--exclude` says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    Include,
    /// Left out, and all that is below it.
    Exclude,
    /// Left out, but something below it may be taken in again.
    Descend,
}

/// Decides which paths of a tree are seen.
pub trait Filter: Send + Sync {
    /// What becomes of `path`, relative to the tree's root and without a leading slash.
    fn check(&self, path: &Path, is_dir: bool) -> Verdict;
}

/// A filter that takes everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everything;

impl Filter for Everything {
    fn check(&self, _: &Path, _: bool) -> Verdict {
        Verdict::Include
    }
}

/// One file, directory or link of a selection.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Relative to the selection's root; empty for a selected file itself.
    pub path: PathBuf,
    /// The status when it was listed.
    pub stat: Stat,
    /// The hash of a file's content, once that is known.
    pub content: Option<[u8; 32]>,
}

impl Entry {
    /// What was listed.
    pub fn new(path: PathBuf, stat: Stat) -> Self {
        Self {
            path,
            stat,
            content: None,
        }
    }

    /// The type of file.
    pub fn kind(&self) -> FileType {
        file_type(&self.stat)
    }
}
