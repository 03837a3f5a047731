//! The blobs of layers, and where else they are.

use oci::blob::BlobStore;
use oci::reference::Repository;
use oci::{Descriptor, DiffId, Digest};

use crate::db::layers as table;
use crate::db::{Durability, json_list, parse};
use crate::error::{Error, Result};
use crate::store::{Store, blocking};

impl Store {
    /// The blobs in the store that unpack to a layer, plain or compressed, the latest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn layer_blobs(&self, diff_id: &DiffId) -> Result<Vec<Descriptor>> {
        table::blobs(&mut *self.0.db.lock().await, diff_id).await
    }

    /// The layers that a blob unpacks to: at most one, unless blobs were recorded wrongly.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn blob_diff_ids(&self, blob: &Digest) -> Result<Vec<DiffId>> {
        table::diff_ids(&mut *self.0.db.lock().await, blob).await
    }

    /// Records that a blob, which is in the store, unpacks to a layer.
    ///
    /// # Errors
    /// [`Error::BlobMissing`] when it is not in the store.
    pub async fn record_layer_blob(&self, diff_id: &DiffId, blob: Descriptor) -> Result<()> {
        let mut db = self.0.db.lock().await;
        self.announce([&blob.digest])?;
        let mut tx = db.begin(Durability::Lazy).await?;
        // Looked at inside the transaction: blobs are only removed in one, too.
        self.require_blob(&blob.digest).await?;
        table::record_blob(&mut tx, diff_id, &blob, self.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets a blob as a form of any layer, because it turned out to be damaged or gone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_layer_blob(&self, blob: &Digest) -> Result<()> {
        Ok(table::forget_blob(&mut *self.0.db.lock().await, blob).await?)
    }

    pub(crate) async fn require_blob(&self, digest: &Digest) -> Result<()> {
        let (blobs, digest) = (self.0.blobs.clone(), digest.clone());
        blocking(move || match blobs.size(&digest)? {
            Some(_) => Ok(()),
            None => Err(Error::BlobMissing(digest)),
        })
        .await
    }

    /// The size of a blob if it is in the store. With a lease held it then stays, even when
    /// nothing refers to it yet: the way to ask whether a download can be left out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn use_blob(&self, digest: &Digest) -> Result<Option<u64>> {
        let _gate = match self.0.leases.knows(digest) {
            true => None,
            false => self.looking().await?,
        };
        self.announce([digest])?;
        let (blobs, digest) = (self.0.blobs.clone(), digest.clone());
        blocking(move || Ok(blobs.size(&digest)?)).await
    }

    /// While a lease is held, keeps blobs that are yet to come, from the instant at which they
    /// are there.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub async fn expect_blobs(&self, digests: impl IntoIterator<Item = &Digest>) -> Result<()> {
        self.announce(digests)
    }

    /// The remote repositories known to hold a blob, the latest seen first: where a push can
    /// mount it from.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn blob_sources(&self, blob: &Digest) -> Result<Vec<Repository>> {
        let rows = table::sources(&mut *self.0.db.lock().await, blob).await?;
        rows.iter().map(|text| parse(text)).collect()
    }

    /// Records, after a pull or push, that a repository holds these blobs.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn record_blob_sources(
        &self,
        repository: &Repository,
        blobs: impl IntoIterator<Item = &Digest>,
    ) -> Result<()> {
        let (repository, blobs) = (repository.to_string(), json_list(blobs));
        let mut db = self.0.db.lock().await;
        if table::sources_known(&mut db, &repository, &blobs).await? {
            return Ok(());
        }
        table::record_sources(&mut db, &repository, &blobs, self.now()).await?;
        Ok(())
    }

    /// Forgets that a repository holds a blob, after a mount from it was refused.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_blob_source(&self, repository: &Repository, blob: &Digest) -> Result<()> {
        let repository = repository.to_string();
        table::forget_source(&mut *self.0.db.lock().await, &repository, blob).await?;
        Ok(())
    }
}
