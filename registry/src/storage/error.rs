//! Why content could not be stored or read.

use std::io;
use std::path::{Path, PathBuf};

use oci::Digest;
use oci::causes::innermost;
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
    /// The object store failed, or does not answer.
    #[error("{what} {}: {}", .place.display(), innermost(&**.cause))]
    Store {
        /// What was being done.
        what: &'static str,
        /// To which object.
        place: PathBuf,
        /// Why it failed.
        cause: Box<object_store::Error>,
    },
    /// The object store cannot be asked, or does not give what it should.
    #[error("{}: {why}", .place.display())]
    Unreachable {
        /// The store, or an object in it.
        place: PathBuf,
        /// Why.
        why: String,
    },
    /// More than the object store takes.
    #[error("the object store takes blobs of up to {0} bytes")]
    TooLarge(u64),
    /// The directory and the settings do not say the same of where blobs are.
    #[error("{0}")]
    Elsewhere(String),
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
    /// Whether it was the object store that failed: it may work again soon.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Unreachable { .. })
    }

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

/// Why bytes were not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The session was finished, cancelled or never existed.
    #[error("the upload is not known")]
    Unknown,
    /// Another request is writing to it right now.
    #[error("another request is writing to this upload")]
    Busy,
    /// The chunk does not begin where the last one ended.
    #[error("the next byte of this upload is {offset}")]
    OutOfOrder {
        /// Where the next chunk must begin.
        offset: u64,
    },
    /// Fewer or more bytes came than `Content-Range` said; none of them was kept.
    #[error("the chunk has {actual} bytes where Content-Range says {expected}")]
    Size {
        /// What was said.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// The content is not what the digest says.
    #[error("the content's digest is {actual}")]
    Digest {
        /// The content's digest.
        actual: Digest,
    },
    /// The client stopped in the middle; what came before was kept.
    #[error("reading the request body failed: {0}")]
    Body(String),
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<JoinError> for UploadError {
    fn from(e: JoinError) -> Self {
        Self::Storage(e.into())
    }
}
