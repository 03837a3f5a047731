//! Images from registries into the store.

use std::sync::{Arc, Mutex, PoisonError};

use client::{Events, LayerState, Resolved};
use oci::blob::BlobStore;
use oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest, Platform, Reference};
use store::{NewImage, RawManifest};

use crate::error::ImageError;
use crate::progress::LayerProgress;
use crate::service::{Images, StoredImage};

/// The largest configuration that is fetched, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// An image that was fetched.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The image.
    pub image: StoredImage,
    /// The digest that the reference led to: the index's when there is one.
    pub digest: Digest,
    /// Whether the store had all of it before.
    pub up_to_date: bool,
}

/// Pulls an image: its layers in parallel, then its row and tag.
///
/// # Errors
/// [`ImageError`]; the store keeps the blobs that were complete, and no image row.
pub async fn pull_image(
    images: &Images,
    reference: &Reference,
    platform: &Platform,
    events: &dyn Events,
) -> Result<Pulled, ImageError> {
    let client = images.client().await?;
    let resolved = client.resolve(reference, platform).await?;
    check_config(reference, &resolved.manifest)?;
    pull_resolved(images, reference, &resolved, events).await
}

/// Refuses what is no image, and configurations that no honest image has.
pub(crate) fn check_config(reference: &Reference, manifest: &Manifest) -> Result<(), ImageError> {
    let config = &manifest.config;
    if !config.media_type.is_image_config() {
        let kind = config.media_type.to_string();
        return Err(ImageError::NotAnImage(reference.familiar(), kind));
    }
    if config.size > MAX_CONFIG {
        return Err(ImageError::ConfigTooLarge(reference.familiar(), config.size));
    }
    Ok(())
}

/// Pulls an image that was found.
///
/// # Errors
/// As [`pull_image`].
pub(crate) async fn pull_resolved(
    images: &Images,
    reference: &Reference,
    resolved: &Resolved,
    events: &dyn Events,
) -> Result<Pulled, ImageError> {
    let client = images.client().await?;
    let manifest = &resolved.manifest;
    let before = images
        .store
        .resolve(&reference.to_string())
        .await
        .ok()
        .map(|image| image.id);
    let repository = reference.repository();
    let mut wanted = vec![manifest.config.clone()];
    wanted.extend(manifest.layers.iter().cloned());
    // Some are there long before the last, and no row knows them until then.
    let digests = wanted.iter().map(|blob| &blob.digest);
    images.store.expect_blobs(digests).await?;
    let blobs: Arc<dyn BlobStore> = images.store.blobs().clone();
    client
        .pull_blobs(repository, &wanted, &blobs, events)
        .await?;

    let id = manifest.config.digest.clone();
    let config: ImageConfig = images.read_config(&id).await?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(ImageError::LayerCount {
            layers: manifest.layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    for (diff_id, layer) in diff_ids.iter().zip(&manifest.layers) {
        images
            .store
            .record_layer_blob(diff_id, layer.clone())
            .await?;
    }
    let unpacking = Unpacking {
        layers: &manifest.layers,
        diff_ids,
        events,
    };
    let mut size = None;
    // Either way the diff IDs are checked.
    if rustix::process::geteuid().is_root() {
        images.ensure_unpacked(&config, &unpacking).await?;
    } else if images.store.image(&id).await?.is_none() {
        size = Some(images.measure(&config, &unpacking).await?);
    }
    let tags: Vec<Reference> = match reference.digest() {
        Some(_) => Vec::new(),
        None => vec![reference.clone().or_latest()],
    };
    let blobs: Vec<Digest> = wanted.iter().map(|blob| blob.digest.clone()).collect();
    images.store.record_blob_sources(repository, &blobs).await?;
    // An image that was built here keeps its own manifest, which pushes come to again and again;
    // one that came from elsewhere keeps the one it came with.
    let built_here = images
        .store
        .image(&id)
        .await?
        .is_some_and(|image| image.manifest.is_none());
    let manifest = (!built_here).then(|| RawManifest {
        media_type: resolved.descriptor.media_type.clone(),
        bytes: resolved.bytes.to_vec(),
    });
    let image = NewImage {
        config: images.store.config(&id).await?,
        manifest,
        size,
        tags,
        repo_digests: vec![reference.with_digest(resolved.digest().clone())],
    };
    images.store.put_image(image).await?;
    let up_to_date = before.as_ref() == Some(&id);
    Ok(Pulled {
        image: StoredImage { id, config },
        digest: resolved.digest().clone(),
        up_to_date,
    })
}

/// Passes what is unpacked on as states of the layers that came.
struct Unpacking<'p> {
    layers: &'p [Descriptor],
    diff_ids: &'p [DiffId],
    events: &'p dyn Events,
}

impl Unpacking<'_> {
    fn tell(&self, id: &Digest, state: &LayerState) {
        let pairs = self.diff_ids.iter().zip(self.layers);
        for (_, layer) in pairs.filter(|(diff_id, _)| diff_id.digest() == id) {
            self.events.layer(layer, state);
        }
    }
}

impl LayerProgress for Unpacking<'_> {
    fn layer(&self, id: &Digest, current: u64, total: u64) {
        self.tell(id, &LayerState::Extracting { current, total });
    }

    fn done(&self, id: &Digest) {
        self.tell(id, &LayerState::PullComplete);
    }
}

/// Passes on what takes time in a pull as notes, each layer's once.
struct Noted<'n> {
    note: &'n (dyn Fn(&str) + Sync),
    extracting: Mutex<Vec<Digest>>,
}

impl Events for Noted<'_> {
    fn layer(&self, layer: &Descriptor, state: &LayerState) {
        match state {
            LayerState::DownloadComplete => (self.note)(&format!("{} done", layer.digest)),
            LayerState::Extracting { .. } => {
                let mut told = self
                    .extracting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if !told.contains(&layer.digest) {
                    told.push(layer.digest.clone());
                    drop(told);
                    (self.note)(&format!("extracting {}", layer.digest));
                }
            }
            _ => {}
        }
    }
}

impl Images {
    /// The image of a reference for a platform: the store's own, or fetched when it has none (or
    /// `pull` asks for the newest). `note` is told what takes time.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn image(
        &self,
        reference: &Reference,
        platform: &Platform,
        pull: bool,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<StoredImage, ImageError> {
        if !pull && let Some(there) = self.here(reference, platform).await? {
            return Ok(there);
        }
        note(&format!("pulling {reference}"));
        let noted = Noted {
            note,
            extracting: Mutex::default(),
        };
        let fetched = pull_image(self, reference, platform, &noted).await?;
        Ok(fetched.image)
    }

    /// The store's own image of a reference, if it has one.
    ///
    /// # Errors
    /// [`ImageError::Platform`] when it is for another platform.
    pub(crate) async fn here(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<StoredImage>, ImageError> {
        match self.find(&reference.to_string()).await {
            Ok(image) => {
                let actual = image.config.platform();
                if platform.runs(&actual) {
                    return Ok(Some(image));
                }
                Err(ImageError::Platform {
                    reference: reference.familiar(),
                    wanted: platform.to_string(),
                    actual: actual.to_string(),
                })
            }
            Err(ImageError::Store(store::Error::NoSuchImage { .. })) => Ok(None),
            Err(e) => Err(e),
        }
    }
}
