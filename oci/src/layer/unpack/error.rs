//! Why an archive is not unpacked.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::layer::reader::ReadError;

/// Why an archive was not unpacked (to its end).
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry that must not be unpacked.
    #[error("archive entry {}: {problem}", path.display())]
    Refused {
        /// The entry's path.
        path: PathBuf,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The tree cannot be written.
    #[error("{what} {}: {cause}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The entry's path.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// More than [`Limits::max_bytes`](super::Limits::max_bytes).
    #[error("the archive unpacks to more than {0} bytes")]
    TooManyBytes(u64),
    /// More than [`Limits::max_entries`](super::Limits::max_entries).
    #[error("the archive has more than {0} entries")]
    TooManyEntries(u64),
    /// More directories than can be remembered until the end.
    #[error("the paths of the archive's directories take more than {0} bytes")]
    TooManyDirectories(usize),
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// `..` leads out of the root.
    #[error("its path leads out of the root")]
    Outside,
    /// A NUL byte in a path.
    #[error("its path contains a NUL byte")]
    Nul,
    /// The root can only be a directory.
    #[error("its path is empty, and it is no directory")]
    NoName,
    /// Longer than [`MAX_PATH`](crate::layer::MAX_PATH) or deeper than [`MAX_DEPTH`](crate::layer::MAX_DEPTH).
    #[error("its path is too long or too deep")]
    TooDeep,
    /// A parent is there and is no directory.
    #[error("{} is no directory", .0.display())]
    ParentNotDirectory(PathBuf),
    /// A hard link to something that is not there.
    #[error("it is a hard link to {}, which does not exist here", .0.display())]
    LinkTargetMissing(PathBuf),
    /// A symbolic link without a target.
    #[error("it is a symbolic link to nothing")]
    EmptySymlink,
    /// There is a directory that something else would take the place of.
    #[error("there is a directory, and it is none")]
    IsDirectory,
    /// There is something else that a directory would take the place of.
    #[error("it is a directory, and there is something else")]
    IsNoDirectory,
    /// A whiteout of no name, `.` or `..`.
    #[error("it is a whiteout that names no file")]
    BadWhiteout,
    /// A path below a name that begins with `.wh.`.
    #[error("it lies below a whiteout")]
    BelowWhiteout,
}

/// The path of an entry for a message; the root is `.`.
pub(super) fn shown(path: &[u8]) -> PathBuf {
    let path = if path.is_empty() { b"." } else { path };
    PathBuf::from(OsStr::from_bytes(path))
}
