//! Layers from elsewhere into the store, each verified: the blob by its digest, the files by the
//! layer's diff ID.

use std::sync::Arc;

use client::Silent;
use futures_util::future::try_join;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci::blob::{BlobStore, DiskBlobs, Expected};
use oci::{ChainId, Descriptor, DiffId};
use tokio::sync::mpsc;

use super::known::{Place, Remote};
use crate::error::ImageError;
use crate::pull::pull_resolved;
use crate::service::Images;
use crate::unpack::unpack_into;

/// Layers that are fetched while the one below is unpacked.
const AHEAD: usize = 4;

/// One layer that is missing.
struct Missing {
    chain: ChainId,
    parent: Option<ChainId>,
    diff_id: DiffId,
}

impl Images {
    /// Fetches and unpacks whatever is missing of a stack, bottom first, so that it can be worked
    /// on. An image that it stands on becomes one of the store. `false` when the stack is known
    /// nowhere.
    ///
    /// # Errors
    /// [`ImageError::Elsewhere`] when a layer cannot be had or is not what it should be; for the
    /// layers of an image as a pull.
    pub async fn bring(&self, chain: &ChainId) -> Result<bool, ImageError> {
        let Some(missing) = self.missing(chain).await? else {
            return Ok(false);
        };
        let fetches = missing.into_iter().map(|layer| async move {
            let blob = self.fetched(&layer.diff_id).await?;
            Ok::<_, ImageError>((layer, blob))
        });
        // Without bound: what is fetched must not stand still with the store's lock in its hands.
        let (there, mut arriving) = mpsc::unbounded_channel();
        let fetching = async move {
            let mut fetched = stream::iter(fetches).buffered(AHEAD);
            while let Some(layer) = fetched.try_next().await? {
                let _ = there.send(layer);
            }
            Ok(())
        };
        let unpacking = async {
            while let Some((layer, blob)) = arriving.recv().await {
                self.unpack_on(&layer, blob).await?;
            }
            Ok(())
        };
        try_join(fetching, unpacking).await.map(|_| true)
    }

    /// The layers of a stack that are missing, bottom first; those of images are pulled.
    async fn missing(&self, top: &ChainId) -> Result<Option<Vec<Missing>>, ImageError> {
        let mut missing = Vec::new();
        let mut at = Some(top.clone());
        while let Some(chain) = at.take() {
            if self.store.snapshot(&chain).await?.is_some() {
                break;
            }
            let (image, parts) = {
                let known = self.elsewhere.known();
                let image = known.images.get(&chain).cloned();
                (image, known.stacks.get(&chain).cloned())
            };
            if let Some(image) = image {
                let alone = self.elsewhere.unpacking(&chain);
                let _alone = alone.lock().await;
                if self.store.snapshot(&chain).await?.is_none() {
                    let (reference, platform) = (&image.reference, &image.platform);
                    pull_resolved(self, reference, platform, &image.resolved, &Silent).await?;
                }
                break;
            }
            let Some((parent, diff_id)) = parts else {
                return Ok(None);
            };
            at = parent.clone();
            missing.push(Missing {
                chain,
                parent,
                diff_id,
            });
        }
        missing.reverse();
        Ok(Some(missing))
    }

    /// A blob of a layer, in the store from now on; `None` when a snapshot has the layer.
    async fn fetched(&self, diff_id: &DiffId) -> Result<Option<Descriptor>, ImageError> {
        let alone = ChainId::extend(None, diff_id);
        if self.store.snapshot(&alone).await?.is_some() {
            return Ok(None);
        }
        for blob in self.store.layer_blobs(diff_id).await? {
            if self.store.use_blob(&blob.digest).await? == Some(blob.size) {
                return Ok(Some(blob));
            }
        }
        let mut message = "it is known nowhere".to_owned();
        for remote in self.remotes(diff_id) {
            match self.fetch(&remote).await {
                Ok(()) => return Ok(Some(remote.blob)),
                Err(e) => message = e.to_string(),
            }
        }
        Err(elsewhere(diff_id, message))
    }

    /// Brings a blob of a layer into the store, to be passed on. Nobody says there that it is one
    /// of this layer, since nobody has looked into it.
    pub(crate) async fn fetch_form(
        &self,
        diff_id: &DiffId,
        blob: &Descriptor,
    ) -> Result<(), ImageError> {
        let mut message = "it is known nowhere".to_owned();
        for remote in self.remotes(diff_id) {
            if remote.blob.digest == blob.digest {
                match self.fetch(&remote).await {
                    Ok(()) => return Ok(()),
                    Err(e) => message = e.to_string(),
                }
            }
        }
        Err(elsewhere(diff_id, message))
    }

    async fn fetch(&self, remote: &Remote) -> Result<(), ImageError> {
        self.store.expect_blobs([&remote.blob.digest]).await?;
        match &remote.place {
            Place::Repository(repository) => {
                let blobs: Arc<dyn BlobStore> = self.store.blobs().clone();
                let client = self.client().await?;
                client
                    .pull_blob(repository, &remote.blob, &blobs, &Silent)
                    .await?;
            }
            Place::Layout(layout) => {
                let (from, to) = (Arc::clone(layout), Arc::clone(self.store.blobs()));
                let blob = remote.blob.clone();
                tokio::task::spawn_blocking(move || copy_blob(&from, &to, &blob)).await??;
            }
        }
        Ok(())
    }

    async fn unpack_on(&self, layer: &Missing, blob: Option<Descriptor>) -> Result<(), ImageError> {
        let alone = self.elsewhere.unpacking(&layer.chain);
        let _alone = alone.lock().await;
        if self.store.snapshot(&layer.chain).await?.is_some() {
            return Ok(());
        }
        let Some(blob) = blob else {
            let source = ChainId::extend(None, &layer.diff_id);
            let shared = match &layer.parent {
                Some(parent) => self.store.share(&source, parent).await?.is_some(),
                None => true,
            };
            return match shared {
                true => Ok(()),
                false => Err(elsewhere(
                    &layer.diff_id,
                    "the store has lost it".to_owned(),
                )),
            };
        };
        let staged = self.store.begin_snapshot().await?;
        let upper = staged.upper().to_owned();
        let blobs = Arc::clone(self.store.blobs());
        let (digest, wanted) = (blob.digest.clone(), layer.diff_id.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            let reader = blobs.open(&digest).map_err(|e| e.to_string())?;
            unpack_into(reader, &upper, wanted)
        });
        let (size_tar, size_files) = match unpacked.await? {
            Ok(sizes) => sizes,
            Err(message) => {
                staged.discard().await;
                // Wherever it came from, it is not what it was said to be.
                self.store.forget_layer_blob(&blob.digest).await?;
                return Err(elsewhere(&layer.diff_id, message));
            }
        };
        staged
            .commit(
                layer.parent.as_ref(),
                layer.diff_id.clone(),
                size_tar,
                size_files,
                None,
            )
            .await?;
        self.store.record_layer_blob(&layer.diff_id, blob).await?;
        Ok(())
    }
}

fn elsewhere(diff_id: &DiffId, message: String) -> ImageError {
    ImageError::Elsewhere {
        diff_id: diff_id.clone(),
        message,
    }
}

/// Copies a blob, unless it is there; digest and size are verified.
pub(crate) fn copy_blob(
    from: &DiskBlobs,
    to: &DiskBlobs,
    blob: &Descriptor,
) -> Result<(), oci::blob::BlobError> {
    if to.size(&blob.digest)?.is_some() {
        return Ok(());
    }
    let mut reader = from.open(&blob.digest)?;
    let mut writer = to.writer()?;
    let failed = |cause| oci::blob::BlobError::Io {
        what: format!("copying blob {}", blob.digest),
        cause,
    };
    std::io::copy(&mut reader, &mut writer).map_err(failed)?;
    writer.commit(&Expected {
        digest: Some(blob.digest.clone()),
        size: Some(blob.size),
    })?;
    Ok(())
}
