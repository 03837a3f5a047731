//! Content on disk: blobs by digest, and uploads on their way there.
//!
//! Synchronous file work runs on blocking threads; nothing here knows HTTP or SQL.

mod blobs;
mod pipeline;
mod pool;
mod read;
mod sessions;
mod uploads;

pub(crate) use blobs::make_dir;
pub use blobs::{BlobFiles, Flaw, Staged};
pub use read::{Segment, read_segments};
pub use sessions::Upload;
pub use uploads::{ChunkRange, Lying, UploadError, Uploads};

use std::io;
use std::path::{Path, PathBuf};

use tokio::task::JoinError;

/// Why content could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system failed.
    #[error("{what} {path}: {cause}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// A blocking task panicked or was cancelled by shutdown.
    #[error("a storage task ended unexpectedly: {0}")]
    Task(JoinError),
    /// Another process serves this directory.
    #[error("{0} is in use by another rregistry; stop it, or choose another --data-dir")]
    Locked(PathBuf),
}

impl From<JoinError> for StorageError {
    fn from(e: JoinError) -> Self {
        Self::Task(e)
    }
}

impl StorageError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { cause, .. }
            if matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// Adds what and where to an I/O error.
pub(crate) trait Context<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, StorageError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, StorageError> {
        self.map_err(|cause| StorageError::Io {
            what,
            path: path.to_owned(),
            cause,
        })
    }
}

/// Makes a directory entry durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    std::fs::File::open(path)
        .and_then(|dir| dir.sync_all())
        .context("sync directory", path)
}
