//! Quotas: room is promised before bytes are taken.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use oci::Digest;

use crate::meta::Admit;
use crate::name::{RepositoryName, UploadId};
use crate::quota::{Exceeded, Need};
use crate::service::error::ServiceError;
use crate::service::state::{Registry, SharedLedger};
use crate::storage::{ChunkRange, Upload, UploadError};
use crate::sync::lock;

/// Room that is asked for at a time when it is not known how much will come.
const STEP: u64 = 1 << 20;

/// What a client says of the bytes it is about to send.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intake<'d> {
    /// How many there are.
    pub length: Option<u64>,
    /// The digest of the whole blob.
    pub digest: Option<&'d Digest>,
}

/// Room for something that comes in one piece; given back when dropped, unless it was used.
#[derive(Debug)]
pub(super) struct Promise {
    ledger: SharedLedger,
    id: UploadId,
}

impl Promise {
    pub(super) fn admit(&self, repository: &RepositoryName) -> Admit {
        self.ledger.admit(repository, self.id)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.ledger.lock().release(self.id);
    }
}

/// What an upload under way needs for each of its bytes.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// The repository does not show the blob yet, as far as it is known.
    repository: bool,
    /// It is not stored yet.
    total: bool,
}

impl Share {
    fn of(self, bytes: u64) -> Need {
        Need {
            repository: if self.repository { bytes } else { 0 },
            total: if self.total { bytes } else { 0 },
        }
    }
}

/// A body for whose bytes room is promised before they are taken.
#[derive(Debug)]
pub(super) struct Metered<S> {
    body: S,
    upload: Arc<Upload>,
    ledger: SharedLedger,
    share: Share,
    /// Bytes of the upload that were taken, and for which there is room.
    taken: u64,
    room: u64,
    refused: Refused,
}

/// Why a [`Metered`] body ended, if it was for want of room.
type Refused = Arc<Mutex<Option<Exceeded>>>;

impl<S> Metered<S> {
    fn make_room(&mut self, bytes: u64) -> Result<(), Exceeded> {
        self.taken += bytes;
        if self.taken <= self.room {
            return Ok(());
        }
        let (id, repository) = (self.upload.id(), self.upload.repository());
        let mut ledger = self.ledger.lock();
        // Near the limit, just as much as came.
        let ahead = self.taken.saturating_add(STEP);
        if ledger.hold(id, repository, self.share.of(ahead)).is_ok() {
            self.room = ahead;
            return Ok(());
        }
        ledger.hold(id, repository, self.share.of(self.taken))?;
        self.room = self.taken;
        Ok(())
    }
}

impl<S, E> Stream for Metered<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(self.body.poll_next_unpin(cx));
        Poll::Ready(item.map(|item| {
            let bytes = item.map_err(|e| e.to_string())?;
            self.make_room(bytes.len() as u64).map_err(|e| {
                let text = e.to_string();
                *lock(&self.refused) = Some(e);
                text
            })?;
            Ok(bytes)
        }))
    }
}

impl Registry {
    /// What a transaction asks before it shows more; nothing where nothing is limited.
    pub(super) fn admit(&self, repository: &RepositoryName, id: UploadId) -> Option<Admit> {
        self.ledger.as_ref().map(|l| l.admit(repository, id))
    }

    /// Room for content of a known digest and size.
    pub(super) async fn promise(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Promise>, ServiceError> {
        let Some(ledger) = &self.ledger else {
            return Ok(None);
        };
        let need = self.meta.need(repository, digest, size).await?;
        let promise = Promise {
            ledger: ledger.clone(),
            id: UploadId::random(),
        };
        ledger.lock().hold(promise.id, repository, need)?;
        Ok(Some(promise))
    }

    /// Takes the bytes of `body` as far as there is room; the upload ends when there is not.
    pub(super) async fn append_metered<S, E>(
        &self,
        ledger: &SharedLedger,
        upload: &Arc<Upload>,
        body: S,
        range: Option<ChunkRange>,
        length: Option<u64>,
        digest: Option<&Digest>,
    ) -> Result<u64, ServiceError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let share = self.share(upload, digest).await?;
        let taken = upload.received();
        let room = taken.saturating_add(length.unwrap_or(0));
        self.hold(ledger, upload, share.of(room)).await?;
        let refused = Refused::default();
        let metered = Metered {
            body,
            upload: Arc::clone(upload),
            ledger: ledger.clone(),
            share,
            taken,
            room,
            refused: Arc::clone(&refused),
        };
        let appended = self.uploads.append(upload, metered, range).await;
        let exceeded = lock(&refused).take();
        if let Some(exceeded) = exceeded {
            self.end_upload(ledger, upload).await;
            return Err(exceeded.into());
        }
        match appended {
            // Another request is at work there: it says itself when it is done.
            Err(UploadError::Busy) => {}
            Err(UploadError::Unknown) => ledger.lock().release(upload.id()),
            _ => {
                let on_disk = upload.received();
                let shown = share.of(on_disk).repository;
                ledger
                    .lock()
                    .rest(upload.id(), shown, on_disk, Instant::now());
            }
        }
        Ok(appended?)
    }

    /// Makes sure that there is room for all that was uploaded, before it is kept.
    pub(super) async fn hold_upload(
        &self,
        upload: &Upload,
        digest: &Digest,
    ) -> Result<(), ServiceError> {
        let Some(ledger) = &self.ledger else {
            return Ok(());
        };
        let share = self.share(upload, Some(digest)).await?;
        self.hold(ledger, upload, share.of(upload.received())).await
    }

    /// Gives back what an upload was promised.
    pub(super) fn release_upload(&self, id: UploadId) {
        self.open_uploads.end(id);
        if let Some(ledger) = &self.ledger {
            ledger.lock().release(id);
        }
    }

    /// Forgets what was promised of repositories to uploads that nobody goes on with.
    pub(super) fn forget_rested(&self) {
        if let Some(ledger) = &self.ledger {
            ledger.lock().drop_rested(None);
        }
    }

    async fn share(&self, upload: &Upload, digest: Option<&Digest>) -> Result<Share, ServiceError> {
        let need = match digest {
            Some(digest) => self.meta.need(upload.repository(), digest, 1).await?,
            None => Need {
                repository: 1,
                total: 1,
            },
        };
        Ok(Share {
            repository: need.repository > 0,
            total: need.total > 0,
        })
    }

    async fn hold(
        &self,
        ledger: &SharedLedger,
        upload: &Upload,
        need: Need,
    ) -> Result<(), ServiceError> {
        let held = ledger.lock().hold(upload.id(), upload.repository(), need);
        if let Err(e) = held {
            self.end_upload(ledger, upload).await;
            return Err(e.into());
        }
        Ok(())
    }

    /// Nothing of an upload that was refused stays.
    async fn end_upload(&self, ledger: &SharedLedger, upload: &Upload) {
        // One that another request is writing to ends with that request.
        if self.uploads.cancel(upload).await.is_ok() {
            ledger.lock().release(upload.id());
            self.open_uploads.end(upload.id());
        }
    }
}
