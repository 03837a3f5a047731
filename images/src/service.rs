//! The images of the store, and the way to registries when one is needed.

use std::sync::Arc;

use oci::{Digest, ImageConfig, Platform, Reference};
use store::{Image, NewImage, Store};
use tokio::sync::OnceCell;

use crate::document::ConfigDocument;
use crate::elsewhere::known::Elsewhere;
use crate::error::ImageError;
use crate::making::Compressing;

/// An image of the store.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// Its ID.
    pub id: Digest,
    /// Its configuration.
    pub config: ImageConfig,
}

/// The store, and the way to registries when it is needed.
#[derive(Clone)]
pub struct Images {
    /// The store.
    pub store: Store,
    /// What is known of layers that are not in the store.
    pub(crate) elsewhere: Arc<Elsewhere>,
    /// What is being compressed.
    pub(crate) compressing: Arc<Compressing>,
    client: Arc<OnceCell<client::Client>>,
    config: Arc<dyn Fn() -> Result<client::Config, client::ConfigError> + Send + Sync>,
}

impl Images {
    /// `config` is called when a registry is first needed.
    pub fn new(
        store: Store,
        config: impl Fn() -> Result<client::Config, client::ConfigError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            store,
            elsewhere: Arc::default(),
            compressing: Arc::default(),
            client: Arc::default(),
            config: Arc::new(config),
        }
    }

    /// The client for registries, made when first asked for: it reads certificates.
    ///
    /// # Errors
    /// When a configuration file is wrong.
    pub async fn client(&self) -> Result<&client::Client, ImageError> {
        self.client
            .get_or_try_init(|| async { Ok(client::Client::new((self.config)()?)) })
            .await
    }

    /// Puts on disk what was made, as [`Store::make_durable`] does, but so that a process that is
    /// asked to end can: large files are written piece by piece first.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn make_durable(&self) -> Result<(), ImageError> {
        let large = self.store.large_not_durable().await?;
        if !large.is_empty() {
            let written = tokio::task::spawn_blocking(move || {
                large
                    .iter()
                    .try_for_each(|path| runtime::writeback::flush(path))
            });
            // A failure of the disk is told by what follows, which is to be believed.
            let _ = written.await;
        }
        Ok(self.store.make_durable().await?)
    }

    /// An image of the store, by anything that names one.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn find(&self, name: &str) -> Result<StoredImage, ImageError> {
        let image = self.store.resolve(name).await?;
        let config = self.read_config(&image.id).await?;
        Ok(StoredImage {
            id: image.id,
            config,
        })
    }

    /// An image of the store for a platform, by anything that names one.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn find_for(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<StoredImage, ImageError> {
        let image = self.store.resolve_for(name, Some(platform)).await?;
        let config = self.read_config(&image.id).await?;
        Ok(StoredImage {
            id: image.id,
            config,
        })
    }

    /// The configuration of an image.
    ///
    /// # Errors
    /// When its blob is missing or no configuration.
    pub async fn read_config(&self, id: &Digest) -> Result<ImageConfig, ImageError> {
        let bytes = self.store.config(id).await?;
        serde_json::from_slice(&bytes).map_err(|cause| ImageError::Document {
            what: "configuration",
            cause,
        })
    }

    /// An image that was built here and is to be written somewhere, without being one of the
    /// store: its layers are, and its configuration stays as long as a lease is held.
    ///
    /// # Errors
    /// The store's.
    pub async fn stage(&self, document: &ConfigDocument) -> Result<Image, ImageError> {
        self.store.expect_blobs([&document.id]).await?;
        self.store.put_blob(document.bytes.clone()).await?;
        let config = self.read_config(&document.id).await?;
        Ok(Image {
            id: document.id.clone(),
            created: config.created.clone(),
            platform: config.platform(),
            size: 0,
            manifest: None,
            layers: config.rootfs.diff_ids,
            tags: Vec::new(),
            repo_digests: Vec::new(),
            listed: false,
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
    ) -> Result<(), ImageError> {
        let image = NewImage {
            config: document.bytes.clone(),
            tags: tags.to_vec(),
            ..NewImage::default()
        };
        self.store.put_image(image).await?;
        Ok(())
    }
}
