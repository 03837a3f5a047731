//! Manifests, served as the bytes that came.

use std::sync::Arc;

use crate::events::RequestOrigin;
use crate::name::{ManifestRef, RepositoryName};
use crate::service::error::ServiceError;
use crate::service::state::{MANIFEST_WEIGHT, Registry, StoredManifest, key};

impl Registry {
    /// A manifest with its bytes.
    ///
    /// # Errors
    /// [`ServiceError::ManifestUnknown`].
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &ManifestRef,
    ) -> Result<Arc<StoredManifest>, ServiceError> {
        if self.meta.is_shared() {
            return self.shared_manifest(repository, reference).await;
        }
        let key = key(repository.as_str(), reference);
        if let Some(manifest) = self.manifest_cache.get(&key) {
            return Ok(manifest);
        }
        let unknown = || ServiceError::ManifestUnknown {
            repository: repository.clone(),
            reference: reference.clone(),
        };
        let stamp = self.manifest_cache.stamp();
        let row = self
            .meta
            .manifest(repository, reference)
            .await?
            .ok_or_else(unknown)?;
        let Some(bytes) = self.blobs.read(&row.digest).await? else {
            tracing::error!(digest = %row.digest, "the file of a known manifest is missing");
            return Err(unknown());
        };
        let manifest = Arc::new(StoredManifest { row, bytes });
        let weight = key.len() + MANIFEST_WEIGHT + manifest.bytes.len();
        self.manifest_cache
            .fill(stamp, &key, Arc::clone(&manifest), weight);
        Ok(manifest)
    }

    /// The same where other processes change what there is: the database is asked each time, and
    /// what is kept in memory is content by its digest, which nobody can change.
    async fn shared_manifest(
        &self,
        repository: &RepositoryName,
        reference: &ManifestRef,
    ) -> Result<Arc<StoredManifest>, ServiceError> {
        let unknown = || ServiceError::ManifestUnknown {
            repository: repository.clone(),
            reference: reference.clone(),
        };
        let row = self.meta.manifest(repository, reference).await?;
        let row = row.ok_or_else(unknown)?;
        let key = row.digest.to_string();
        let stamp = self.manifest_cache.stamp();
        let bytes = match self.manifest_cache.get(&key) {
            Some(known) if known.row == row => return Ok(known),
            Some(known) => known.bytes.clone(),
            None => match self.blobs.read(&row.digest).await? {
                Some(bytes) => bytes,
                None => {
                    tracing::error!(digest = %row.digest, "a known manifest is missing where blobs are");
                    return Err(unknown());
                }
            },
        };
        let manifest = Arc::new(StoredManifest { row, bytes });
        let weight = key.len() + MANIFEST_WEIGHT + manifest.bytes.len();
        self.manifest_cache
            .fill(stamp, &key, Arc::clone(&manifest), weight);
        Ok(manifest)
    }

    /// Notes that a client that calls itself `agent` pulled a manifest, for lists and rules.
    pub fn note_pull(&self, repository: &RepositoryName, manifest: &StoredManifest, agent: &str) {
        if self.policy().is_pull(agent) {
            self.pulls.note(repository, &manifest.row.digest);
        }
    }

    /// Tells that a manifest was pulled.
    pub fn manifest_pulled(
        &self,
        repository: &RepositoryName,
        reference: &ManifestRef,
        manifest: &StoredManifest,
        by: &RequestOrigin,
    ) {
        self.tell_manifest_pull(by, repository, reference, manifest);
    }
}
