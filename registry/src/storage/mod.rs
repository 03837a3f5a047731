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

/// Why content could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system failed.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A blocking task panicked or was cancelled by shutdown.
    #[error("a storage task ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// Another process serves this directory.
    #[error("{0} is in use by another rregistry; stop it, or choose another --data-dir")]
    Locked(PathBuf),
}

impl StorageError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// Adds what and where to an I/O error.
pub(crate) trait Context<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, StorageError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::Io {
            what,
            path: path.to_owned(),
            source,
        })
    }
}

/// Runs blocking work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work).await?
}

/// Makes a directory entry durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    std::fs::File::open(path)
        .and_then(|dir| dir.sync_all())
        .context("sync directory", path)
}
