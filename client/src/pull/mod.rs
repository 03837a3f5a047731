//! Blobs from a registry into a blob store (distribution-spec, "Pulling blobs").

mod download;
mod sink;

pub(crate) use download::range_start;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use oci::blob::{BlobError, BlobStore};
use oci::reference::Repository;
use oci::{Descriptor, Digest};
use reqwest::{Method, StatusCode};

use crate::Client;
use crate::call::Call;
use crate::error::Error;
use crate::events::{Events, LayerState};
use crate::http::read_capped;
use crate::resolve::explain_denied;

impl Client {
    /// Brings a blob into `store`, unless it is there. A broken connection is resumed where it
    /// broke; the blob becomes visible only when its digest and size are right. At most
    /// `max_concurrent_downloads` run at once, and one digest is downloaded once however many
    /// want it.
    ///
    /// # Errors
    /// [`Error::PullDenied`], [`Error::Registry`], [`Error::Blob`] for a wrong digest or a full
    /// disk, [`Error::SizeMismatch`], and transport errors once all tries are used up.
    pub async fn pull_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        store: &Arc<dyn BlobStore>,
        events: &dyn Events,
    ) -> Result<(), Error> {
        events.layer(blob, &LayerState::PullingFsLayer);
        let lock = self.blob_lock(&blob.digest);
        let _alone = lock.lock().await;
        if has(store, &blob.digest).await? {
            events.layer(blob, &LayerState::AlreadyExists);
            return Ok(());
        }
        let _permit = self
            .may_download(|| events.layer(blob, &LayerState::Waiting))
            .await?;
        self.download(repository, blob, store, events).await?;
        events.layer(blob, &LayerState::DownloadComplete);
        Ok(())
    }

    /// Brings many blobs in, in parallel. The first failure ends the others.
    ///
    /// # Errors
    /// As [`Client::pull_blob`].
    pub async fn pull_blobs(
        &self,
        repository: &Repository,
        blobs: &[Descriptor],
        store: &Arc<dyn BlobStore>,
        events: &dyn Events,
    ) -> Result<(), Error> {
        let pulls = blobs
            .iter()
            .map(|blob| self.pull_blob(repository, blob, store, events));
        try_join_all(pulls).await.map(drop)
    }

    /// Reads a small blob, such as a config, into memory; its size and digest are verified.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above `limit` bytes, else as [`Client::pull_blob`].
    pub async fn fetch_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, Error> {
        if blob.size > limit {
            return Err(Error::TooLarge {
                what: format!("blob {}", blob.digest),
                limit,
            });
        }
        self.read(repository.domain(), |endpoint| async move {
            let url = endpoint.repository_url(repository, &format!("blobs/{}", blob.digest))?;
            let call = Call::new(Method::GET, url, endpoint.scopes(repository, "pull"));
            let (response, _) = self.send(&endpoint, &call).await?;
            if response.status() != StatusCode::OK {
                return Err(self.refuse(&endpoint, &call, response).await);
            }
            let idle = self.config().idle_timeout;
            let what = call.what();
            let bytes = read_capped(response, blob.size, idle, &what).await?;
            let actual = blob.digest.algorithm().digest(&bytes);
            if actual != blob.digest {
                return Err(Error::DigestMismatch {
                    what,
                    expected: blob.digest.clone(),
                    actual,
                });
            }
            Ok(bytes)
        })
        .await
        .map_err(|e| explain_denied(e, repository))
    }
}

/// Whether a store has a blob, asked on a blocking thread.
async fn has(store: &Arc<dyn BlobStore>, digest: &Digest) -> Result<bool, Error> {
    let store = Arc::clone(store);
    let wanted = digest.clone();
    let size = tokio::task::spawn_blocking(move || store.size(&wanted)).await;
    match size {
        Ok(Ok(size)) => Ok(size.is_some()),
        Ok(Err(cause)) => Err(blob_error(digest, cause)),
        Err(_) => Err(Error::Interrupted("looking a blob up")),
    }
}

pub(crate) fn blob_error(digest: &Digest, cause: BlobError) -> Error {
    Error::Blob {
        what: format!("blob {digest}"),
        cause,
    }
}
