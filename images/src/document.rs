//! The outcome of a build as documents: configuration and manifest.

use std::collections::BTreeMap;

use oci::manifest::Manifest;
use oci::{Descriptor, DiffId, Digest, ImageConfig, media_type};

/// An image's configuration, as the bytes whose digest is its ID.
#[derive(Clone, Debug)]
pub struct ConfigDocument {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their digest: the image ID.
    pub id: Digest,
}

impl ConfigDocument {
    /// Writes a configuration; the same configuration always gives the same bytes.
    ///
    /// # Errors
    /// Never for configurations that were read from JSON or made here.
    pub fn new(config: &ImageConfig) -> Result<Self, serde_json::Error> {
        let bytes = serde_json::to_vec(config)?;
        let id = Digest::sha256(&bytes);
        Ok(Self { bytes, id })
    }

    /// The descriptor by which a Docker manifest refers to it.
    pub fn descriptor(&self, media_type: &str) -> Descriptor {
        Descriptor::new(media_type, self.id.clone(), self.bytes.len() as u64)
    }
}

/// A configuration whose layers have become others; everything else stays as it is.
///
/// # Errors
/// When it is no JSON.
pub(crate) fn with_diff_ids(
    config: &[u8],
    diff_ids: Vec<DiffId>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut value: serde_json::Value = serde_json::from_slice(config)?;
    value["rootfs"]["diff_ids"] = serde_json::to_value(diff_ids)?;
    serde_json::to_vec(&value)
}

/// A manifest for an image whose layers have known blobs, as Docker pushes it.
///
/// # Errors
/// Never for descriptors made here.
pub fn docker_manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Vec<u8>, serde_json::Error> {
    manifest(
        media_type::DOCKER_MANIFEST,
        config,
        layers,
        &BTreeMap::new(),
    )
}

/// The same in OCI's media types, which have a word for Zstandard and annotations.
///
/// # Errors
/// Never for descriptors made here.
pub fn oci_manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, serde_json::Error> {
    manifest(media_type::OCI_MANIFEST, config, layers, annotations)
}

fn manifest(
    kind: &str,
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec_pretty(&Manifest {
        schema_version: 2,
        media_type: Some(kind.into()),
        artifact_type: None,
        config,
        layers,
        subject: None,
        annotations: annotations.clone(),
    })
}
