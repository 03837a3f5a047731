//! Images from registries into the store.

use std::sync::Arc;

use client::Events;
use oci::blob::BlobStore;
use oci::{Digest, ImageConfig, Platform, Reference};
use store::{NewImage, RawManifest};

use super::{Local, LocalError, LocalImage};

/// The largest configuration that is fetched, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// An image that was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The image.
    pub image: LocalImage,
    /// The digest that the reference led to: the index's when there is one.
    pub digest: Digest,
    /// Whether the store had all of it before.
    pub up_to_date: bool,
}

/// Pulls an image: its layers in parallel, then its row and tag.
///
/// # Errors
/// [`LocalError`]; the store keeps the blobs that were complete, and no image row.
pub async fn fetch_image(
    local: &Local,
    reference: &Reference,
    platform: &Platform,
    events: &dyn Events,
) -> Result<Fetched, LocalError> {
    let client = local.client().await?;
    let resolved = client.resolve(reference, platform).await?;
    let manifest = &resolved.manifest;
    if !manifest.config.media_type.is_image_config() {
        let kind = manifest.config.media_type.to_string();
        return Err(LocalError::NotAnImage(reference.familiar(), kind));
    }
    if manifest.config.size > MAX_CONFIG {
        let size = manifest.config.size;
        return Err(LocalError::ConfigTooLarge(reference.familiar(), size));
    }
    let before = local
        .store
        .resolve(&reference.to_string())
        .await
        .ok()
        .map(|image| image.id);
    let repository = reference.repository();
    let mut wanted = vec![manifest.config.clone()];
    wanted.extend(manifest.layers.iter().cloned());
    let blobs: Arc<dyn BlobStore> = local.store.blobs().clone();
    client
        .pull_blobs(repository, &wanted, &blobs, events)
        .await?;

    let id = manifest.config.digest.clone();
    let config: ImageConfig = local.read_config(&id).await?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(LocalError::LayerCount {
            layers: manifest.layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    for (diff_id, layer) in diff_ids.iter().zip(&manifest.layers) {
        local
            .store
            .record_layer_blob(diff_id, layer.clone())
            .await?;
    }
    if rustix::process::geteuid().is_root() {
        // Unpacking is what checks the diff IDs; users without the privilege do it when building.
        local.ensure_unpacked(&config).await?;
    }
    let tags: Vec<Reference> = match reference.digest() {
        Some(_) => Vec::new(),
        None => vec![reference.clone().or_latest()],
    };
    let blobs: Vec<Digest> = wanted.iter().map(|blob| blob.digest.clone()).collect();
    local.store.record_blob_sources(repository, &blobs).await?;
    // An image that was built here keeps its own manifest, which pushes come to again and again;
    // one that came from elsewhere keeps the one it came with.
    let built_here = local
        .store
        .image(&id)
        .await?
        .is_some_and(|image| image.manifest.is_none());
    let manifest = (!built_here).then(|| RawManifest {
        media_type: resolved.descriptor.media_type.clone(),
        bytes: resolved.bytes.to_vec(),
    });
    let image = NewImage {
        config: local.store.config(&id).await?,
        manifest,
        size: None,
        tags,
        repo_digests: vec![reference.with_digest(resolved.digest().clone())],
    };
    local.store.put_image(image).await?;
    let up_to_date = before.as_ref() == Some(&id);
    Ok(Fetched {
        image: LocalImage { id, config },
        digest: resolved.digest().clone(),
        up_to_date,
    })
}
