//! What a manifest needs.

use std::collections::HashSet;

use oci::{Descriptor, Digest, ManifestDocument};

/// The blobs and the children that must be there, each once.
pub(in crate::service) fn needs(document: &ManifestDocument) -> (Vec<Digest>, Vec<Digest>) {
    fn unique<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> Vec<Digest> {
        let mut seen = HashSet::new();
        descriptors
            .filter(|d| !d.media_type.is_non_distributable() && seen.insert(&d.digest))
            .map(|d| d.digest.clone())
            .collect()
    }
    match document {
        ManifestDocument::Manifest(m) => (
            unique(std::iter::once(&m.config).chain(&m.layers)),
            Vec::new(),
        ),
        ManifestDocument::Index(i) => (Vec::new(), unique(i.manifests.iter())),
    }
}

/// The blobs of a mirrored manifest and their sizes, as it tells them, each once.
pub(super) fn expected(document: &ManifestDocument) -> Vec<(Digest, u64)> {
    let ManifestDocument::Manifest(image) = document else {
        return Vec::new();
    };
    let mut seen = HashSet::new();
    std::iter::once(&image.config)
        .chain(&image.layers)
        .filter(|d| !d.media_type.is_non_distributable() && seen.insert(&d.digest))
        .map(|d| (d.digest.clone(), d.size))
        .collect()
}
