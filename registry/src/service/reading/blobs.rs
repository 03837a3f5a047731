//! Blobs as a repository shows them.

use std::sync::Arc;

use bytes::Bytes;
use oci::Digest;

use crate::clock::now;
use crate::name::RepositoryName;
use crate::service::error::ServiceError;
use crate::service::state::{Blob, Registry, key};
use crate::storage::Served;

/// Blobs up to this size are served from memory once read.
const SMALL: u64 = 32 << 10;
/// What a cache entry weighs beside its content.
const ENTRY_WEIGHT: usize = 256;

/// For how many seconds a link is as good as one that was just made.
const FRESH: i64 = 60;

/// A blob's bytes.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// Where it is, from its beginning to its end.
    Stored(Served),
}

impl Registry {
    /// A blob that `repository` shows.
    ///
    /// # Errors
    /// [`ServiceError::BlobUnknown`].
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Arc<Blob>, ServiceError> {
        let shared = self.meta.is_shared();
        // Where other processes change what is shown, only content is kept in memory.
        let key = match shared {
            true => digest.to_string(),
            false => key(repository.as_str(), digest),
        };
        if !shared && let Some(blob) = self.blob_cache.get(&key) {
            return Ok(blob);
        }
        let stamp = self.blob_cache.stamp();
        let size = self
            .meta
            .blob_size(repository, digest)
            .await?
            .ok_or_else(|| ServiceError::BlobUnknown(digest.clone()))?;
        if shared && let Some(blob) = self.blob_cache.get(&key) {
            return Ok(blob);
        }
        let bytes = if size <= SMALL {
            Some(
                self.blobs
                    .read(digest)
                    .await?
                    .ok_or_else(|| ServiceError::BlobUnknown(digest.clone()))?,
            )
        } else {
            None
        };
        let weight = key.len() + ENTRY_WEIGHT + bytes.as_ref().map_or(0, Bytes::len);
        let blob = Arc::new(Blob {
            digest: digest.clone(),
            size,
            bytes,
        });
        self.blob_cache.fill(stamp, &key, Arc::clone(&blob), weight);
        Ok(blob)
    }

    /// Whether `repository` shows a blob, asked by a client that will not push it if so: the blob
    /// is kept for as long as a push may take, even when nothing refers to it yet.
    ///
    /// # Errors
    /// [`ServiceError::BlobUnknown`].
    pub async fn lease_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Arc<Blob>, ServiceError> {
        if self.meta.is_shared() {
            let before = now() - FRESH;
            if !self.meta.keep_link(repository, digest, before).await? {
                return Err(ServiceError::BlobUnknown(digest.clone()));
            }
            return self.blob(repository, digest).await;
        }
        let claim = self
            .leases
            .claim(&key(repository.as_str(), digest))
            .ok_or_else(|| ServiceError::BlobUnknown(digest.clone()))?;
        let blob = self.blob(repository, digest).await?;
        claim.keep();
        Ok(blob)
    }

    /// The bytes of a blob.
    ///
    /// # Errors
    /// [`ServiceError::BlobUnknown`] when its file is gone, [`ServiceError::Storage`].
    pub async fn content(&self, blob: &Blob) -> Result<Content, ServiceError> {
        if let Some(bytes) = &blob.bytes {
            return Ok(Content::Bytes(bytes.clone()));
        }
        let file = self.blobs.serve(&blob.digest).await?;
        file.map(Content::Stored).ok_or_else(|| lost(blob))
    }

    /// A URL where a client may read a blob by itself (`storage.redirect`); none where it is here,
    /// or in memory.
    ///
    /// # Errors
    /// [`ServiceError::Storage`].
    pub async fn elsewhere(&self, blob: &Blob) -> Result<Option<String>, ServiceError> {
        if blob.bytes.is_some() {
            return Ok(None);
        }
        Ok(self.blobs.elsewhere(&blob.digest).await?)
    }

    /// The repositories that show a blob, for a mount that does not say where from.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn repositories_with(
        &self,
        digest: &Digest,
    ) -> Result<Vec<RepositoryName>, ServiceError> {
        let names = self.meta.blob_anywhere(digest).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

/// A blob that is known and not there.
pub fn lost(blob: &Blob) -> ServiceError {
    tracing::error!(digest = %blob.digest, "a known blob is missing where blobs are");
    ServiceError::BlobUnknown(blob.digest.clone())
}
