//! What COPY and ADD are made of: choosing files, telling whether they changed, writing them.
//!
//! - [`rootfs`]: paths resolved inside a tree that is not to be trusted
//! - [`select`]: source patterns to lists of entries; `parents` those of `--parents`
//! - `walk`: directories listed by several threads; `entry`: what is listed, what is left out
//! - `table`: values by path, in the order of a walk
//! - [`index`]: which files are known not to have changed since they were last hashed
//! - [`digest`]: one content digest for a selection
//! - [`listing`]: what a copy took, so that a later one can say what changed
//! - [`dest`]: the directories that a copy fills
//! - [`earlier`]: what the last copy of the same sources made, to be linked to
//! - [`merge`]: several layers made one
//! - `make`: regular files, by several threads
//! - [`copy`]: a selection written into a rootfs, with Docker's rules for destinations

pub mod copy;
pub mod dest;
pub mod digest;
pub mod earlier;
mod entry;
pub mod index;
pub mod listing;
mod make;
pub mod merge;
mod parents;
pub mod rootfs;
pub mod select;
mod table;
mod transfer;
mod walk;

pub use transfer::is_same;

use std::io;
use std::path::{Path, PathBuf};

/// Why files could not be chosen, read or written.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A source that is not there. The words are BuildKit's.
    #[error("{path:?}: not found")]
    NotFound {
        /// The source, from the root of its tree.
        path: String,
        /// A name in the same directory that may have been meant.
        similar: Option<String>,
    },
    /// A source that is there, but left out by the ignore file.
    #[error("{0:?}: not found: it is excluded by the .dockerignore file")]
    Ignored(String),
    /// A source that is there, but left out by `--exclude`.
    #[error("{0:?}: not found: it is excluded by --exclude")]
    Excluded(String),
    /// A source of `--parents` that only a link leads to.
    #[error("{0:?}: not found: --parents follows no link on the way")]
    Linked(String),
    /// `--parents` of the tree itself.
    #[error("{0:?} selects no file: with --parents, name what is to be copied with its path")]
    NoParents(String),
    /// Wildcards below a folder of the context, and nothing there that they match.
    #[error("{0:?}: not found: there is no such file in that folder")]
    NoMatch(String),
    /// A source pattern that no matcher understands.
    #[error("{0:?}: the wildcard pattern is malformed")]
    BadPattern(String),
    /// A directory where a file is, or the other way round.
    #[error("cannot copy to {path:?}: {what}")]
    Conflict {
        /// The destination.
        path: PathBuf,
        /// What is in the way.
        what: &'static str,
    },
    /// A kind of file that cannot be copied from a build context.
    #[error("{0:?} is a socket, and cannot be copied")]
    Socket(PathBuf),
    /// Something else took the place of what was chosen.
    #[error("{0:?} was replaced while it was read; build again when nothing changes it")]
    Changed(PathBuf),
    /// The operating system failed.
    #[error("{what} {path:?}: {cause}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
}

impl FilesError {
    /// An I/O error with what was being done.
    pub fn io<P: AsRef<Path>>(
        what: &'static str,
        path: P,
    ) -> impl FnOnce(io::Error) -> Self + use<P> {
        let path = path.as_ref().to_owned();
        move |cause| Self::Io { what, path, cause }
    }
}
