//! Files and directories that only the registry's user can look into, whatever the umask is.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::error::{Context, StorageError};

/// Makes a directory entry durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .context("sync directory", path)
}

/// Makes a directory that only the registry's user can look into.
pub(crate) fn make_dir(path: &Path) -> Result<(), StorageError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .context("create directory", path)
}

/// Makes a new file that only the registry's user can look into.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Opens such a file for writing, made when needed, as it is.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Takes from all others what they may do with something that is there already. Where it is not
/// ours to change, as on a volume that somebody else made, that is said and left.
pub(crate) fn keep_private(path: &Path) {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return,
        Err(e) => return tracing::warn!(path = %path.display(), error = %e, "cannot be looked at"),
    };
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return;
    }
    match std::fs::set_permissions(path, Permissions::from_mode(mode & 0o700)) {
        Ok(()) => tracing::info!(path = %path.display(), "others had access to it: no more"),
        Err(e) => {
            tracing::warn!(path = %path.display(), error = %e, "others keep their access to it");
        }
    }
}
