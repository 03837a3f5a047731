//! Uploads: begun, filled, finished, given up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use oci::{Algorithm, Digest};

use super::{Registry, ServiceError};
use crate::events::By;
use crate::name::{RepositoryName, UploadId};
use crate::storage::{ChunkRange, Upload, UploadError};

impl Registry {
    /// Begins an upload session.
    ///
    /// # Errors
    /// [`ServiceError::Storage`].
    pub async fn start_upload(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<Arc<Upload>, ServiceError> {
        Ok(self.uploads.create(repository, algorithm).await?)
    }

    /// The session `id` of `repository`.
    ///
    /// # Errors
    /// [`UploadError::Unknown`].
    pub async fn upload(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Arc<Upload>, ServiceError> {
        Ok(self.uploads.get(repository, id).await?)
    }

    /// Appends a chunk. It runs to its end even when the request is dropped, so that what came is
    /// kept and the client can go on from there.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn append<S, E>(
        self: &Arc<Self>,
        upload: &Arc<Upload>,
        body: S,
        range: Option<ChunkRange>,
    ) -> Result<u64, ServiceError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let (this, upload) = (Arc::clone(self), Arc::clone(upload));
        let appended =
            tokio::spawn(async move { this.uploads.append(&upload, body, range).await }).await??;
        Ok(appended)
    }

    /// Verifies a complete upload and shows its blob. It runs to its end even when the request is
    /// dropped.
    ///
    /// # Errors
    /// [`ServiceError::DigestMismatch`], [`UploadError`].
    pub async fn finish_upload(
        self: &Arc<Self>,
        upload: &Arc<Upload>,
        digest: &Digest,
        by: &By,
    ) -> Result<(), ServiceError> {
        let (this, upload, digest) = (Arc::clone(self), Arc::clone(upload), digest.clone());
        let by = by.clone();
        tokio::spawn(async move {
            let _arriving = this.blobs.arriving(&digest).await;
            let finished = this.uploads.finish(&upload, &digest, &this.blobs).await;
            let size = match finished {
                Err(UploadError::Digest { actual }) => {
                    return Err(ServiceError::DigestMismatch {
                        expected: digest,
                        actual,
                    });
                }
                finished => finished?,
            };
            this.show_blob(upload.repository(), &digest, size, &by)
                .await
        })
        .await?
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn cancel_upload(&self, upload: &Upload) -> Result<(), ServiceError> {
        Ok(self.uploads.cancel(upload).await?)
    }

    /// How many sessions are in use.
    pub fn open_uploads(&self) -> u64 {
        self.uploads.len() as u64
    }

    /// Removes sessions that nobody has written to for `age`; how many there were.
    ///
    /// # Errors
    /// [`ServiceError::Storage`].
    pub async fn expire_uploads(&self, age: Duration) -> Result<usize, ServiceError> {
        Ok(self.uploads.expire(age).await?)
    }
}
