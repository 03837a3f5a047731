//! What a store of blobs can do, and what stops it.

use std::io::{Read, Seek, Write};

use crate::Digest;

/// Why a blob operation failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No blob of that digest.
    #[error("blob {0} not found")]
    NotFound(Digest),
    /// What was written is not what was promised.
    #[error("digest mismatch: expected {expected}, the content is {actual}")]
    DigestMismatch {
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// Too many or too few bytes.
    #[error("size mismatch: expected {expected} bytes, the content has {actual}")]
    SizeMismatch {
        /// The size that was promised.
        expected: u64,
        /// The size of what came.
        actual: u64,
    },
    /// The file system failed.
    #[error("{what}: {cause}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// Why it failed.
        cause: std::io::Error,
    },
}

/// A blob opened for reading.
pub trait BlobRead: Read + Seek + Send {}
impl<T: Read + Seek + Send> BlobRead for T {}

/// A store of immutable blobs named by their digests.
pub trait BlobStore: Send + Sync {
    /// The size in bytes of a blob, or `None` when it is not there.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError>;

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Io`].
    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobRead>, BlobError>;

    /// Starts writing a blob; dropped without commit, it leaves nothing behind.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    fn writer(&self) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// Removes a blob; removing one that is not there is fine.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    fn remove(&self, digest: &Digest) -> Result<(), BlobError>;

    /// Every blob in the store, in no particular order.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    fn list(&self) -> Result<Vec<Digest>, BlobError>;
}

/// What a commit checks before a blob becomes visible.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The digest it must have; its algorithm decides how the blob is named.
    pub digest: Option<Digest>,
    /// The size it must have.
    pub size: Option<u64>,
}

impl Expected {
    /// Checks a size against the one that was promised, if any was.
    ///
    /// # Errors
    /// [`BlobError::SizeMismatch`].
    pub fn check_size(&self, actual: u64) -> Result<(), BlobError> {
        match self.size {
            Some(expected) if expected != actual => {
                Err(BlobError::SizeMismatch { expected, actual })
            }
            _ => Ok(()),
        }
    }

    /// Checks a digest against the one that was promised, if any was.
    ///
    /// # Errors
    /// [`BlobError::DigestMismatch`].
    pub fn check_digest(&self, actual: &Digest) -> Result<(), BlobError> {
        match &self.digest {
            Some(expected) if expected != actual => Err(BlobError::DigestMismatch {
                expected: expected.clone(),
                actual: actual.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// A blob being written.
pub trait BlobWriter: Write + Send {
    /// Verifies against `expected`, makes the blob durable and visible, and returns its digest
    /// and size. A blob that is there already is kept; the bytes written now are dropped.
    ///
    /// # Errors
    /// [`BlobError::DigestMismatch`], [`BlobError::SizeMismatch`], [`BlobError::Io`]; the blob
    /// stays invisible and its staging file is gone.
    fn commit(self: Box<Self>, expected: &Expected) -> Result<(Digest, u64), BlobError>;
}
