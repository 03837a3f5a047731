//! What an import brought.

use std::collections::HashSet;

use oci::Digest;
use serde::{Deserialize, Serialize};

/// What an import brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Repositories.
    pub repositories: u64,
    /// Blobs that were not there yet, or damaged.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Manifests, counted in each repository.
    pub manifests: u64,
    /// Tags.
    pub tags: u64,
    /// What could not be taken over, and why.
    pub skipped: Vec<String>,
    /// Blobs that are known to be whole: many images share their layers.
    #[serde(skip)]
    pub(super) whole: HashSet<Digest>,
}
