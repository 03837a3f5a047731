//! Blobs that come from other registries.

use std::sync::Arc;

use oci::Digest;

use crate::meta::NewBlob;
use crate::name::{RepositoryName, UploadId};
use crate::service::error::ServiceError;
use crate::service::state::Registry;
use crate::storage::{Incoming, Staged};

impl Registry {
    /// A file for a blob that is about to come.
    ///
    /// # Errors
    /// [`ServiceError::Storage`].
    pub async fn incoming(&self, digest: &Digest) -> Result<Incoming, ServiceError> {
        Ok(self.blobs.incoming(digest).await?)
    }

    /// Keeps a blob that came and was verified, shown in `repositories`. It runs to its end even
    /// when the caller goes away.
    ///
    /// # Errors
    /// [`ServiceError::Storage`], [`ServiceError::Quota`], [`ServiceError::Meta`]; where it could
    /// not be shown anywhere nothing is kept.
    pub async fn keep_blob(
        self: &Arc<Self>,
        staged: Staged,
        digest: &Digest,
        repositories: Vec<RepositoryName>,
    ) -> Result<(), ServiceError> {
        let (this, digest) = (Arc::clone(self), digest.clone());
        tokio::spawn(async move {
            let ready = this.blobs.ready(staged, &digest).await?;
            let announced = this.announce(&digest).await?;
            let arriving = this.blobs.arriving(&digest).await;
            let size = this.blobs.adopt(ready, &digest).await?;
            let mut failed = None;
            for repository in &repositories {
                let id = UploadId::random();
                let blob = NewBlob::durable(&digest, size);
                if let Err(e) = this.show_blob(repository, blob, id, &None).await {
                    failed = Some(e);
                }
            }
            drop((arriving, announced));
            match failed {
                None => Ok(()),
                Some(e) => {
                    this.drop_refused(&digest).await;
                    Err(e)
                }
            }
        })
        .await?
    }

    /// Shows in `repository` a blob that is stored for others; false when it is stored nowhere.
    ///
    /// # Errors
    /// [`ServiceError::Quota`], [`ServiceError::Meta`].
    pub async fn show_stored(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, ServiceError> {
        let (this, repository, digest) = (Arc::clone(self), repository.clone(), digest.clone());
        tokio::spawn(async move {
            // Nobody takes the file away between the question and the row.
            let _announced = this.announce(&digest).await?;
            let _arriving = this.blobs.arriving(&digest).await;
            let Some(size) = this.meta.stored_size(&digest).await? else {
                return Ok(false);
            };
            let id = UploadId::random();
            this.show_blob(&repository, NewBlob::durable(&digest, size), id, &None)
                .await?;
            Ok(true)
        })
        .await?
    }

    /// Whether a blob is stored, for whomever.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn is_stored(&self, digest: &Digest) -> Result<bool, ServiceError> {
        Ok(self.meta.is_stored(digest).await?)
    }

    /// Whether there is a repository of that name.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn has_repository(&self, name: &RepositoryName) -> Result<bool, ServiceError> {
        Ok(self.meta.has_repository(name).await?)
    }
}
