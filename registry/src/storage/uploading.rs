//! Upload sessions, wherever their bytes go.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use oci::{Algorithm, Digest};

use super::error::{StorageError, UploadError};
use super::objects::ObjectUploads;
use super::sessions::Upload;
use super::stored::Blobs;
use super::uploads::{ChunkRange, FileUploads, Finished, Unfinished};
use crate::name::{RepositoryName, UploadId};
use crate::sync::blocking;

/// All upload sessions.
#[derive(Clone, Debug)]
pub struct Uploads(To);

#[derive(Clone, Debug)]
enum To {
    Files(FileUploads),
    Objects(ObjectUploads),
}

impl Uploads {
    /// Those that belong to these blobs: in `data_dir/uploads`, or in the object store.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub async fn of(blobs: &Blobs, data_dir: &Path) -> Result<Self, StorageError> {
        if let Some(store) = blobs.store() {
            return Ok(Self(To::Objects(ObjectUploads::new(store))));
        }
        let dir = data_dir.to_owned();
        let files = blocking(move || FileUploads::open(&dir)).await?;
        Ok(Self(To::Files(files)))
    }

    /// How many sessions are in memory.
    pub fn len(&self) -> usize {
        match &self.0 {
            To::Files(files) => files.len(),
            To::Objects(objects) => objects.len(),
        }
    }

    /// Whether there is no such session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins a session; `named` when a client will be told of it, and may go on with it.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn create(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
        named: bool,
    ) -> Result<Arc<Upload>, StorageError> {
        match &self.0 {
            To::Files(files) => files.create(repository, algorithm).await,
            To::Objects(objects) => objects.create(repository, algorithm, named).await,
        }
    }

    /// The same where other processes go on with sessions too.
    pub fn share(self) -> Self {
        match self.0 {
            To::Files(files) => Self(To::Files(files)),
            To::Objects(objects) => Self(To::Objects(objects.share())),
        }
    }

    /// The session `id`, when it belongs to `repository`.
    ///
    /// # Errors
    /// [`UploadError::Unknown`], [`UploadError::Storage`].
    pub async fn get(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Arc<Upload>, UploadError> {
        match &self.0 {
            To::Files(files) => files.get(repository, id).await,
            To::Objects(objects) => objects.get(repository, id).await,
        }
    }

    /// Appends a chunk; how many bytes there are now.
    ///
    /// The caller must drive this to its end: run it as a task of its own.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn append<S, E>(
        &self,
        upload: &Upload,
        body: S,
        range: Option<ChunkRange>,
    ) -> Result<u64, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        match &self.0 {
            To::Files(files) => files.append(upload, body, range).await,
            To::Objects(objects) => objects.append(upload, body, range).await,
        }
    }

    /// Verifies a complete upload and gives its content the name of its digest: durably, or with
    /// its content where it is small. An upload that is not what its digest says is gone.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn finish(
        &self,
        upload: &Upload,
        digest: &Digest,
        blobs: &Blobs,
    ) -> Result<Finished, UploadError> {
        let local = blobs.local();
        match &self.0 {
            To::Files(files) => files.finish(upload, digest, local).await,
            To::Objects(objects) => objects.finish(upload, digest, local).await,
        }
    }

    /// Gives a session up.
    ///
    /// # Errors
    /// [`UploadError::Busy`], [`UploadError::Unknown`], [`UploadError::Storage`].
    pub async fn cancel(&self, upload: &Upload) -> Result<(), UploadError> {
        match &self.0 {
            To::Files(files) => files.cancel(upload).await,
            To::Objects(objects) => objects.cancel(upload).await,
        }
    }

    /// Every upload that is not finished.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, StorageError> {
        match &self.0 {
            To::Files(files) => {
                let files = files.clone();
                blocking(move || files.unfinished()).await
            }
            To::Objects(objects) => objects.unfinished().await,
        }
    }

    /// Removes sessions that nobody has written to for `age`; which ones.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn expire(&self, age: Duration) -> Result<Vec<UploadId>, StorageError> {
        match &self.0 {
            To::Files(files) => files.expire(age).await,
            To::Objects(objects) => objects.expire(age).await,
        }
    }
}
