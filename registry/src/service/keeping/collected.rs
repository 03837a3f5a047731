//! What a collection may take, and what it took.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a collection may take.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CollectOptions {
    /// How long what nothing needs is kept.
    pub grace: Duration,
    /// Only say what would go.
    pub dry_run: bool,
    /// Look for files that no row knows in every directory, not only in those whose turn it is.
    #[serde(default)]
    pub every_file: bool,
}

/// What went, or would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Tags that no rule keeps, as `repository:tag`.
    pub tags: Vec<String>,
    /// Manifests without tag that are old enough, as `repository@digest`.
    pub manifests: Vec<String>,
    /// Blobs that a repository no longer shows, as `repository@digest`; listed by dry runs only.
    pub links: Vec<String>,
    /// How many of those there are.
    pub link_count: u64,
    /// Blobs whose files went.
    pub blob_count: u64,
    /// The bytes of those files.
    pub bytes: u64,
    /// Files that no row knew.
    #[serde(default)]
    pub orphan_count: u64,
    /// Their bytes.
    #[serde(default)]
    pub orphan_bytes: u64,
    /// Files without rows that stay: they came after what the database last knew when it was
    /// opened. A crash leaves few of them, an older database put in place many.
    #[serde(default)]
    pub suspect_count: u64,
    /// Repositories that showed nothing any more.
    pub repository_count: u64,
    /// The registry was about to close: what is left goes next time.
    #[serde(default)]
    pub stopped: bool,
}
