//! Telling webhooks what happened.

use std::sync::Arc;

use oci::Digest;

use super::error::ServiceError;
use super::state::{Registry, StoredManifest};
use crate::events::{Action, Happened, Noted, Notice, Origin, RequestOrigin, Subscribers, Target};
use crate::meta::{ActivityQuery, Happening, QueuedEvent};
use crate::name::{ManifestRef, RepositoryName};

impl Registry {
    /// The same registry, telling `subscribers`.
    #[must_use]
    pub fn telling(mut self, subscribers: Option<Arc<Subscribers>>) -> Self {
        self.subscribers = subscribers;
        self
    }

    /// Who is told.
    pub fn subscribers(&self) -> Option<&Arc<Subscribers>> {
        self.subscribers.as_ref()
    }

    /// Whether anybody wants to hear of this action: without it, nobody need know who asks.
    pub fn tells(&self, action: Action) -> bool {
        self.subscribers.as_ref().is_some_and(|s| s.hear(action))
    }

    /// What is to be written along with what happens.
    pub(super) fn notices(&self, by: &RequestOrigin, happened: &[Happened<'_>]) -> Vec<Notice> {
        match (&self.subscribers, by) {
            (Some(subscribers), Some(by)) => subscribers.notices(by, happened),
            _ => Vec::new(),
        }
    }

    /// What is to be written along with what happens, once it is known in the transaction.
    pub(super) fn notices_later(
        &self,
        by: &RequestOrigin,
    ) -> impl Fn(&[Happened<'_>]) -> Vec<Notice> + use<> {
        let told = self.subscribers.clone().zip(by.clone());
        move |happened| match &told {
            Some((subscribers, by)) => subscribers.notices(by, happened),
            None => Vec::new(),
        }
    }

    /// Something may have been written for those who are told.
    pub(super) fn wake_subscribers(&self) {
        if let Some(subscribers) = &self.subscribers {
            subscribers.wake();
        }
    }

    /// A manifest was pulled.
    pub(super) fn tell_manifest_pull(
        &self,
        by: &RequestOrigin,
        repository: &RepositoryName,
        reference: &ManifestRef,
        manifest: &StoredManifest,
    ) {
        let (Some(subscribers), Some(by)) = (&self.subscribers, by) else {
            return;
        };
        let tag = match reference {
            ManifestRef::Tag(tag) => Some(tag.as_str()),
            ManifestRef::Digest(_) => None,
        };
        let row = &manifest.row;
        subscribers.pulled(
            by,
            &Happened {
                action: Action::Pull,
                repository: repository.as_str(),
                target: Target::Manifest {
                    digest: &row.digest,
                    media_type: row.media_type.as_str(),
                    size: row.size,
                    tag,
                    references: &[],
                },
            },
        );
    }

    /// A blob was pulled.
    pub fn tell_blob_pull(
        &self,
        by: &RequestOrigin,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) {
        if let (Some(subscribers), Some(by)) = (&self.subscribers, by) {
            let happened = blob_event(Action::Pull, repository, digest, size, None);
            subscribers.pulled(by, &happened);
        }
    }

    /// Notes what happened beside pushes and deletions; `by` is nobody when no request did it. What
    /// cannot be noted has happened all the same, and is in the log.
    pub async fn note(&self, by: &RequestOrigin, noted: &[Noted]) {
        let Some(subscribers) = &self.subscribers else {
            return;
        };
        let nobody = Origin::default();
        let notices = subscribers.noted(by.as_deref().unwrap_or(&nobody), noted);
        if notices.is_empty() {
            return;
        }
        match self.meta.note(notices).await {
            Ok(()) => self.wake_subscribers(),
            Err(e) => tracing::error!(error = %e, ?noted, "something could not be noted"),
        }
    }

    /// What happened lately, newest first.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn activity(&self, query: &ActivityQuery) -> Result<Vec<Happening>, ServiceError> {
        Ok(self.meta.activity(query).await?)
    }

    /// The `n` oldest events that wait for a webhook.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn queued_events(
        &self,
        webhook: &str,
        n: u32,
    ) -> Result<Vec<QueuedEvent>, ServiceError> {
        Ok(self.meta.queued_events(webhook, n).await?)
    }

    /// Forgets a webhook's events up to number `last`.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn forget_events(&self, webhook: &str, last: i64) -> Result<(), ServiceError> {
        self.meta.forget_events(webhook, last).await?;
        Ok(())
    }

    /// Drops a webhook's oldest events so that no more than `backlog` wait; how many went.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn trim_events(&self, webhook: &str, backlog: u32) -> Result<u64, ServiceError> {
        match self.meta.surplus_events(webhook, backlog).await? {
            None => Ok(0),
            Some(last) => Ok(self.meta.forget_events(webhook, last).await?),
        }
    }

    /// How many events wait on disk, by webhook.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn waiting_events(&self) -> Result<Vec<(String, u64)>, ServiceError> {
        Ok(self.meta.waiting_events().await?)
    }
}

/// What happened to a blob that is there.
pub(super) fn blob_event<'a>(
    action: Action,
    repository: &'a RepositoryName,
    digest: &'a Digest,
    size: u64,
    from: Option<&'a RepositoryName>,
) -> Happened<'a> {
    Happened {
        action,
        repository: repository.as_str(),
        target: Target::Blob {
            digest,
            size,
            from: from.map(RepositoryName::as_str),
        },
    }
}
