//! Tags and manifests that go by rule.

use std::sync::Arc;

use super::collected::Collected;
use crate::clock::now;
use crate::name::RepositoryName;
use crate::policy::seconds;
use crate::service::error::ServiceError;
use crate::service::reading::MAX_PAGE;
use crate::service::state::{Registry, key};

impl Registry {
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
