//! An index of images that were made here.
//!
//! Its manifests list the layers as plain tars, whose digests and sizes are known without anything
//! being compressed or written: the same images give the same index, whatever of them was pushed
//! before. A push makes manifests of compressed layers, and an index of those.

use std::collections::BTreeMap;

use oci::manifest::Index;
use oci::{ChainId, Descriptor, Digest, Platform, Reference, media_type};
use store::{Image, NewIndex, RawManifest, StoredIndex};

use crate::document;
use crate::error::ImageError;
use crate::layer::LayerTar;
use crate::service::Images;

/// Annotations for the documents of an index, by where they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexAnnotations {
    /// The index's own.
    pub index: BTreeMap<String, String>,
    /// Those of an entry, by its place.
    pub entries: Vec<BTreeMap<String, String>>,
}

/// An image for an index.
#[derive(Clone, Debug)]
pub struct Part {
    /// The image, in the store.
    pub image: Image,
    /// What it is for.
    pub platform: Platform,
    /// Its manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// So many of its layers came with its base image.
    pub base_layers: usize,
}

/// The manifest of an image with its layers as plain tars.
///
/// # Errors
/// [`ImageError`] when a layer is gone.
async fn plain_manifest(
    images: &Images,
    image: &Image,
    annotations: &BTreeMap<String, String>,
) -> Result<RawManifest, ImageError> {
    let mut layers = Vec::with_capacity(image.layers.len());
    for (diff_id, chain_id) in image.layers.iter().zip(ChainId::chain(&image.layers)) {
        let tar = LayerTar::find(images, diff_id, &chain_id).await?;
        let size = tokio::task::spawn_blocking(move || tar.size()).await??;
        let digest = diff_id.digest().clone();
        layers.push(Descriptor::new(media_type::OCI_LAYER, digest, size));
    }
    let size = images.store.config(&image.id).await?.len() as u64;
    let config = Descriptor::new(media_type::OCI_CONFIG, image.id.clone(), size);
    let bytes = document::oci_manifest(config, layers, annotations).map_err(unwritten)?;
    Ok(RawManifest {
        media_type: media_type::OCI_MANIFEST.into(),
        bytes,
    })
}

/// The document of an index of these manifests.
///
/// # Errors
/// Never for manifests made here.
pub fn index_document(
    manifests: Vec<Descriptor>,
    annotations: &IndexAnnotations,
) -> Result<RawManifest, ImageError> {
    let mut manifests = manifests;
    for (manifest, more) in manifests.iter_mut().zip(&annotations.entries) {
        manifest.annotations.extend(more.clone());
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.into()),
        artifact_type: None,
        manifests,
        subject: None,
        annotations: annotations.index.clone(),
    };
    Ok(RawManifest {
        media_type: media_type::OCI_INDEX.into(),
        bytes: serde_json::to_vec_pretty(&index).map_err(unwritten)?,
    })
}

/// Stores the index of images that were made here under its names.
///
/// # Errors
/// [`ImageError`]; no name has moved then.
pub async fn put_index(
    images: &Images,
    parts: &[Part],
    annotations: &IndexAnnotations,
    tags: &[Reference],
) -> Result<StoredIndex, ImageError> {
    let mut manifests = Vec::with_capacity(parts.len());
    let mut entries = Vec::with_capacity(parts.len());
    let mut listed = Vec::with_capacity(parts.len());
    for part in parts {
        let manifest = plain_manifest(images, &part.image, &part.annotations).await?;
        let digest = Digest::sha256(&manifest.bytes);
        let size = manifest.bytes.len() as u64;
        let mut entry = Descriptor::new(manifest.media_type.clone(), digest.clone(), size);
        entry.platform = Some(part.platform.clone());
        listed.push((digest, part.image.id.clone()));
        entries.push(entry);
        manifests.push(manifest);
    }
    let document = index_document(entries, annotations)?;
    let new = NewIndex {
        document,
        images: listed,
        manifests,
        blobs: Vec::new(),
        tags: tags.to_vec(),
        repo_digests: Vec::new(),
    };
    Ok(images.store.put_index(new).await?)
}

fn unwritten(cause: serde_json::Error) -> ImageError {
    ImageError::Document {
        what: "manifest",
        cause,
    }
}
