//! Manifests where they are, without an image in the store: looked at, joined to indexes, and
//! copied from one repository to another.

use std::sync::Arc;

use client::resolve::Document;
use client::{Client, PushLayer, Silent};
use oci::blob::{BlobStore, DiskBlobs};
use oci::manifest::{Manifest, ManifestDocument};
use oci::{Descriptor, ImageConfig, Platform, Reference};

use crate::error::ImageError;

/// The largest configuration that is fetched, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// The bytes of an image's configuration; none for what is no image.
///
/// # Errors
/// [`ImageError`].
pub async fn config(
    client: &Client,
    reference: &Reference,
    manifest: &Manifest,
) -> Result<Option<Vec<u8>>, ImageError> {
    let config = &manifest.config;
    if !config.media_type.is_image_config() {
        return Ok(None);
    }
    if config.size > MAX_CONFIG {
        return Err(ImageError::ConfigTooLarge(
            reference.familiar(),
            config.size,
        ));
    }
    let bytes = client
        .fetch_blob(reference.repository(), config, MAX_CONFIG)
        .await?;
    Ok(Some(bytes.to_vec()))
}

/// What an image is for, by its configuration.
///
/// # Errors
/// [`ImageError`].
pub async fn platform(
    client: &Client,
    reference: &Reference,
    manifest: &Manifest,
) -> Result<Option<Platform>, ImageError> {
    let Some(bytes) = config(client, reference, manifest).await? else {
        return Ok(None);
    };
    let config: ImageConfig =
        serde_json::from_slice(&bytes).map_err(|cause| ImageError::Document {
            what: "configuration",
            cause,
        })?;
    Ok(Some(config.platform()))
}

/// Copies a manifest or index with all that it leads to, to another repository. Blobs of the same
/// registry are mounted there, others come by way of a temporary directory.
///
/// # Errors
/// [`ImageError`]; the target may have got some of it then.
pub async fn copy(
    client: &Client,
    document: &Document,
    from: &Reference,
    to: &Reference,
) -> Result<(), ImageError> {
    let mut wanted = vec![document.clone()];
    let mut manifests = Vec::new();
    // An index before what it lists: it is put last.
    while let Some(document) = wanted.pop() {
        if let ManifestDocument::Index(index) = &document.content {
            for entry in &index.manifests {
                let by_digest = from.with_digest(entry.digest.clone());
                wanted.push(client.manifest(&by_digest).await?);
            }
        }
        manifests.push(document);
    }
    for document in manifests.iter().rev() {
        if let ManifestDocument::Manifest(manifest) = &document.content {
            copy_blobs(client, manifest, from, to).await?;
        }
        let target = to.with_digest(document.descriptor.digest.clone());
        let media_type = &document.descriptor.media_type;
        client
            .put_manifest(&target, document.bytes.clone(), media_type)
            .await?;
    }
    Ok(())
}

async fn copy_blobs(
    client: &Client,
    manifest: &Manifest,
    from: &Reference,
    to: &Reference,
) -> Result<(), ImageError> {
    let failed = |e: std::io::Error| ImageError::Files(format!("a temporary directory: {e}"));
    let scratch = tempfile::tempdir().map_err(failed)?;
    let store: Arc<dyn BlobStore> = Arc::new(DiskBlobs::open(scratch.path())?);
    let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
    let blobs = blobs.filter(|blob| !blob.media_type.is_non_distributable());
    for blob in blobs {
        let layer = PushLayer {
            descriptor: Descriptor::clone(blob),
            mount_from: vec![from.repository().clone()],
        };
        let target = to.repository();
        // With nothing to send it works where the blob is there, or can be mounted.
        let pushed = client.push_blob(target, &layer, &store, &Silent).await;
        if pushed.is_ok() {
            continue;
        }
        let wanted = std::slice::from_ref(&layer.descriptor);
        client
            .pull_blobs(from.repository(), wanted, &store, &Silent)
            .await?;
        client.push_blob(target, &layer, &store, &Silent).await?;
    }
    Ok(())
}
