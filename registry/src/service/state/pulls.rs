//! When manifests were pulled, until it is written down.

use std::collections::HashMap;
use std::sync::Mutex;

use oci::Digest;

use crate::clock::now;
use crate::name::RepositoryName;
use crate::sync::lock;

/// Pulls that wait to be noted; more are noted at the next pull of the same manifest.
const MAX_PULLS: usize = 10_000;

/// Manifests pulled since that was last noted: kept in memory, since a pull must not cost a write.
#[derive(Debug, Default)]
pub(in crate::service) struct Pulls(Mutex<HashMap<(RepositoryName, Digest), i64>>);

impl Pulls {
    /// Notes that a manifest was pulled now.
    pub(in crate::service) fn note(&self, repository: &RepositoryName, digest: &Digest) {
        let mut pulls = lock(&self.0);
        let key = (repository.clone(), digest.clone());
        if pulls.len() < MAX_PULLS || pulls.contains_key(&key) {
            pulls.insert(key, now());
        }
    }

    /// What was noted since the last time.
    pub(super) fn take(&self) -> Vec<(RepositoryName, Digest, i64)> {
        let mut pulls = lock(&self.0);
        std::mem::take(&mut *pulls)
            .into_iter()
            .map(|((repository, digest), at)| (repository, digest, at))
            .collect()
    }
}
