//! What can go wrong, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::db::sqlite::DatabaseError;
use oci::blob::BlobError;
use oci::manifest::ManifestError;
use oci::reference::ReferenceError;
use oci::{ChainId, Digest, Platform};

/// How long another process that writes to the database is waited for, before it is
/// [`Error::Busy`].
pub(crate) const BUSY_SECONDS: u64 = 30;

/// The longest root, in bytes: SQLite takes paths of 512 bytes with its own files' endings.
pub(crate) const MAX_ROOT: usize = 480;

/// Why a store operation failed. The texts about images are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root cannot be made or written.
    #[error(
        "the store at {} is not writable: {cause}\n\
         choose another directory with --root or RBUILD_ROOT, or run as its owner",
        root.display()
    )]
    NotWritable {
        /// The store's root.
        root: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A write was asked of a store where nothing can be written.
    #[error(
        "the store is on a read-only file system; make it writable, or choose another directory \
         with --root or RBUILD_ROOT"
    )]
    ReadOnly,
    /// SQLite takes no longer names.
    #[error(
        "the path of the store has {length} bytes, its database takes at most {MAX_ROOT}: \
         choose a shorter one with --root or RBUILD_ROOT"
    )]
    PathTooLong {
        /// Bytes of the root's absolute path.
        length: usize,
    },
    /// Neither `XDG_DATA_HOME` nor `HOME` is set.
    #[error("no directory for the store: HOME is not set; set it, or give --root or RBUILD_ROOT")]
    NoHome,
    /// The root holds other files.
    #[error(
        "{} is not empty and not a store (found {found:?}); \
         give an empty or new directory with --root or RBUILD_ROOT",
        root.display()
    )]
    NotAStore {
        /// The directory.
        root: PathBuf,
        /// The first entry that does not belong to a store.
        found: String,
    },
    /// The database was written by a newer program.
    #[error(
        "the store's database {} has schema version {found}, this rbuild knows up to {known}; \
         use the newer rbuild that made it, or another --root",
        path.display()
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// A file operation failed.
    #[error("{what} {}: {cause}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// No space is left.
    #[error("no space left in the store while {what}; `rbuild prune` frees what is not used")]
    DiskFull {
        /// What was being done.
        what: String,
    },
    /// Another process held the database for too long.
    #[error(
        "the store's database has been locked by another process for {} seconds; \
         wait for other rbuild commands to finish and try again",
        BUSY_SECONDS
    )]
    Busy,
    /// The database is damaged.
    #[error(
        "the store's database is damaged ({message}); \
         `rbuild fsck` tells more; should it not open at all, move the store's directory away, \
         and rbuild starts with an empty one"
    )]
    Corrupt {
        /// What SQLite, or we, found.
        message: String,
    },
    /// Any other failure of the database.
    #[error("the store's database failed: {0}")]
    Database(DatabaseError),
    /// A blob could not be read or written.
    #[error(transparent)]
    Blob(BlobError),
    /// A blob has other content than its digest says.
    #[error(
        "blob {digest} in the store is damaged: its content has {actual}; `rbuild fsck --repair` \
         removes it, then pull, load or build the image again"
    )]
    DamagedBlob {
        /// What it should be.
        digest: Digest,
        /// What it is.
        actual: Digest,
    },
    /// A row was to be written that refers to a blob which is not there (any more).
    #[error("blob {0} is not in the store (any more); fetch or make it again")]
    BlobMissing(Digest),
    /// A snapshot was meant that does not exist (any more).
    #[error("no snapshot of {0} in the store (any more)")]
    NoSuchSnapshot(ChainId),
    /// Nothing of that name or ID.
    #[error("No such image: {familiar}")]
    NoSuchImage {
        /// What was asked for, as it was typed.
        given: String,
        /// The same with the default tag, as Docker's daemon says it.
        familiar: String,
    },
    /// An ID prefix that several images share.
    #[error("multiple IDs found with provided prefix: {prefix}")]
    AmbiguousId {
        /// The prefix.
        prefix: String,
    },
    /// Neither an ID nor a reference.
    #[error("invalid reference {text:?}: {cause}")]
    InvalidReference {
        /// What was given.
        text: String,
        /// What is wrong with it.
        cause: ReferenceError,
    },
    /// A tag cannot be a digest reference.
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
    /// `rmi` by ID of an image with several references, without force.
    #[error(
        "conflict: unable to delete {short_id} (must be forced) - \
         image is referenced in multiple repositories"
    )]
    MultipleReferences {
        /// The first twelve digits of the image ID.
        short_id: String,
    },
    /// The configuration of a new image cannot be understood.
    #[error("the image configuration is not valid: {0}")]
    BadConfig(serde_json::Error),
    /// A new index cannot be understood.
    #[error("the index is not valid: {0}")]
    BadIndex(ManifestError),
    /// What was to be an index is the manifest of one image.
    #[error("the index is not valid: it is the manifest of one image")]
    NoIndex,
    /// There is an image of that name, and none for the platform that is asked for.
    #[error(
        "image with reference {name} was found but does not provide the specified platform \
         ({wanted}); it has {}",
        available.join(", ")
    )]
    NoPlatform {
        /// What was asked for.
        name: String,
        /// The platform.
        wanted: Box<Platform>,
        /// The platforms that there are.
        available: Vec<String>,
    },
    /// `rmi` of an image that an index needs, without force.
    #[error(
        "conflict: unable to delete {short_id} (must be forced) - it is the image of {}, which \
         would have none for its platform",
        indexes.join(" and ")
    )]
    Listed {
        /// The first twelve digits of the image ID.
        short_id: String,
        /// The names of the indexes, or their digests.
        indexes: Vec<String>,
    },
    /// No container has this name or ID.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// Several containers' IDs begin so.
    #[error("Multiple IDs found with provided prefix: {0}")]
    AmbiguousContainer(String),
    /// There is no network of this name or ID.
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    /// Several networks' IDs begin so.
    #[error("network {text} is ambiguous ({matches} matches found on ID prefix)")]
    AmbiguousNetwork {
        /// As it was typed.
        text: String,
        /// How many there are.
        matches: usize,
    },
    /// The name of a new network is another's.
    #[error("network with name {0} already exists")]
    NetworkName(String),
    /// The name of a new container is another's.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    )]
    ContainerName {
        /// The name.
        name: String,
        /// The ID of the container that has it.
        holder: String,
    },
    /// No volume has this name.
    #[error("get {0}: no such volume")]
    NoSuchVolume(String),
    /// A volume that containers use, whether they run or not.
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    VolumeInUse {
        /// Its name.
        name: String,
        /// The IDs of the containers.
        users: Vec<String>,
    },
    /// `rmi` of the last name of an image that a container was made of, without force.
    #[error(
        "conflict: unable to remove repository reference \"{name}\" (must force) - container \
         {container} is using its referenced image {short_id}"
    )]
    ImageReferenced {
        /// The name as it was typed.
        name: String,
        /// The first twelve digits of the container's ID.
        container: String,
        /// The first twelve digits of the image ID.
        short_id: String,
    },
    /// `rmi` by ID of an image that a running container was made of.
    #[error(
        "conflict: unable to delete {short_id} (cannot be forced) - image is being used by \
         running container {container}"
    )]
    ImageRunning {
        /// The first twelve digits of the image ID.
        short_id: String,
        /// The first twelve digits of the container's ID.
        container: String,
    },
    /// `rmi` by ID of an image that a container was made of that does not run, without force.
    #[error(
        "conflict: unable to delete {short_id} (must be forced) - image is being used by stopped \
         container {container}"
    )]
    ImageStopped {
        /// The first twelve digits of the image ID.
        short_id: String,
        /// The first twelve digits of the container's ID.
        container: String,
    },
    /// A background task was cancelled because the program is ending.
    #[error("the store's work was cut short: {0}")]
    Cancelled(tokio::task::JoinError),
}

impl From<tokio::task::JoinError> for Error {
    fn from(cause: tokio::task::JoinError) -> Self {
        Self::Cancelled(cause)
    }
}

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |cause| match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                what: format!("{what} {}", path.as_ref().display()),
            },
            _ => Self::Io {
                what,
                path: path.as_ref().to_path_buf(),
                cause,
            },
        }
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::Corrupt {
            message: message.into(),
        }
    }
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Io { what, cause } if cause.kind() == io::ErrorKind::StorageFull => {
                Self::DiskFull { what }
            }
            other => Self::Blob(other),
        }
    }
}
