//! Layers: filesystem changes as tar (OCI image-spec, layer.md).
//!
//! On disk a layer is in *overlay form*, as the kernel's overlay file system keeps an upper
//! directory: a removed file is a character device 0:0, and a directory that hides what lies
//! below it carries the xattr `trusted.overlay.opaque` (`user.overlay.opaque` without
//! privileges). In a tar the same are the entries `.wh.NAME` and `.wh..wh..opq`.
//!
//! | module | what it does |
//! |---|---|
//! | [`diff`] | overlay upper directory to tar, and to its diff ID without writing anything |
//! | [`tree`] | whole root filesystem to tar |
//! | [`unpack`] | tar to directory: a layer to overlay form, or an archive into a filesystem |
//! | [`reader`] | the entries of an untrusted tar |
//! | [`compression`] | detecting, decompressing, compressing reproducibly |
//! | [`verify`] | the diff ID and size of what is being read |

pub mod compression;
pub mod diff;
pub(crate) mod header;
pub mod reader;
mod sink;
pub mod tree;
pub mod unpack;
pub mod verify;
mod walk;
mod xattr;

use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};

pub use walk::TarError;

/// What the name of a whiteout begins with.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The name of the entry that makes its directory opaque.
pub const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";
/// How many components a path in a layer may have.
pub const MAX_DEPTH: usize = 512;
/// How many bytes a path in a layer may have: what the kernel takes in one system call.
pub const MAX_PATH: usize = 4095;

/// How a tar is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TarOptions {
    /// No modification time later than this, in seconds since the epoch (`SOURCE_DATE_EPOCH`).
    pub clamp_mtime: Option<i64>,
}

/// Opens a directory to be handed to this module's functions.
///
/// # Errors
/// [`TarError::Read`].
pub fn open_dir(path: &Path) -> Result<OwnedFd, TarError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(|e| TarError::Read {
        what: "opening directory",
        path: PathBuf::from(path),
        source: io::Error::from(e),
    })
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
