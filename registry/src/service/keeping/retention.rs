//! Tags and manifests that go by rule.

use std::sync::Arc;
use std::time::Instant;

use super::collect::Run;
use super::images::Images;
use super::ruled::Ruled;
use crate::clock::now;
use crate::meta::Expired;
use crate::policy::{TagAge, seconds};
use crate::service::error::ServiceError;
use crate::service::state::key;

impl Run<'_> {
    /// Lets tags and manifests go that no rule keeps.
    pub(super) async fn retain(&mut self) -> Result<(), ServiceError> {
        let policy = self.registry.policy();
        if policy.retention.is_empty() {
            return Ok(());
        }
        let mut after = String::new();
        while !self.stopped() {
            let page = self.books.repositories(after, self.look_at()).await?;
            let Some((_, last)) = page.last() else {
                break;
            };
            after = last.clone();
            for (id, name) in page {
                let Some(rule) = policy.retention(&name).cloned() else {
                    continue;
                };
                if let Ok(name) = name.parse() {
                    let policy = Arc::clone(&policy);
                    let ruled = Arc::new(Ruled {
                        id,
                        name,
                        rule,
                        policy,
                    });
                    self.retain_in(&ruled).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn retain_in(&mut self, ruled: &Arc<Ruled>) -> Result<(), ServiceError> {
        let tags = self.tags_of(ruled).await?;
        let groups = self.expired(ruled, &tags).await?;
        self.expire_tags(ruled, groups).await?;
        if let Some(after) = ruled.rule.delete_untagged_after {
            let cutoff = now().saturating_add(1).saturating_sub(seconds(after));
            self.expire_untagged(ruled, cutoff).await?;
        }
        Ok(())
    }

    async fn tags_of(&mut self, ruled: &Ruled) -> Result<Vec<TagAge>, ServiceError> {
        let mut tags: Vec<TagAge> = Vec::new();
        while !self.stopped() {
            let after = tags.last().map(|tag| tag.name.clone()).unwrap_or_default();
            let (n, begun) = (self.look_at(), Instant::now());
            let page = self.books.tag_ages(ruled.id, after, n).await?;
            let count = page.len();
            self.looked(count, begun);
            tags.extend(page);
            if count < n as usize {
                break;
            }
        }
        Ok(tags)
    }

    /// The tags that go, in groups that go together.
    async fn expired<'t>(
        &mut self,
        ruled: &Ruled,
        tags: &'t [TagAge],
    ) -> Result<Vec<Vec<&'t TagAge>>, ServiceError> {
        let images = Images::among(tags);
        let expired = ruled.rule.expired(&images.own, now());
        let mut groups: Vec<Vec<&TagAge>> = expired
            .into_iter()
            .filter(|tag| !ruled.keeps(&tag.name))
            .map(|tag| vec![tag])
            .collect();
        if !images.belonging.is_empty() {
            self.companions(ruled, &images, &mut groups).await?;
        }
        Ok(groups)
    }

    async fn expire_tags(
        &mut self,
        ruled: &Ruled,
        groups: Vec<Vec<&TagAge>>,
    ) -> Result<(), ServiceError> {
        let mut groups = groups.into_iter().peekable();
        while groups.peek().is_some() && !self.stopped() {
            let (mut some, mut count) = (Vec::new(), 0);
            while count < self.change()
                && let Some(group) = groups.next()
            {
                count += group.len();
                let push = |tag: &TagAge| (tag.name.clone(), tag.sequence);
                some.push(group.into_iter().map(push).collect());
            }
            let (cache, name) = (
                Arc::clone(&self.registry.manifest_cache),
                ruled.name.clone(),
            );
            let (gone, time) = self
                .books
                .expire_tags(ruled.id, some, move |gone| {
                    for tag in gone {
                        cache.forget(&key(name.as_str(), tag));
                    }
                })
                .await?;
            self.changed(count, time);
            self.took_tags(ruled, gone);
        }
        Ok(())
    }

    fn took_tags(&mut self, ruled: &Ruled, gone: Vec<String>) {
        let named = gone.into_iter().map(|tag| format!("{}:{tag}", ruled.name));
        self.collected.tags.extend(named);
    }

    /// What an index kept goes after the index, what referred to it likewise: after one look at all
    /// manifests, only those that may have been freed are looked at again.
    async fn expire_untagged(
        &mut self,
        ruled: &Arc<Ruled>,
        cutoff: i64,
    ) -> Result<(), ServiceError> {
        let mut freed = Vec::new();
        let mut after = Some(String::new());
        while let Some(from) = after.take()
            && !self.stopped()
        {
            let (n, begun) = (self.look_at(), Instant::now());
            let slice = self.books.untagged(ruled.id, cutoff, from, n).await?;
            if slice.next.is_some() {
                self.looked(n as usize, begun);
            }
            after = slice.next;
            self.expire_manifests(ruled, cutoff, slice.found, &mut freed)
                .await?;
        }
        while !freed.is_empty() && !self.stopped() {
            let mut candidates = std::mem::take(&mut freed);
            // Several may have let go of the same one.
            candidates.sort_unstable();
            candidates.dedup();
            self.expire_manifests(ruled, cutoff, candidates, &mut freed)
                .await?;
        }
        Ok(())
    }

    async fn expire_manifests(
        &mut self,
        ruled: &Arc<Ruled>,
        cutoff: i64,
        mut rest: Vec<i64>,
        freed: &mut Vec<i64>,
    ) -> Result<(), ServiceError> {
        while !rest.is_empty() && !self.stopped() {
            let later = rest.split_off(rest.len().min(self.change()));
            let count = rest.len();
            let (cache, name) = (
                Arc::clone(&self.registry.manifest_cache),
                ruled.name.clone(),
            );
            let keeping = Arc::clone(ruled);
            let (gone, time) = self
                .books
                .expire_manifests(
                    ruled.id,
                    rest,
                    cutoff,
                    move |tag| keeping.keeps(tag),
                    move |gone: &Expired| {
                        for gone in gone.manifests.iter().chain(&gone.tags) {
                            cache.forget(&key(name.as_str(), gone));
                        }
                    },
                )
                .await?;
            self.changed(count, time);
            let named = gone.manifests.into_iter();
            self.collected
                .manifests
                .extend(named.map(|digest| format!("{}@{digest}", ruled.name)));
            self.took_tags(ruled, gone.tags);
            freed.extend(gone.freed);
            rest = later;
        }
        Ok(())
    }
}
