//! Manifests that come from other registries.

use std::sync::Arc;

use crate::meta::Precondition;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::error::ServiceError;
use crate::service::pushing::{Push, Pushed};
use crate::service::state::{Registry, StoredManifest};

impl Registry {
    /// Takes a manifest whose blobs and children may come later.
    ///
    /// # Errors
    /// As [`Registry::put_manifest`].
    pub async fn keep_manifest(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &ManifestRef,
        push: Push,
    ) -> Result<Pushed, ServiceError> {
        self.put_mirrored(repository, reference, push).await
    }

    /// Takes a tag away that is gone where it came from; its manifest stays.
    ///
    /// # Errors
    /// [`ServiceError::TagImmutable`], [`ServiceError::Meta`].
    pub async fn forget_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), ServiceError> {
        let reference = ManifestRef::Tag(tag.clone());
        match self
            .delete_manifest(repository, &reference, Precondition::default(), &None)
            .await
        {
            Ok(_) | Err(ServiceError::ManifestUnknown { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Notes that a client pulled a mirrored manifest: those that nobody pulls go first.
    pub fn note_mirrored_pull(&self, repository: &RepositoryName, manifest: &StoredManifest) {
        self.pulls.note(repository, &manifest.row.digest);
    }
}
