//! What is kept in memory of blobs and manifests.

use bytes::Bytes;
use oci::Digest;

use crate::meta::ManifestRow;

/// What a manifest in the cache weighs beside its content.
pub(in crate::service) const MANIFEST_WEIGHT: usize = 512;

/// A blob that a repository shows.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes, when it is small.
    pub(in crate::service) bytes: Option<Bytes>,
}

/// A manifest with its bytes.
#[derive(Debug)]
pub struct StoredManifest {
    /// What it is.
    pub row: ManifestRow,
    /// The bytes that were pushed.
    pub bytes: Bytes,
}

/// A cache key: a repository, and something in it. Neither can contain the separator.
pub(in crate::service) fn key(repository: &str, what: impl std::fmt::Display) -> String {
    format!("{repository}@{what}")
}
