//! What a rule has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What happened since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    manifests: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
}

impl Counts {
    /// An image was brought.
    pub(super) fn manifest(&self, repository: &str, reference: &str, rule: &str) {
        self.manifests.fetch_add(1, Relaxed);
        tracing::info!(rule, repository, reference, "replicated");
    }

    /// Bytes of a blob were fetched.
    pub(super) fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Something failed.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Images brought, bytes of blobs fetched, failures.
    pub(super) fn get(&self) -> (u64, u64, u64) {
        (
            self.manifests.load(Relaxed),
            self.bytes.load(Relaxed),
            self.failures.load(Relaxed),
        )
    }
}
