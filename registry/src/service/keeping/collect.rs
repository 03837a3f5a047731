//! Garbage collection while serving.
//!
//! A blob belongs to a repository for as long as one of its manifests needs it, and for a grace
//! period after it was pushed, mounted or asked for: that is how long the manifest that needs it
//! may take to come. Nothing is read-only meanwhile: every removal is a short transaction that
//! checks again, and a file goes only while nobody can bring the same one. At the end, files that
//! no row knows are swept.

use std::sync::Arc;

use super::collected::{CollectOptions, Collected};
use crate::clock::now;
use crate::service::error::ServiceError;
use crate::service::state::{Registry, key};
use crate::sync::blocking;

/// Links looked at in one transaction.
const BATCH: u32 = 200;

impl Registry {
    /// Removes what nothing needs. Two collections do not run at once; the second one waits.
    ///
    /// # Errors
    /// [`ServiceError`]; what went until then is gone.
    pub async fn collect(&self, options: CollectOptions) -> Result<Collected, ServiceError> {
        let _alone = self.collecting.lock().await;
        let grace = i64::try_from(options.grace.as_secs()).unwrap_or(i64::MAX);
        // A time in whole seconds is over when its second is.
        let cutoff = now().saturating_add(1).saturating_sub(grace);
        let mut collected = Collected::default();
        self.retain(options.dry_run, &mut collected).await?;
        self.collect_links(cutoff, options.dry_run, &mut collected)
            .await?;
        self.collect_blobs(options.dry_run, &mut collected).await?;
        self.sweep(options, &mut collected).await?;
        if !options.dry_run {
            collected.repository_count = self.meta.remove_empty(cutoff).await?;
        }
        Ok(collected)
    }

    async fn collect_links(
        &self,
        cutoff: i64,
        dry_run: bool,
        collected: &mut Collected,
    ) -> Result<(), ServiceError> {
        let mut after = (0, 0);
        loop {
            let mut links = self.meta.stale_links(cutoff, after, BATCH).await?;
            let Some(last) = links.last() else {
                return Ok(());
            };
            after = (last.repository_id, last.blob_id);
            let condemned = self
                .leases
                .condemn(links.iter().map(|l| key(&l.repository, &l.digest)));
            links.retain(|l| condemned.contains(&key(&l.repository, &l.digest)));
            if dry_run {
                collected.link_count += links.len() as u64;
                collected.links.extend(condemned.keys().iter().cloned());
                continue;
            }
            let cache = Arc::clone(&self.blob_cache);
            collected.link_count += self
                .meta
                .remove_links(links, cutoff, move || {
                    // Moved in here: only now may these be leased again, and found missing.
                    for key in condemned.keys() {
                        cache.forget(key);
                    }
                })
                .await?;
        }
    }

    async fn collect_blobs(
        &self,
        dry_run: bool,
        collected: &mut Collected,
    ) -> Result<(), ServiceError> {
        let mut after = 0;
        loop {
            let unused = self.meta.unused_blobs(after, BATCH).await?;
            let Some(last) = unused.last() else {
                return Ok(());
            };
            after = last.id;
            for blob in unused {
                if !dry_run {
                    let _leaving = self.blobs.leaving(&blob.digest).await;
                    if !self.meta.remove_blob(blob.id).await? {
                        continue;
                    }
                    let (files, digest) = (self.blobs.clone(), blob.digest.clone());
                    blocking(move || files.remove(&digest)).await?;
                }
                collected.blob_count += 1;
                collected.bytes += blob.size;
            }
        }
    }
}
