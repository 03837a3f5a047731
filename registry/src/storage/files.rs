//! Directories: made, and made durable.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::error::{Context, StorageError};

/// Makes a directory entry durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    std::fs::File::open(path)
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
