//! What clients delete.

use std::sync::Arc;

use oci::Digest;

use crate::events::{Action, Happened, RequestOrigin, Target};
use crate::meta::{Delete, Deleted, Keeps, Precondition, Unlink};
use crate::name::{ManifestRef, RepositoryName};
use crate::service::error::ServiceError;
use crate::service::state::{Registry, key};

impl Registry {
    /// Takes a blob out of `repository`. Other repositories keep it; its file goes when nobody
    /// shows it any more and garbage is collected.
    ///
    /// # Errors
    /// [`ServiceError::BlobUnknown`], [`ServiceError::TagImmutable`] when such a tag needs it.
    pub async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &RequestOrigin,
    ) -> Result<(), ServiceError> {
        let (cache, key) = (
            Arc::clone(&self.blob_cache),
            key(repository.as_str(), digest),
        );
        let notices = self.notices(
            by,
            &[Happened {
                action: Action::Delete,
                repository: repository.as_str(),
                target: Target::Gone(digest),
            }],
        );
        // Only asked where there can be such a tag.
        let immutable = self
            .policy()
            .has_immutable(repository.as_str())
            .then(|| self.immutable_in(repository));
        let unlinked = self
            .meta
            .unlink_blob(repository, digest, immutable, notices, move || {
                cache.forget(&key);
            })
            .await?;
        self.wake_subscribers();
        match unlinked {
            Unlink::Done => Ok(()),
            Unlink::Unknown => Err(ServiceError::BlobUnknown(digest.clone())),
            Unlink::Immutable(tag) => Err(ServiceError::TagImmutable(tag)),
        }
    }

    /// Which tags of a repository never move.
    fn immutable_in(
        &self,
        repository: &RepositoryName,
    ) -> impl Fn(&str) -> bool + Send + Sync + use<> {
        let (policy, repository) = (self.policy(), repository.clone());
        move |tag| policy.is_immutable(repository.as_str(), tag)
    }

    /// Deletes a tag, or a manifest with every tag that points to it, if `precondition` is true of
    /// it.
    ///
    /// # Errors
    /// [`ServiceError::ManifestUnknown`], [`ServiceError::TagImmutable`], [`ServiceError::Needed`],
    /// [`ServiceError::Precondition`].
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &ManifestRef,
        precondition: Precondition,
        by: &RequestOrigin,
    ) -> Result<Deleted, ServiceError> {
        let (cache, name) = (Arc::clone(&self.manifest_cache), repository.clone());
        let keeps = Keeps {
            immutable: self.immutable_in(repository),
            needed_may_go: self.policy().delete_needed,
        };
        let (told, notices) = (repository.clone(), self.notices_later(by));
        let notices = move |deleted: &Deleted| {
            let gone = |target| Happened {
                action: Action::Delete,
                repository: told.as_str(),
                target,
            };
            let tags = deleted.tags.iter().map(|tag| gone(Target::Tag(tag)));
            let manifest = deleted.manifest.iter().map(|d| gone(Target::Gone(d)));
            notices(&tags.chain(manifest).collect::<Vec<_>>())
        };
        let effect = move |deleted: &Option<Delete>| {
            if let Some(Delete::Done(deleted)) = deleted {
                for tag in &deleted.tags {
                    cache.forget(&key(name.as_str(), tag));
                }
                if let Some(digest) = &deleted.manifest {
                    cache.forget(&key(name.as_str(), digest));
                }
            }
        };
        let deleted = self
            .meta
            .delete_manifest(repository, reference, precondition, keeps, notices, effect)
            .await?;
        self.wake_subscribers();
        match deleted {
            Some(Delete::Done(deleted)) => Ok(deleted),
            Some(Delete::PreconditionFailed) => Err(ServiceError::Precondition),
            Some(Delete::Needed(tag)) => Err(ServiceError::Needed(tag)),
            Some(Delete::Immutable(tag)) => Err(ServiceError::TagImmutable(tag)),
            None => Err(ServiceError::ManifestUnknown {
                repository: repository.clone(),
                reference: reference.clone(),
            }),
        }
    }
}
