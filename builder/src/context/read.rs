//! Small files of a context, and places for what is fetched.

use std::fs;
use std::io::Read;
use std::path::Path;

use tempfile::TempDir;

use super::error::{ContextError, MAX_FILE};
use crate::files::rootfs::{self, Rootfs};

/// A directory for what is fetched or unpacked, gone when it is dropped.
pub(super) fn temporary() -> Result<TempDir, ContextError> {
    TempDir::with_prefix("rbuild-context-").map_err(|cause| ContextError::Io {
        what: "create a directory in",
        path: std::env::temp_dir(),
        cause,
    })
}

/// Reads a small file of a tree; `None` when it is not there.
pub(super) fn read_in(
    tree: &Rootfs,
    path: &Path,
    what: &'static str,
) -> Result<Option<Vec<u8>>, ContextError> {
    // A pipe or device in an archive must not make us wait.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    match tree.openat(path, flags, rustix::fs::Mode::empty()) {
        Ok(fd) => read_capped(&mut fs::File::from(fd), path, what).map(Some),
        Err(e) if rootfs::is_absent(&e) => Ok(None),
        Err(cause) => Err(ContextError::Io {
            what: "open",
            path: path.to_owned(),
            cause,
        }),
    }
}

/// Reads all of a small file.
pub(super) fn read_capped(
    reader: &mut dyn Read,
    path: &Path,
    what: &'static str,
) -> Result<Vec<u8>, ContextError> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| ContextError::Io {
            what: "read",
            path: path.to_owned(),
            cause,
        })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ContextError::TooLarge {
            path: path.to_owned(),
            what,
        });
    }
    Ok(bytes)
}
