//! Tags and manifests that go by rule.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use oci::Digest;

use super::{Collected, MAX_PAGE, Registry, ServiceError, key};
use crate::clock::now;
use crate::name::RepositoryName;
use crate::policy::seconds;
use crate::sync::lock;

/// Pulls that wait to be noted; more are noted at the next pull of the same manifest.
const MAX_PULLS: usize = 10_000;

/// Manifests pulled since that was last noted: kept in memory, since a pull must not cost a write.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<HashMap<(RepositoryName, Digest), i64>>);

impl Pulls {
    pub(super) fn note(&self, repository: &RepositoryName, digest: &Digest) {
        let mut pulls = lock(&self.0);
        let key = (repository.clone(), digest.clone());
        if pulls.len() < MAX_PULLS || pulls.contains_key(&key) {
            pulls.insert(key, now());
        }
    }

    fn take(&self) -> Vec<(RepositoryName, Digest, i64)> {
        let mut pulls = lock(&self.0);
        std::mem::take(&mut *pulls)
            .into_iter()
            .map(|((repository, digest), at)| (repository, digest, at))
            .collect()
    }
}

impl Registry {
    /// Writes down when manifests were last pulled.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn flush_pulls(&self) -> Result<(), ServiceError> {
        let pulls = self.pulls.take();
        if !pulls.is_empty() {
            self.meta.mark_pulled(pulls).await?;
        }
        Ok(())
    }

    /// Lets tags and manifests go that no rule keeps.
    pub(super) async fn retain(
        &self,
        dry_run: bool,
        collected: &mut Collected,
    ) -> Result<(), ServiceError> {
        if self.policy.retention.is_empty() {
            return Ok(());
        }
        self.flush_pulls().await?;
        let mut last = String::new();
        loop {
            let page = self.meta.repositories(MAX_PAGE, &last).await?;
            for name in &page.names {
                if let Ok(repository) = name.parse() {
                    self.retain_in(&repository, dry_run, collected).await?;
                }
            }
            match page.names.last() {
                Some(end) if page.more => last.clone_from(end),
                _ => return Ok(()),
            }
        }
    }

    async fn retain_in(
        &self,
        repository: &RepositoryName,
        dry_run: bool,
        collected: &mut Collected,
    ) -> Result<(), ServiceError> {
        let Some(rule) = self.policy.retention(repository.as_str()) else {
            return Ok(());
        };
        let tags = self.meta.tag_ages(repository).await?;
        let expired: Vec<_> = rule
            .expired(&tags, now())
            .into_iter()
            .filter(|tag| !self.policy.is_immutable(repository.as_str(), &tag.name))
            .cloned()
            .collect();
        let gone = if dry_run {
            expired.into_iter().map(|tag| tag.name).collect()
        } else if expired.is_empty() {
            Vec::new()
        } else {
            let (cache, name) = (Arc::clone(&self.manifest_cache), repository.clone());
            self.meta
                .expire_tags(repository, expired, move |gone| {
                    for tag in gone {
                        cache.forget(&key(name.as_str(), tag));
                    }
                })
                .await?
        };
        collected
            .tags
            .extend(gone.into_iter().map(|tag| format!("{repository}:{tag}")));
        let Some(after) = rule.delete_untagged_after else {
            return Ok(());
        };
        let cutoff = now().saturating_add(1).saturating_sub(seconds(after));
        loop {
            let gone = if dry_run {
                self.meta.untagged(repository, cutoff).await?
            } else {
                let (cache, name) = (Arc::clone(&self.manifest_cache), repository.clone());
                self.meta
                    .expire_untagged(repository, cutoff, move |gone| {
                        for digest in gone {
                            cache.forget(&key(name.as_str(), digest));
                        }
                    })
                    .await?
            };
            let done = dry_run || gone.is_empty();
            collected.manifests.extend(
                gone.into_iter()
                    .map(|digest| format!("{repository}@{digest}")),
            );
            // What an index kept goes after the index; what referred to it likewise.
            if done {
                return Ok(());
            }
        }
    }
}
