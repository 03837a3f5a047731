//! Uploads: begun, filled, finished, given up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use oci::{Algorithm, Digest};

use super::quota::Intake;
use crate::events::RequestOrigin;
use crate::limits::Client;
use crate::meta::NewBlob;
use crate::name::{RepositoryName, UploadId};
use crate::service::error::ServiceError;
use crate::service::state::{Registry, UploadLimits};
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
        Ok(self.uploads.create(repository, algorithm, true).await?)
    }

    /// The same for a client, which may have so many; `named` when it will be told of it, and may
    /// go on with it.
    ///
    /// # Errors
    /// [`ServiceError::TooManyUploads`], [`ServiceError::Storage`].
    pub async fn start_upload_of(
        &self,
        client: Client,
        limits: UploadLimits,
        repository: &RepositoryName,
        algorithm: Algorithm,
        named: bool,
    ) -> Result<Arc<Upload>, ServiceError> {
        let reserved = self.open_uploads.reserve(client, limits);
        let reserved = reserved.ok_or(ServiceError::TooManyUploads)?;
        let upload = self.uploads.create(repository, algorithm, named).await?;
        reserved.made(upload.id());
        Ok(upload)
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

    /// Appends a chunk, for which there must be room. It runs to its end even when the request is
    /// dropped, so that what came is kept and the client can go on from there.
    ///
    /// # Errors
    /// [`UploadError`]; [`ServiceError::Quota`], and the upload is gone then.
    pub async fn append<S, E>(
        self: &Arc<Self>,
        upload: &Arc<Upload>,
        body: S,
        range: Option<ChunkRange>,
        intake: Intake<'_>,
    ) -> Result<u64, ServiceError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let (this, upload) = (Arc::clone(self), Arc::clone(upload));
        let (length, digest) = (intake.length, intake.digest.cloned());
        tokio::spawn(async move {
            match &this.ledger {
                None => Ok(this.uploads.append(&upload, body, range).await?),
                Some(ledger) => {
                    this.append_metered(ledger, &upload, body, range, length, digest.as_ref())
                        .await
                }
            }
        })
        .await?
    }

    /// Verifies a complete upload and shows its blob. It runs to its end even when the request is
    /// dropped.
    ///
    /// # Errors
    /// [`ServiceError::DigestMismatch`], [`ServiceError::Quota`], [`UploadError`].
    pub async fn finish_upload(
        self: &Arc<Self>,
        upload: &Arc<Upload>,
        digest: &Digest,
        by: &RequestOrigin,
    ) -> Result<(), ServiceError> {
        let (this, upload, digest) = (Arc::clone(self), Arc::clone(upload), digest.clone());
        let by = by.clone();
        tokio::spawn(async move {
            this.hold_upload(&upload, &digest).await?;
            let announced = this.announce(&digest).await;
            let announced = announced.inspect_err(|_| this.release_upload(upload.id()))?;
            let finished = this.uploads.finish(&upload, &digest, &this.blobs).await;
            let finished = match finished {
                // Another request is writing to it, and keeps what it was promised.
                Err(UploadError::Busy) => return Err(UploadError::Busy.into()),
                Err(UploadError::Digest { actual }) => {
                    this.release_upload(upload.id());
                    return Err(ServiceError::DigestMismatch {
                        expected: digest,
                        actual,
                    });
                }
                finished => finished.inspect_err(|_| this.release_upload(upload.id()))?,
            };
            let blob = NewBlob {
                digest: digest.clone(),
                size: finished.size,
                content: finished.content,
            };
            let shown = this
                .show_blob(upload.repository(), blob, upload.id(), &by)
                .await;
            drop((finished.arriving, announced));
            this.open_uploads.end(upload.id());
            if shown.is_err() {
                this.release_upload(upload.id());
                this.drop_refused(&digest).await;
            }
            this.settle_much().await;
            shown
        })
        .await?
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn cancel_upload(&self, upload: &Upload) -> Result<(), ServiceError> {
        self.uploads.cancel(upload).await?;
        self.release_upload(upload.id());
        Ok(())
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
        self.forget_rested();
        self.blobs.expire_parts(age).await?;
        let expired = self.uploads.expire(age).await?;
        for id in &expired {
            self.release_upload(*id);
        }
        Ok(expired.len())
    }
}
