//! Garbage collection while serving.
//!
//! A blob belongs to a repository for as long as one of its manifests needs it, and for a grace
//! period after it was pushed, mounted or asked for: that is how long the manifest that needs it
//! may take to come. Nothing is read-only meanwhile: every removal is a short transaction that
//! checks again, and a file goes only while nobody can bring the same one. At the end, files that
//! no row knows are swept.
//!
//! It goes through everything in slices (see [`Collection`]), and stops between two of them when
//! the registry is about to close. The next one finds what is left.

use std::sync::Arc;
use std::time::Instant;

use super::collected::{CollectOptions, Collected};
use super::pace::Pace;
use crate::clock::now;
use crate::meta::{Collection, StaleLink, UnusedBlob};
use crate::service::error::ServiceError;
use crate::service::state::{Registry, key};

/// One collection under way.
#[derive(Debug)]
pub(super) struct Run<'r> {
    pub(super) registry: &'r Registry,
    pub(super) books: Collection<'r>,
    pub(super) options: CollectOptions,
    /// What is older may go.
    pub(super) cutoff: i64,
    pub(super) collected: Collected,
    looking: Pace,
    changing: Pace,
}

impl Registry {
    /// Removes what nothing needs. Two collections do not run at once; the second one waits. One
    /// ends early when [`Registry::stop_collecting`] is called.
    ///
    /// # Errors
    /// [`ServiceError`]; what went until then is gone.
    pub async fn collect(&self, options: CollectOptions) -> Result<Collected, ServiceError> {
        let Some(_alone) = self.stop.unless(self.collecting.lock()).await else {
            return Ok(Collected {
                stopped: true,
                ..Collected::default()
            });
        };
        let mut run = Run::begin(self, options).await?;
        run.retain().await?;
        run.links().await?;
        run.blobs().await?;
        run.sweep().await?;
        run.empty().await?;
        let mut collected = run.collected;
        // Whatever the slices were.
        for list in [
            &mut collected.tags,
            &mut collected.manifests,
            &mut collected.links,
        ] {
            list.sort_unstable();
        }
        Ok(collected)
    }

    /// Ends collections, the one under way and all that come: the registry is about to close.
    pub fn stop_collecting(&self) {
        self.stop.tell();
    }
}

impl<'r> Run<'r> {
    /// Has everything that it needs, and took nothing yet.
    pub(super) async fn begin(
        registry: &'r Registry,
        options: CollectOptions,
    ) -> Result<Self, ServiceError> {
        let grace = i64::try_from(options.grace.as_secs()).unwrap_or(i64::MAX);
        registry.flush_pulls().await?;
        registry.beat().await?;
        if !options.dry_run {
            registry.end_removals().await?;
        }
        Ok(Self {
            registry,
            books: registry.meta.collection(options.dry_run).await?,
            options,
            // A time in whole seconds is over when its second is.
            cutoff: now().saturating_add(1).saturating_sub(grace),
            collected: Collected::default(),
            looking: Pace::new(),
            changing: Pace::new(),
        })
    }
}

impl Run<'_> {
    /// Whether to stop here.
    pub(super) fn stopped(&mut self) -> bool {
        self.collected.stopped |= self.registry.stop.is_told();
        self.collected.stopped
    }

    /// Rows to look at in the next query.
    pub(super) fn look_at(&self) -> u32 {
        self.looking.rows()
    }

    /// So many rows were looked at since `begun`.
    pub(super) fn looked(&mut self, rows: usize, begun: Instant) {
        self.looking.took(rows, begun.elapsed());
    }

    /// Rows to change in the next transaction.
    pub(super) fn change(&self) -> usize {
        self.changing.rows() as usize
    }

    /// So many rows were changed, and that took so long.
    pub(super) fn changed(&mut self, rows: usize, time: std::time::Duration) {
        self.changing.took(rows, time);
    }

    async fn links(&mut self) -> Result<(), ServiceError> {
        let mut after = Some((0, 0));
        while let Some(from) = after
            && !self.stopped()
        {
            let (n, begun) = (self.look_at(), Instant::now());
            let slice = self.books.stale_links(self.cutoff, from, n).await?;
            if slice.next.is_some() {
                self.looked(n as usize, begun);
            }
            after = slice.next;
            let mut rest = slice.found;
            while !rest.is_empty() && !self.stopped() {
                let later = rest.split_off(rest.len().min(self.change()));
                self.remove_links(rest).await?;
                rest = later;
            }
        }
        Ok(())
    }

    async fn remove_links(&mut self, mut links: Vec<StaleLink>) -> Result<(), ServiceError> {
        let condemned = self
            .registry
            .leases
            .condemn(links.iter().map(|l| key(&l.repository, &l.digest)));
        links.retain(|l| condemned.contains(&key(&l.repository, &l.digest)));
        let keys: Vec<_> = links.iter().map(|link| link.key).collect();
        let count = keys.len();
        if self.options.dry_run {
            let listed = condemned.keys().iter().cloned();
            self.collected.links.extend(listed);
        }
        let cache = Arc::clone(&self.registry.blob_cache);
        let (gone, time) = self
            .books
            .remove_links(keys, self.cutoff, move || {
                // Moved in here: only now may these be leased again, and found missing.
                for key in condemned.keys() {
                    cache.forget(key);
                }
            })
            .await?;
        self.changed(count, time);
        self.collected.link_count += gone;
        Ok(())
    }

    async fn blobs(&mut self) -> Result<(), ServiceError> {
        let mut after = Some(String::new());
        while let Some(from) = after.take()
            && !self.stopped()
        {
            let (n, begun) = (self.look_at(), Instant::now());
            let slice = self.books.unused_blobs(from, n).await?;
            if slice.next.is_some() {
                self.looked(n as usize, begun);
            }
            after = slice.next;
            // Those of one directory share a lock.
            let same = |a: &UnusedBlob, b: &UnusedBlob| a.digest.hex()[..2] == b.digest.hex()[..2];
            for directory in slice.found.chunk_by(same) {
                let mut rest = directory;
                while !rest.is_empty() && !self.stopped() {
                    let some;
                    (some, rest) = rest.split_at(rest.len().min(self.change()));
                    self.remove_blobs(some).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes away blobs of one directory.
    async fn remove_blobs(&mut self, blobs: &[UnusedBlob]) -> Result<(), ServiceError> {
        let Some(first) = blobs.first() else {
            return Ok(());
        };
        let mut gone: Vec<&UnusedBlob> = blobs.iter().collect();
        if !self.options.dry_run {
            let _leaving = self.registry.blobs.leaving(&first.digest).await;
            let ids = blobs.iter().map(|blob| blob.id).collect();
            let (removed, mut time) = self.books.remove_blobs(ids).await?;
            gone.retain(|blob| removed.contains(&blob.id));
            let digests: Vec<_> = gone.iter().map(|blob| blob.digest.clone()).collect();
            let begun = Instant::now();
            self.registry.blobs.remove(digests.clone()).await?;
            self.registry.meta.left(&digests).await?;
            time += begun.elapsed();
            self.changed(blobs.len(), time);
        }
        self.collected.blob_count += gone.len() as u64;
        self.collected.bytes += gone.iter().map(|blob| blob.size).sum::<u64>();
        Ok(())
    }

    /// Rows of what is gone: blobs that only their manifests remembered, and repositories.
    async fn empty(&mut self) -> Result<(), ServiceError> {
        let mut after = Some(0);
        while let Some(from) = after
            && !self.options.dry_run
            && !self.stopped()
        {
            after = self.books.forget_blobs(from, self.changing.rows()).await?;
        }
        let mut after = Some(0);
        while let Some(from) = after
            && !self.stopped()
        {
            let (n, begun) = (self.look_at(), Instant::now());
            let slice = self.books.empty_repositories(self.cutoff, from, n).await?;
            if slice.next.is_some() {
                self.looked(n as usize, begun);
            }
            after = slice.next;
            if self.options.dry_run {
                self.collected.repository_count += slice.found.len() as u64;
                continue;
            }
            let mut rest = slice.found;
            while !rest.is_empty() && !self.stopped() {
                let later = rest.split_off(rest.len().min(self.change()));
                let count = rest.len();
                let (gone, time) = self.books.remove_repositories(rest).await?;
                self.changed(count, time);
                self.collected.repository_count += gone;
                rest = later;
            }
        }
        Ok(())
    }
}
