//! Images of the local store: found, fetched, unpacked and written down.
//!
//! What commands and the build engine have in common when they deal with whole images.

pub mod bring;
pub mod export;
mod fetch;
pub mod import;
pub mod layer;
pub mod layout;
pub mod load;
pub mod push;
pub mod save;
mod unpack;

use std::path::PathBuf;
use std::sync::Arc;

use oci::{Digest, ImageConfig, Platform, Reference};
use store::{NewImage, Store};
use tokio::sync::OnceCell;

pub use fetch::{Fetched, fetch_image};

use crate::image::ConfigDocument;
use crate::solve::engine::StepError;

/// Why an image could not be found, fetched or stored.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
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
    /// Not an image that containers are made from.
    #[error("{0} is an artifact of type {1}, and no image that can be built on")]
    NotAnImage(String, String),
    /// Layers keep owners and devices, which only root may make.
    #[error("building on an image needs root, to unpack its layers: run with sudo")]
    NeedsRoot,
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
    /// A worker thread was lost.
    #[error("a worker thread failed: {0}")]
    Worker(tokio::task::JoinError),
}

impl From<tokio::task::JoinError> for LocalError {
    fn from(cause: tokio::task::JoinError) -> Self {
        Self::Worker(cause)
    }
}

impl From<client::Error> for LocalError {
    fn from(error: client::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

/// An image of the store.
#[derive(Clone, Debug)]
pub struct LocalImage {
    /// Its ID.
    pub id: Digest,
    /// Its configuration.
    pub config: ImageConfig,
}

/// The store, and the way to registries when it is needed.
#[derive(Clone)]
pub struct Local {
    /// The store.
    pub store: Store,
    client: Arc<OnceCell<client::Client>>,
    config: Arc<dyn Fn() -> Result<client::Config, client::ConfigError> + Send + Sync>,
}

impl Local {
    /// `config` is called when a registry is first needed.
    pub fn new(
        store: Store,
        config: impl Fn() -> Result<client::Config, client::ConfigError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            store,
            client: Arc::default(),
            config: Arc::new(config),
        }
    }

    /// The client for registries, made when first asked for: it reads certificates.
    ///
    /// # Errors
    /// When a configuration file is wrong.
    pub async fn client(&self) -> Result<&client::Client, LocalError> {
        self.client
            .get_or_try_init(|| async { Ok(client::Client::new((self.config)()?)) })
            .await
    }

    /// Where derived data is kept that can be made again.
    pub fn cache_dir(&self) -> PathBuf {
        self.store.root().join("build")
    }

    /// A directory for temporary files of builds.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work_dir(&self) -> Result<PathBuf, StepError> {
        self.make("tmp")
    }

    /// An empty directory: the lowest layer of a view without layers.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn empty_dir(&self) -> Result<PathBuf, StepError> {
        self.make("empty")
    }

    /// The directory of mount points that lies below all layers of a container.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn stub_dir(&self) -> Result<PathBuf, StepError> {
        let path = self.cache_dir().join("stub");
        if !path.join("etc/hostname").exists() {
            std::fs::create_dir_all(&path).map_err(|e| StepError::other("make a directory", e))?;
            runtime::overlay::prepare_stub_dir(&path)
                .map_err(|e| StepError::Other(e.to_string()))?;
        }
        Ok(path)
    }

    fn make(&self, name: &str) -> Result<PathBuf, StepError> {
        let path = self.cache_dir().join(name);
        std::fs::create_dir_all(&path)
            .map_err(|e| StepError::other(&format!("make {}", path.display()), e))?;
        Ok(path)
    }

    /// The image of a reference for a platform: the store's own, or fetched when it has none (or
    /// `pull` asks for the newest). `note` is told what takes time.
    ///
    /// # Errors
    /// [`LocalError`].
    pub async fn image(
        &self,
        reference: &Reference,
        platform: &Platform,
        pull: bool,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<LocalImage, LocalError> {
        if !pull {
            match self.find(&reference.to_string()).await {
                Ok(image) => {
                    let actual = image.config.platform();
                    if platform.runs(&actual) {
                        return Ok(image);
                    }
                    return Err(LocalError::Platform {
                        reference: reference.familiar(),
                        wanted: platform.to_string(),
                        actual: actual.to_string(),
                    });
                }
                Err(LocalError::Store(store::Error::NoSuchImage { .. })) => {}
                Err(e) => return Err(e),
            }
        }
        note(&format!("pulling {reference}"));
        let fetched = fetch_image(self, reference, platform, &client::Silent).await?;
        Ok(fetched.image)
    }

    /// An image of the store, by anything that names one.
    ///
    /// # Errors
    /// [`LocalError`].
    pub async fn find(&self, name: &str) -> Result<LocalImage, LocalError> {
        let image = self.store.resolve(name).await?;
        let config = self.read_config(&image.id).await?;
        Ok(LocalImage {
            id: image.id,
            config,
        })
    }

    /// The configuration of an image.
    ///
    /// # Errors
    /// When its blob is missing or no configuration.
    pub async fn read_config(&self, id: &Digest) -> Result<ImageConfig, LocalError> {
        let bytes = self.store.config(id).await?;
        serde_json::from_slice(&bytes).map_err(|cause| LocalError::Document {
            what: "configuration",
            cause,
        })
    }

    /// Stores an image that was built here under its names, and makes all of it durable first.
    ///
    /// # Errors
    /// The store's.
    pub async fn put_built(
        &self,
        document: &ConfigDocument,
        tags: &[Reference],
    ) -> Result<(), LocalError> {
        let image = NewImage {
            config: document.bytes.clone(),
            tags: tags.to_vec(),
            ..NewImage::default()
        };
        self.store.put_image(image).await?;
        Ok(())
    }

    /// Makes sure that every layer of an image is unpacked and can be stacked.
    ///
    /// # Errors
    /// When a layer's blob is missing or wrong.
    pub async fn ensure_unpacked(&self, config: &ImageConfig) -> Result<(), LocalError> {
        unpack::ensure_unpacked(self, &config.rootfs.diff_ids).await
    }
}
