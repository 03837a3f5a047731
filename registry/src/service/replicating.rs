//! What replication needs of a registry beside what clients do.

use std::io;
use std::sync::Arc;

use oci::Digest;
use oci::blob::{BlobError, BlobRead, BlobStore, BlobWriter};

use super::error::ServiceError;
use super::state::Registry;
use crate::meta::Meta;
use crate::name::RepositoryName;
use crate::storage::{Blobs, Reading};

impl Registry {
    /// The metadata, for what replication keeps in it.
    pub fn replication(&self) -> &Meta {
        &self.meta
    }

    /// The blobs, to be read by whoever sends them.
    pub fn blob_source(&self) -> Arc<dyn BlobStore> {
        Arc::new(Source(self.blobs.clone()))
    }

    /// The digests of what refers to a manifest.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn referring(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Digest>, ServiceError> {
        const PAGE: u32 = 1000;
        let (mut all, mut last) = (Vec::new(), String::new());
        loop {
            let (found, more) = self
                .meta
                .referrers(repository, subject, None, PAGE, &last)
                .await?;
            all.extend(found.into_iter().map(|referrer| referrer.row.digest));
            match all.last() {
                Some(digest) if more => last = digest.to_string(),
                _ => return Ok(all),
            }
        }
    }
}

/// The registry's blobs, which can only be read.
struct Source(Blobs);

impl Source {
    fn read_only<T>(&self) -> Result<T, BlobError> {
        Err(BlobError::Io {
            what: "change the blobs of a registry".to_owned(),
            cause: io::Error::from(io::ErrorKind::Unsupported),
        })
    }

    fn reading(&self, digest: &Digest) -> Result<Option<Reading>, BlobError> {
        self.0.open_on_thread(digest).map_err(|e| BlobError::Io {
            what: format!("open blob {digest}"),
            cause: io::Error::other(e.to_string()),
        })
    }
}

impl BlobStore for Source {
    fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        Ok(self.reading(digest)?.map(|reading| reading.size()))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobRead>, BlobError> {
        match self.reading(digest)? {
            Some(reading) => Ok(Box::new(reading)),
            None => Err(BlobError::NotFound(digest.clone())),
        }
    }

    fn writer(&self) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.read_only()
    }

    fn remove(&self, _: &Digest) -> Result<(), BlobError> {
        self.read_only()
    }

    fn list(&self) -> Result<Vec<Digest>, BlobError> {
        self.read_only()
    }
}
