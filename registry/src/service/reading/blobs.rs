//! Blobs as a repository shows them.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use oci::Digest;

use crate::name::RepositoryName;
use crate::service::error::ServiceError;
use crate::service::state::{Blob, Registry, key};
use crate::sync::blocking;

/// Blobs up to this size are served from memory once read.
const SMALL: u64 = 32 << 10;
/// What a cache entry weighs beside its content.
const ENTRY_WEIGHT: usize = 256;

/// A blob's bytes.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a file, from its beginning to its end.
    File(File),
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
        let key = key(repository.as_str(), digest);
        if let Some(blob) = self.blob_cache.get(&key) {
            return Ok(blob);
        }
        let stamp = self.blob_cache.stamp();
        let size = self
            .meta
            .blob_size(repository, digest)
            .await?
            .ok_or_else(|| ServiceError::BlobUnknown(digest.clone()))?;
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
        let (files, digest) = (self.blobs.clone(), blob.digest.clone());
        let file = blocking(move || files.open_file(&digest)).await?;
        file.map(Content::File).ok_or_else(|| {
            tracing::error!(digest = %blob.digest, "the file of a known blob is missing");
            ServiceError::BlobUnknown(blob.digest.clone())
        })
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
