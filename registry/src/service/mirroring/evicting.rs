//! What was mirrored and goes again: what nobody pulled for longest first.

use std::sync::Arc;

use crate::clock::now;
use crate::meta::{Dropped, Idle, UnusedBlob};
use crate::service::error::ServiceError;
use crate::service::state::{Registry, key};

/// Manifests looked at in one query.
const SLICE: u32 = 256;

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Manifests.
    pub manifests: u64,
    /// Bytes of files that nobody shows any more.
    pub bytes: u64,
}

impl Registry {
    /// All repositories' names that `wanted` is true of.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn repositories_where(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, ServiceError> {
        let (mut found, mut last) = (Vec::new(), String::new());
        loop {
            let page = self.meta.repositories(1000, &last, "", "~").await?;
            let Some(end) = page.names.last().cloned() else {
                return Ok(found);
            };
            found.extend(page.names.into_iter().filter(|name| wanted(name)));
            if !page.more {
                return Ok(found);
            }
            last = end;
        }
    }

    /// Takes away manifests of these repositories that nobody pulled for `age` seconds.
    ///
    /// # Errors
    /// [`ServiceError`]; what went until then is gone.
    pub async fn evict_older(
        &self,
        repositories: &[String],
        age: i64,
    ) -> Result<Evicted, ServiceError> {
        self.flush_pulls().await?;
        let before = now().saturating_sub(age);
        let mut evicted = Evicted::default();
        loop {
            let idle = self
                .meta
                .idle_manifests(repositories, before, SLICE)
                .await?;
            if idle.is_empty() || self.stop.is_told() {
                return Ok(evicted);
            }
            for manifest in idle {
                self.evict(&manifest, &mut evicted).await?;
            }
        }
    }

    /// Takes away manifests of these repositories, those that nobody pulled for longest first,
    /// until what they show is no more than `limit` bytes.
    ///
    /// # Errors
    /// [`ServiceError`]; what went until then is gone.
    pub async fn evict_down_to(
        &self,
        repositories: &[String],
        limit: u64,
    ) -> Result<Evicted, ServiceError> {
        self.flush_pulls().await?;
        let mut evicted = Evicted::default();
        let mut bytes = self.meta.bytes_of(repositories).await?;
        while bytes > limit && !self.stop.is_told() {
            let idle = self
                .meta
                .idle_manifests(repositories, i64::MAX, SLICE)
                .await?;
            if idle.is_empty() {
                break;
            }
            for manifest in idle {
                if bytes <= limit {
                    break;
                }
                let gone = self.evict(&manifest, &mut evicted).await?;
                bytes = bytes.saturating_sub(gone);
            }
            // What several of them show was counted for each that went.
            bytes = self.meta.bytes_of(repositories).await?;
        }
        Ok(evicted)
    }

    /// One manifest; the bytes that its repository does not show any more.
    async fn evict(&self, idle: &Idle, evicted: &mut Evicted) -> Result<u64, ServiceError> {
        let (manifests, blobs) = (
            Arc::clone(&self.manifest_cache),
            Arc::clone(&self.blob_cache),
        );
        let name = idle.repository.clone();
        let effect = move |dropped: &Dropped| {
            for tag in &dropped.tags {
                manifests.forget(&key(&name, tag));
            }
            if let Some(manifest) = &dropped.manifest {
                manifests.forget(&key(&name, &manifest.digest));
            }
            for blob in &dropped.blobs {
                blobs.forget(&key(&name, &blob.digest));
            }
        };
        let dropped = self.meta.drop_manifest(idle.id, effect).await?;
        evicted.manifests += u64::from(dropped.manifest.is_some());
        let mut gone = 0;
        for blob in dropped.manifest.iter().chain(&dropped.blobs) {
            gone += blob.size;
            evicted.bytes += self.remove_unused(blob).await?;
        }
        Ok(gone)
    }

    /// Removes a blob's file, unless somebody shows it; the bytes that went.
    async fn remove_unused(&self, blob: &UnusedBlob) -> Result<u64, ServiceError> {
        let _leaving = self.blobs.leaving(&blob.digest).await;
        let books = self.meta.collection(false).await?;
        let (removed, _) = books.remove_blobs(vec![blob.id]).await?;
        if removed.is_empty() {
            return Ok(0);
        }
        let gone = vec![blob.digest.clone()];
        self.blobs.remove(gone.clone()).await?;
        self.meta.left(&gone).await?;
        Ok(blob.size)
    }
}

impl std::ops::AddAssign for Evicted {
    fn add_assign(&mut self, other: Self) {
        self.manifests += other.manifests;
        self.bytes += other.bytes;
    }
}
