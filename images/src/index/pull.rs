//! Indexes from registries into the store.

use client::{Events, Resolved};
use oci::blob::BlobStore;
use oci::manifest::ManifestDocument;
use oci::{Descriptor, Digest, Index, Manifest, Platform, Reference};
use std::sync::Arc;
use store::{NewIndex, RawManifest, StoredIndex};

use crate::error::ImageError;
use crate::pull::{Names, bring};
use crate::service::Images;

/// Which images of an index are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it, and what is said about its images.
    All,
    /// The images for these platforms.
    Platforms(Vec<Platform>),
}

/// An index that was fetched.
#[derive(Clone, Debug)]
pub struct PulledIndex {
    /// The index.
    pub index: StoredIndex,
    /// Whether the store had all of it before.
    pub up_to_date: bool,
}

/// Pulls the index that a name leads to, with the images that are wanted of it. What the store has
/// of it already stays.
///
/// # Errors
/// [`ImageError::NoIndex`] for a name that leads to one image; [`ImageError`]. No name has moved
/// then.
pub async fn pull_index(
    images: &Images,
    reference: &Reference,
    wanted: &Wanted,
    events: &dyn Events,
) -> Result<PulledIndex, ImageError> {
    let client = images.client().await?;
    let document = client.manifest(reference).await?;
    let ManifestDocument::Index(index) = &document.content else {
        return Err(ImageError::NoIndex(reference.familiar()));
    };
    let digest = document.descriptor.digest.clone();
    let before = images.store.find(reference).await?;
    let chosen = choose(index, wanted, reference)?;
    let mut new = NewIndex {
        document: RawManifest {
            media_type: document.descriptor.media_type.clone(),
            bytes: document.bytes.to_vec(),
        },
        images: Vec::new(),
        manifests: Vec::new(),
        blobs: Vec::new(),
        tags: match reference.digest() {
            Some(_) => Vec::new(),
            None => vec![reference.clone().or_latest()],
        },
        repo_digests: vec![reference.with_digest(digest)],
    };
    for entry in chosen {
        bring_entry(images, reference, &entry, &mut new, events).await?;
    }
    let index = images.store.put_index(new).await?;
    let up_to_date = before == Some(store::Content::Index(index.clone()));
    Ok(PulledIndex { index, up_to_date })
}

/// The entries that are wanted.
fn choose(
    index: &Index,
    wanted: &Wanted,
    reference: &Reference,
) -> Result<Vec<Descriptor>, ImageError> {
    let platforms = match wanted {
        Wanted::All => return Ok(index.manifests.clone()),
        Wanted::Platforms(platforms) => platforms,
    };
    let mut chosen: Vec<Descriptor> = Vec::new();
    for platform in platforms {
        let entry = index
            .select(platform)
            .map_err(|available| client::Error::NoPlatform {
                reference: reference.familiar(),
                wanted: Box::new(platform.clone()),
                available,
            })?;
        if !chosen.contains(entry) {
            chosen.push(entry.clone());
        }
    }
    Ok(chosen)
}

/// Brings in what one entry leads to.
async fn bring_entry(
    images: &Images,
    reference: &Reference,
    entry: &Descriptor,
    new: &mut NewIndex,
    events: &dyn Events,
) -> Result<(), ImageError> {
    let client = images.client().await?;
    let by_digest = reference.with_digest(entry.digest.clone());
    let document = client.manifest(&by_digest).await?;
    let raw = RawManifest {
        media_type: document.descriptor.media_type.clone(),
        bytes: document.bytes.to_vec(),
    };
    let manifest = match document.content {
        // What is in an index in an index stays where it is.
        ManifestDocument::Index(_) => return Ok(()),
        ManifestDocument::Manifest(manifest) => manifest,
    };
    if manifest.config.media_type.is_image_config() && !is_statement(entry) {
        let resolved = Resolved {
            reference: by_digest,
            descriptor: document.descriptor,
            bytes: document.bytes,
            manifest,
            index: None,
        };
        let image = bring(images, reference, &resolved, Names::default(), events).await?;
        new.images.push((entry.digest.clone(), image.id));
    } else {
        new.blobs
            .extend(fetch(images, reference, &manifest, events).await?);
    }
    new.manifests.push(raw);
    Ok(())
}

/// Whether an entry is a statement about an image: for no platform, or marked as one.
pub(crate) fn is_statement(entry: &Descriptor) -> bool {
    const MARK: &str = "vnd.docker.reference.type";
    entry.annotations.contains_key(MARK)
        || entry.platform.as_ref().is_some_and(|p| p.os == "unknown")
}

/// Fetches the blobs of something that is no image.
async fn fetch(
    images: &Images,
    reference: &Reference,
    manifest: &Manifest,
    events: &dyn Events,
) -> Result<Vec<Digest>, ImageError> {
    let mut wanted = vec![manifest.config.clone()];
    wanted.extend(manifest.layers.iter().cloned());
    let digests: Vec<Digest> = wanted.iter().map(|blob| blob.digest.clone()).collect();
    images.store.expect_blobs(digests.iter()).await?;
    let blobs: Arc<dyn BlobStore> = images.store.blobs().clone();
    let client = images.client().await?;
    client
        .pull_blobs(reference.repository(), &wanted, &blobs, events)
        .await?;
    Ok(digests)
}
