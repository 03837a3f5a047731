//! A blob that an import brings.

use std::io;
use std::time::Duration;

use oci::Digest;
use tokio::sync::OwnedRwLockReadGuard;

use super::imported::Imported;
use crate::meta::NewBlob;
use crate::name::{RepositoryName, UploadId};
use crate::service::error::ServiceError;
use crate::service::state::{Claim, Registry, key};
use crate::storage::{BlobFiles, Staged, StorageError};
use crate::sync::blocking;

/// Between two looks at what the collector is just taking away: it has it for one transaction.
const PAUSE: Duration = Duration::from_millis(5);

impl Registry {
    /// Shows a blob, brought by `bring` unless it is there already and whole, and leases it: its
    /// manifest may come much later than the grace of a collection. The inner error is about this
    /// blob only.
    ///
    /// Nobody waits while it is copied and read: its shard is locked only for its name and its row.
    pub(super) async fn take_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        imported: &mut Imported,
        bring: impl FnOnce(&BlobFiles, &Digest) -> Result<Option<Staged>, StorageError> + Send + 'static,
    ) -> Result<Result<(), String>, ServiceError> {
        let claim = self.claim(repository, digest).await;
        let announced = self.announce(digest).await?;
        let known = self.meta.is_stored(digest).await?;
        let there = if known {
            let deep = !imported.whole.contains(digest);
            self.there(digest, deep).await?
        } else {
            None
        };
        let brought = there.is_none();
        let (size, arriving) = match there {
            Some(there) => there,
            None => match self.stage(digest, bring).await {
                Ok(Some(staged)) => {
                    let ready = self.blobs.ready(staged, digest).await?;
                    let arriving = self.blobs.arriving(digest).await;
                    let size = self.blobs.adopt(ready, digest).await?;
                    (size, arriving)
                }
                Ok(None) => return Ok(Err("its content is not what its digest says".into())),
                Err(StorageError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                    return Ok(Err("its content is missing".into()));
                }
                Err(e) => return Err(e.into()),
            },
        };
        let blob = NewBlob::durable(digest, size);
        let shown = self
            .show_blob(repository, blob, UploadId::random(), &None)
            .await;
        drop((arriving, announced));
        if let Err(e) = shown {
            self.drop_refused(digest).await;
            return Err(e);
        }
        claim.keep();
        imported.whole.insert(digest.clone());
        if brought {
            imported.blobs += 1;
            imported.bytes += size;
        }
        if brought && known {
            tracing::warn!(%digest, "a damaged blob was replaced");
            // What was read from it, in whatever repository.
            self.blob_cache.clear();
            self.manifest_cache.clear();
        }
        Ok(Ok(()))
    }

    async fn claim(&self, repository: &RepositoryName, digest: &Digest) -> Claim {
        let key = key(repository.as_str(), digest);
        loop {
            if let Some(claim) = self.leases.claim(&key) {
                return claim;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The size of a blob's file, and that it stays; `None` when it is gone or damaged. It is only
    /// read when `deep`, and nobody waits meanwhile.
    async fn there(
        &self,
        digest: &Digest,
        deep: bool,
    ) -> Result<Option<(u64, OwnedRwLockReadGuard<()>)>, ServiceError> {
        if deep && self.whole(digest, true).await?.is_none() {
            return Ok(None);
        }
        let arriving = self.blobs.arriving(digest).await;
        let size = self.whole(digest, false).await?;
        Ok(size.map(|size| (size, arriving)))
    }

    /// The size of a blob's file; `None` when it is gone or damaged.
    async fn whole(&self, digest: &Digest, deep: bool) -> Result<Option<u64>, StorageError> {
        let Some(size) = self.blobs.size(digest).await? else {
            return Ok(None);
        };
        let flaw = self.blobs.verify(digest, size, deep).await?;
        Ok(flaw.is_none().then_some(size))
    }

    async fn stage(
        &self,
        digest: &Digest,
        bring: impl FnOnce(&BlobFiles, &Digest) -> Result<Option<Staged>, StorageError> + Send + 'static,
    ) -> Result<Option<Staged>, StorageError> {
        let (files, digest) = (self.blobs.local().clone(), digest.clone());
        blocking(move || bring(&files, &digest)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use oci::Algorithm;

    use super::*;
    use crate::service::keeping::CollectOptions;
    use crate::service::pushing::Intake;
    use crate::storage::UploadError;

    const SOON: Duration = Duration::from_secs(5);

    async fn open() -> (tempfile::TempDir, Arc<Registry>, RepositoryName) {
        let dir = tempfile::tempdir().unwrap();
        let registry = Arc::new(Registry::open(dir.path()).await.unwrap());
        (dir, registry, "app".parse().unwrap())
    }

    #[tokio::test]
    async fn nobody_waits_while_a_blob_is_brought() {
        let (_dir, registry, name) = open().await;
        let digest = Digest::sha256(b"large");
        let (begun, beginning) = tokio::sync::oneshot::channel();
        let (go_on, waiting) = mpsc::channel();
        let bring = move |files: &BlobFiles, digest: &Digest| {
            begun.send(()).unwrap();
            waiting.recv().unwrap();
            files.import_from(&mut &b"large"[..], digest)
        };
        let (this, wanted) = (Arc::clone(&registry), digest.clone());
        let taking = tokio::spawn(async move {
            let mut imported = Imported::default();
            let taken = this.take_blob(&name, &wanted, &mut imported, bring).await;
            (taken.unwrap(), imported)
        });
        beginning.await.unwrap();
        let leaving = tokio::time::timeout(SOON, registry.blobs.leaving(&digest)).await;
        drop(leaving.expect("the shard is locked"));
        go_on.send(()).unwrap();
        let (taken, imported) = taking.await.unwrap();
        assert_eq!((taken, imported.blobs, imported.bytes), (Ok(()), 1, 5));
        let staging = std::fs::read_dir(registry.blobs.staging()).unwrap();
        assert_eq!(staging.count(), 0);
    }

    #[tokio::test]
    async fn what_was_brought_waits_for_its_manifest() {
        let (_dir, registry, name) = open().await;
        let digest = Digest::sha256(b"layer");
        let bring =
            |files: &BlobFiles, digest: &Digest| files.import_from(&mut &b"layer"[..], digest);
        let mut imported = Imported::default();
        let taken = registry
            .take_blob(&name, &digest, &mut imported, bring)
            .await;
        taken.unwrap().unwrap();
        let options = CollectOptions {
            grace: Duration::ZERO,
            dry_run: false,
            every_file: true,
        };
        assert_eq!(registry.collect(options).await.unwrap().blob_count, 0);
        registry.blob(&name, &digest).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_waits_while_an_upload_is_verified() {
        let (_dir, registry, name) = open().await;
        let (right, wrong) = (Algorithm::Sha512.digest(b"bytes"), Digest::sha256(b"other"));
        for digest in [&wrong, &right] {
            let upload = registry
                .start_upload(&name, Algorithm::Sha256)
                .await
                .unwrap();
            let body = [Ok::<_, UploadError>(bytes::Bytes::from_static(b"bytes"))];
            let body = futures_util::stream::iter(body);
            let intake = Intake::default();
            registry.append(&upload, body, None, intake).await.unwrap();
            let leaving = registry.blobs.leaving(digest).await;
            if digest == &wrong {
                let finished = registry.finish_upload(&upload, digest, &None);
                let finished = tokio::time::timeout(SOON, finished).await;
                finished.expect("the shard is locked").unwrap_err();
            } else {
                drop(leaving);
                registry
                    .finish_upload(&upload, digest, &None)
                    .await
                    .unwrap();
                registry.blob(&name, digest).await.unwrap();
            }
        }
    }
}
