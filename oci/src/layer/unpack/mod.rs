//! Tar to directory tree.
//!
//! [`layer`] makes a snapshot of one layer in overlay form; [`archive`] extracts into a root
//! filesystem that is there already, as `ADD` does with local archives. Both trust nothing in
//! the archive: every path is resolved by the kernel inside the root (`RESOLVE_IN_ROOT`), and
//! metadata is set through descriptors of what was just made.

mod place;
mod write;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::AsFd;

use super::reader::{ReadError, Reader};
use place::Place;
pub(crate) use place::clean;
use write::Unpacker;

/// What stops an archive that unpacks to more than anyone wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together, holes included.
    pub max_bytes: u64,
    /// Entries.
    pub max_entries: u64,
}

impl Default for Limits {
    /// 256 GiB, ten million entries.
    fn default() -> Self {
        Self {
            max_bytes: 256 << 30,
            max_entries: 10_000_000,
        }
    }
}

/// Whose the unpacked files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// As the archive says, by number.
    #[default]
    Archive,
    /// All the same owner (`--chown`).
    Fixed {
        /// User ID.
        uid: u32,
        /// Group ID.
        gid: u32,
    },
    /// Whoever unpacks: owners in the archive are not heeded. For unprivileged users.
    Current,
}

/// How to unpack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnpackOptions {
    /// When to stop.
    pub limits: Limits,
    /// Whose the files are.
    pub ownership: Ownership,
    /// Mark opaque directories by `user.overlay.opaque`, for overlays mounted with `userxattr`.
    pub user_xattrs: bool,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes of all files together, holes included.
    pub bytes: u64,
    /// The layer hides everything below it. Overlay does not look at the mark on a lower
    /// directory's root, so that whoever stacks snapshots has to leave the lower ones out.
    pub opaque_root: bool,
}

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
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The entry's path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// More than [`Limits::max_bytes`].
    #[error("the archive unpacks to more than {0} bytes")]
    TooManyBytes(u64),
    /// More than [`Limits::max_entries`].
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
    /// Longer than [`MAX_PATH`](super::MAX_PATH) or deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
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
    /// A whiteout of no name, `.` or `..`.
    #[error("it is a whiteout that names no file")]
    BadWhiteout,
    /// A path below a name that begins with `.wh.`.
    #[error("it lies below a whiteout")]
    BelowWhiteout,
}

/// How names that begin with `.wh.` are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whiteouts {
    /// As removals in lower layers (OCI image-spec, layer.md, "Whiteouts").
    Interpret,
    /// As names like any other.
    Plain,
}

/// Unpacks a layer into `dir`, which should be empty, in overlay form. The parents of `dir`
/// should be closed to others: setuid programs and device nodes are unpacked as they are.
///
/// Parents that the archive does not list are made with mode 0755; `dir` itself keeps its
/// metadata unless the archive has an entry for it. Nothing is synced.
///
/// # Errors
/// [`UnpackError`]; what was unpacked so far stays.
pub fn layer(
    tar: impl Read,
    dir: impl AsFd,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    let place = Place::new(dir.as_fd(), Vec::new());
    run(tar, Unpacker::new(place, options, Whiteouts::Interpret))
}

/// Extracts an archive into the existing directory `dest` of the filesystem under `root`.
///
/// Directories that are there are kept and take on the archive's metadata; anything else in the
/// way is replaced. Symbolic links in `dest`, and among the parents of an entry, are followed
/// inside `root`. Whiteouts are files like any other.
///
/// # Errors
/// [`UnpackError`]; what was extracted so far stays.
pub fn archive(
    tar: impl Read,
    root: impl AsFd,
    dest: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    let dest = clean(dest.as_os_str().as_bytes()).map_err(|problem| UnpackError::Refused {
        path: dest.to_owned(),
        problem,
    })?;
    let place = Place::new(root.as_fd(), dest);
    run(tar, Unpacker::new(place, options, Whiteouts::Plain))
}

fn run(tar: impl Read, mut unpacker: Unpacker<'_>) -> Result<Unpacked, UnpackError> {
    let mut reader = Reader::new(tar);
    while let Some(entry) = reader.next_entry()? {
        unpacker.entry(entry, &mut reader)?;
    }
    unpacker.finish()
}

fn shown(path: &[u8]) -> PathBuf {
    let path = if path.is_empty() { b"." } else { path };
    PathBuf::from(OsStr::from_bytes(path))
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
