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
