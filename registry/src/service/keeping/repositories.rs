//! A whole repository deleted at once.

use std::sync::Arc;

use crate::events::{Action, Happened, RequestOrigin, Target};
use crate::meta::{Deleted, Going, Removed};
use crate::name::RepositoryName;
use crate::service::error::ServiceError;
use crate::service::state::{Registry, key};

/// Rows of a slice: a push that has to wait for one hardly notices.
const SLICE: u32 = 200;

impl Registry {
    /// Deletes every tag and manifest of a repository, which leaves all lists with that; its blobs
    /// go with the next collection. What is pushed meanwhile may go too.
    ///
    /// It is done in slices. When the process ends before the last one, some is left, and asking
    /// again goes on.
    ///
    /// # Errors
    /// [`ServiceError::NameUnknown`], [`ServiceError::TagImmutable`] before anything was done.
    pub async fn delete_repository(
        &self,
        repository: &RepositoryName,
        by: &RequestOrigin,
    ) -> Result<Going, ServiceError> {
        let going = self.meta.repository_going(repository).await?;
        let going = going.ok_or_else(|| ServiceError::NameUnknown(repository.clone()))?;
        if let Some(tag) = self.immutable_tag(repository).await? {
            return Err(ServiceError::TagImmutable(tag));
        }
        loop {
            match self.remove_some(repository, by).await? {
                Removed::Some(_) => self.wake_subscribers(),
                Removed::All => return Ok(going),
                Removed::Immutable(tag) => return Err(ServiceError::TagImmutable(tag)),
            }
        }
    }

    async fn remove_some(
        &self,
        repository: &RepositoryName,
        by: &RequestOrigin,
    ) -> Result<Removed, ServiceError> {
        let (told, tell) = (repository.clone(), self.notices_later(by));
        let notices = move |gone: &Deleted| {
            let happened = |target| Happened {
                action: Action::Delete,
                repository: told.as_str(),
                target,
            };
            let tags = gone.tags.iter().map(|tag| happened(Target::Tag(tag)));
            let manifest = gone.manifest.iter().map(|d| happened(Target::Gone(d)));
            tell(&tags.chain(manifest).collect::<Vec<_>>())
        };
        let (cache, name) = (Arc::clone(&self.manifest_cache), repository.clone());
        let effect = move |removed: &Removed| {
            let Removed::Some(gone) = removed else { return };
            for gone in gone {
                for tag in &gone.tags {
                    cache.forget(&key(name.as_str(), tag));
                }
                if let Some(digest) = &gone.manifest {
                    cache.forget(&key(name.as_str(), digest));
                }
            }
        };
        let (policy, ruled) = (self.policy(), repository.clone());
        let immutable = move |tag: &str| policy.is_immutable(ruled.as_str(), tag);
        Ok(self
            .meta
            .remove_some(repository, SLICE, immutable, notices, effect)
            .await?)
    }
}
