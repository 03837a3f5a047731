//! What the rules say no to. The HTTP layer turns each into a status and the spec's error code.

use std::path::PathBuf;

use oci::Digest;
use oci::archive::ArchiveError;
use oci::digest::DigestError;

use crate::meta::MetaError;
use crate::name::{ManifestRef, NameError, RepositoryName};
use crate::quota::Exceeded;
use crate::storage::{StorageError, UploadError};

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The repository does not show that blob.
    #[error("blob {0} is not in this repository")]
    BlobUnknown(Digest),
    /// The repository has no such manifest.
    #[error("{repository} has no manifest {reference}")]
    ManifestUnknown {
        /// The repository.
        repository: RepositoryName,
        /// What was asked for.
        reference: ManifestRef,
    },
    /// There is no such repository.
    #[error("repository {0} is not known")]
    NameUnknown(RepositoryName),
    /// Nothing is known of where such a tag pointed, or of any that was deleted.
    #[error("{0}: nothing is known that could be put back")]
    NothingToRestore(RepositoryName),
    /// A name in the request is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A digest in the request is none.
    #[error("{text:?} is no digest: {cause}")]
    DigestFormat {
        /// What was given.
        text: String,
        /// What is wrong with it.
        cause: DigestError,
    },
    /// The content is not what its digest says.
    #[error("the content's digest is {actual}, not {expected}")]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// What the client required of what is there now is not so.
    #[error("what is there is not what If-Match or If-None-Match asks for")]
    Precondition,
    /// The manifest is none, or contradicts itself.
    #[error("{0}")]
    ManifestInvalid(String),
    /// The manifest is larger than the limit, in bytes.
    #[error("the manifest is larger than {0} bytes")]
    ManifestTooLarge(usize),
    /// The tag never moves, by rule, and what it needs stays.
    #[error("tag {0} is immutable: neither it nor what it needs moves or goes")]
    TagImmutable(String),
    /// The tag's index lists it, or lists an index that does.
    #[error("tag {0} needs it: delete that tag first (delete.needed = true lets both go)")]
    Needed(String),
    /// The manifest needs what the repository does not show.
    #[error("the manifest needs {} that were not pushed to this repository", .0.len())]
    ManifestBlobUnknown(Vec<Digest>),
    /// There is no room for it, by rule.
    #[error(transparent)]
    Quota(#[from] Exceeded),
    /// As many uploads are unfinished as may be.
    #[error(
        "too many unfinished uploads: finish or cancel some (limits.upload_sessions); those that \
         rest expire"
    )]
    TooManyUploads,
    /// The upload does not take this request.
    #[error(transparent)]
    Upload(UploadError),
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The database is gone, but not what it was about.
    #[error(
        "{0} is missing, but there are blobs: put it back, or have it made anew from them with \
         `rregistry fsck --rebuild`"
    )]
    DatabaseMissing(String),
    /// There is nothing to rebuild.
    #[error(
        "{0} can be used: there is nothing to rebuild; `rregistry fsck --repair` mends what is wrong"
    )]
    DatabaseSound(String),
    /// An export to an archive that is not written.
    #[error(
        "{0}: only directories and plain tars are written: choose a name that ends with .tar, or \
         one without the ending of an archive"
    )]
    Output(PathBuf),
    /// A backup into what it is of.
    #[error("{0} is in the registry's own directory: choose a place outside of it")]
    Inside(PathBuf),
    /// What is to be put back is no backup.
    #[error("{0} is no backup: it has no registry.db")]
    NoBackup(PathBuf),
    /// There is nothing to be moved.
    #[error("{0} has no tables of a registry")]
    NoDatabase(String),
    /// A registry is where one is to be made.
    #[error("{0} holds a registry already")]
    NotEmpty(String),
    /// An archive is none, or could not be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The metadata failed.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl From<UploadError> for ServiceError {
    fn from(e: UploadError) -> Self {
        match e {
            UploadError::Storage(e) => Self::Storage(e),
            e => Self::Upload(e),
        }
    }
}

impl From<tokio::task::JoinError> for ServiceError {
    fn from(e: tokio::task::JoinError) -> Self {
        Self::Storage(e.into())
    }
}
