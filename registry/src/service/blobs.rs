//! Blobs as a repository shows them.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use oci::Digest;

use super::events::blob_event;
use super::{Registry, ServiceError, key};
use crate::events::{Action, Happened, RequestOrigin, Target};
use crate::name::{RepositoryName, UploadId};
use crate::sync::blocking;

/// Blobs up to this size are served from memory once read.
const SMALL: u64 = 32 << 10;
/// What a cache entry weighs beside its content.
const ENTRY_WEIGHT: usize = 256;

/// A blob that a repository shows.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes, when it is small.
    bytes: Option<Bytes>,
}

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

    /// Takes a blob out of `repository`. Other repositories keep it; its file goes when nobody
    /// shows it any more and garbage is collected.
    ///
    /// # Errors
    /// [`ServiceError::BlobUnknown`].
    pub async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &RequestOrigin,
    ) -> Result<(), ServiceError> {
        let (cache, key) = (
            Arc::clone(&self.blob_cache),
            key(repository.as_str(), digest),
        );
        let notices = self.notices(
            by,
            &[Happened {
                action: Action::Delete,
                repository: repository.as_str(),
                target: Target::Gone(digest),
            }],
        );
        let gone = self
            .meta
            .unlink_blob(repository, digest, notices, move || cache.forget(&key))
            .await?;
        self.wake_subscribers();
        if gone {
            Ok(())
        } else {
            Err(ServiceError::BlobUnknown(digest.clone()))
        }
    }

    /// Shows a blob whose file is durable; `id` is what was promised room for it, if anything.
    pub(super) async fn show_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
        id: UploadId,
        by: &RequestOrigin,
    ) -> Result<(), ServiceError> {
        let (cache, key) = (
            Arc::clone(&self.blob_cache),
            key(repository.as_str(), digest),
        );
        let admit = self.admit(repository, id);
        let pushed = blob_event(Action::Push, repository, digest, size, None);
        let notices = self.notices(by, &[pushed]);
        let effect = move || cache.forget(&key);
        self.meta
            .link_blob(repository, digest, size, admit, notices, effect)
            .await??;
        self.wake_subscribers();
        Ok(())
    }

    /// Shows in `to` a blob that `from` shows; false when `from` does not.
    ///
    /// # Errors
    /// [`ServiceError::Quota`], [`ServiceError::Meta`].
    pub async fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
        by: &RequestOrigin,
    ) -> Result<bool, ServiceError> {
        let (cache, key) = (Arc::clone(&self.blob_cache), key(to.as_str(), digest));
        let admit = self.admit(to, UploadId::random());
        let (source, target, blob) = (from.clone(), to.clone(), digest.clone());
        let notices = self.notices_later(by);
        let notices = move |size| {
            let from = Some(&source);
            notices(&[blob_event(Action::Mount, &target, &blob, size, from)])
        };
        let effect = move || cache.forget(&key);
        let mounted = self
            .meta
            .mount_blob(from, to, digest, admit, notices, effect)
            .await??;
        self.wake_subscribers();
        Ok(mounted.is_some())
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
