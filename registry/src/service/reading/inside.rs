//! What is inside layers: listed when somebody looks for the first time, and kept.

use std::io::{self, Read};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oci::Digest;
use oci::layer::compression::decompress;

use crate::contents::{Listing, list};
use crate::name::RepositoryName;
use crate::service::error::ServiceError;
use crate::service::state::{Progress, Registry};
use crate::storage::{Context, Reading};
use crate::sync::{blocking, lock};

/// How long somebody who wants to look into a layer waits for it at once.
const PATIENCE: Duration = Duration::from_secs(4);

/// What somebody sees who looks into a layer.
#[derive(Clone, Debug)]
pub enum Look {
    /// All that it holds.
    Listing(Arc<Listing>),
    /// That it is being read.
    Reading {
        /// Bytes of its blob that were read.
        read: u64,
        /// How many there are.
        size: u64,
    },
}

impl Registry {
    /// What a layer that `repository` shows holds. When that takes long, it goes on without the
    /// caller, who may ask again.
    ///
    /// # Errors
    /// [`ServiceError::BlobUnknown`], [`ServiceError::Storage`].
    pub async fn look_into(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Look, ServiceError> {
        let blob = self.blob(repository, digest).await?;
        if let Some(listing) = self.kept_listing(digest).await? {
            return Ok(Look::Listing(listing));
        }
        let (progress, first) = self.looking.join(digest);
        if first {
            let (this, digest) = (Arc::clone(self), digest.clone());
            let progress = Arc::clone(&progress);
            tokio::spawn(async move {
                let done = this.list_layer(&digest, progress).await;
                this.looking.end(&digest, done.map_err(|e| e.to_string()));
            });
        }
        match tokio::time::timeout(PATIENCE, progress.outcome()).await {
            Ok(Some(Ok(listing))) => Ok(Look::Listing(listing)),
            Ok(Some(Err(why))) => Err(io::Error::other(why))
                .context("look into", &self.blobs.place(digest))
                .map_err(Into::into),
            Ok(None) => Err(ServiceError::BlobUnknown(digest.clone())),
            Err(_) => Ok(Look::Reading {
                read: progress.read.load(Relaxed),
                size: blob.size,
            }),
        }
    }

    async fn kept_listing(&self, digest: &Digest) -> Result<Option<Arc<Listing>>, ServiceError> {
        let kept = self.blobs.read_listing(digest).await?;
        blocking(move || Ok(kept.and_then(|bytes| Listing::decode(&bytes)).map(Arc::new))).await
    }

    /// Reads a layer, and keeps what it holds.
    async fn list_layer(
        &self,
        digest: &Digest,
        progress: Arc<Progress>,
    ) -> Result<Arc<Listing>, ServiceError> {
        let unknown = || ServiceError::BlobUnknown(digest.clone());
        let _turn = self.looking.turn.acquire().await.map_err(|_| unknown())?;
        let (files, wanted) = (self.blobs.clone(), digest.clone());
        let stopped = self.stop.flag();
        let listing = blocking(move || {
            let Some(file) = files.open_on_thread(&wanted)? else {
                return Err(ServiceError::BlobUnknown(wanted));
            };
            let failed = Arc::<Mutex<Option<io::Error>>>::default();
            let watched = Watched {
                file,
                progress,
                stopped,
                failed: Arc::clone(&failed),
            };
            let path = files.place(&wanted);
            let listing = list(watched).context("look into", &path)?;
            // What a layer is says nothing of a disk that failed while it was read.
            match lock(&failed).take() {
                Some(e) => Err(e).context("read", &path)?,
                None => Ok(Arc::new(listing)),
            }
        })
        .await?;
        let _arriving = self.blobs.arriving(digest).await;
        let (place, kept) = (self.blobs.place(digest), Arc::clone(&listing));
        let bytes = blocking(move || kept.encode().context("list", &place)).await?;
        match self.blobs.write_listing(digest, bytes).await? {
            true => Ok(listing),
            false => Err(unknown()),
        }
    }

    /// Up to `limit` bytes of the content that a layer of `repository` has at `offset` of its
    /// archive.
    ///
    /// # Errors
    /// [`ServiceError::BlobUnknown`], [`ServiceError::Storage`].
    pub async fn content_inside(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<u8>, ServiceError> {
        let blob = self.blob(repository, digest).await?;
        let unknown = || ServiceError::BlobUnknown(digest.clone());
        let _turn = self
            .looking
            .readers
            .acquire()
            .await
            .map_err(|_| unknown())?;
        let (files, digest) = (self.blobs.clone(), blob.digest.clone());
        let stopped = self.stop.flag();
        blocking(move || {
            let Some(file) = files.open_on_thread(&digest)? else {
                return Err(ServiceError::BlobUnknown(digest));
            };
            let path = files.place(&digest);
            Ok(part(file, stopped, offset, limit).context("look into", &path)?)
        })
        .await
    }
}

/// A part of what a blob is when it is decompressed.
fn part(
    file: Reading,
    stopped: impl Fn() -> bool + Send,
    offset: u64,
    limit: u64,
) -> io::Result<Vec<u8>> {
    let (_, mut plain) = decompress(file)?;
    let mut buffer = vec![0; 256 << 10];
    let mut left = offset;
    while left > 0 {
        let want = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = plain.read(&mut buffer[..want])?;
        if n == 0 || stopped() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= n as u64;
    }
    let mut bytes = Vec::new();
    plain.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A blob's file that says how far it was read, and ends when the registry closes.
struct Watched<S> {
    file: Reading,
    progress: Arc<Progress>,
    stopped: S,
    /// Why it could not be read to its end, if so.
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl<S: Fn() -> bool> Read for Watched<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match (self.stopped)() {
            true => Err(io::Error::other("the registry is about to close")),
            false => self.file.read(buffer),
        };
        match read {
            Ok(n) => {
                self.progress.add(n);
                Ok(n)
            }
            Err(e) => {
                let told = io::Error::new(e.kind(), e.to_string());
                *lock(&self.failed) = Some(e);
                Err(told)
            }
        }
    }
}
