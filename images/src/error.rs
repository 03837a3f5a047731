//! Why an image could not be found, fetched, stored or written.

use std::path::PathBuf;

use oci::Digest;

/// Why an image could not be found, fetched or stored.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A registry's.
    #[error(transparent)]
    Client(Box<client::Error>),
    /// The configuration of the client.
    #[error(transparent)]
    Config(#[from] client::ConfigError),
    /// A blob of the store.
    #[error(transparent)]
    Blob(#[from] oci::blob::BlobError),
    /// A document that cannot be understood.
    #[error("the image's {what} cannot be read: {cause}")]
    Document {
        /// Which document.
        what: &'static str,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// Layers and configuration that do not belong together.
    #[error("the image has {layers} layers, its configuration tells of {diff_ids}")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// Diff IDs of the configuration.
        diff_ids: usize,
    },
    /// An image for another platform than asked for.
    #[error(
        "image {reference} was found but does not match the specified platform: wanted {wanted}, \
         actual: {actual}; fetch the right one with --pull"
    )]
    Platform {
        /// The image.
        reference: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        actual: String,
    },
    /// A name that leads to one image, where an index is wanted.
    #[error("{0} leads to one image and not to an index of several platforms")]
    NoIndex(String),
    /// An index cannot be pushed without its images.
    #[error(
        "the index {reference} lists an image for {platform} ({digest}) that is neither here nor \
         in the registry: fetch it with `rbuild pull --platform all`, or push one platform with \
         `rbuild push --platform`"
    )]
    EntryMissing {
        /// The index.
        reference: String,
        /// What the image is for.
        platform: String,
        /// Its manifest.
        digest: Digest,
    },
    /// Not an image that containers are made from.
    #[error("{0} is an artifact of type {1}, and no image that can be built on")]
    NotAnImage(String, String),
    /// Layers keep owners and devices, which only root may make.
    #[error("{0} needs root: run it with sudo")]
    NeedsRoot(&'static str),
    /// A configuration that no honest image has.
    #[error("the configuration of {0} is said to have {1} bytes, which is too much")]
    ConfigTooLarge(String, u64),
    /// A layer that could not be unpacked.
    #[error("layer {diff_id}: {message}")]
    Layer {
        /// The layer.
        diff_id: String,
        /// Why.
        message: String,
    },
    /// A layer that a cache promised cannot be had, or is another one.
    #[error("layer {diff_id} cannot be had: {message}")]
    Elsewhere {
        /// The layer.
        diff_id: oci::DiffId,
        /// Why.
        message: String,
    },
    /// The files of an image cannot be read.
    #[error("{0}")]
    Files(String),
    /// An image archive that cannot be read or written.
    #[error(transparent)]
    Archive(#[from] oci::archive::ArchiveError),
    /// A layout of --build-context that cannot be read.
    #[error("{}: {cause}", .path.display())]
    Layout {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        cause: oci::archive::ArchiveError,
    },
    /// What several wait for could not be compressed.
    #[error(transparent)]
    Compressing(std::sync::Arc<ImageError>),
    /// What was being made is not wanted any more.
    #[error("it was stopped")]
    Stopped,
    /// A worker thread was lost.
    #[error("a worker thread failed: {0}")]
    Worker(tokio::task::JoinError),
}

impl From<tokio::task::JoinError> for ImageError {
    fn from(cause: tokio::task::JoinError) -> Self {
        Self::Worker(cause)
    }
}

impl From<client::Error> for ImageError {
    fn from(error: client::Error) -> Self {
        Self::Client(Box::new(error))
    }
}
