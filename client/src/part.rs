//! A part of a blob as a request's body, read on a blocking thread.

use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use oci::Digest;
use oci::blob::{BlobError, BlobStore};
use tokio::sync::mpsc;

use crate::sync::lock;

/// One read, and one frame of the body.
const PIECE: usize = 256 << 10;
/// Pieces read ahead of the network.
const DEPTH: usize = 4;

/// Makes bodies of `start..end` of a blob.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) source: Arc<dyn BlobStore>,
    pub(crate) digest: Digest,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Bytes handed to the network.
    pub(crate) moved: Arc<AtomicU64>,
    /// Why reading failed; the network only sees that the body ended.
    pub(crate) failure: Arc<Mutex<Option<BlobError>>>,
}

impl Part {
    /// A body; called within a runtime, once for each try.
    pub(crate) fn body(&self) -> reqwest::Body {
        let (sender, receiver) = mpsc::channel(DEPTH);
        let part = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(e) = part.read_into(&sender) {
                let text = e.to_string();
                *lock(&part.failure) = Some(e);
                let _ = sender.blocking_send(Err(io::Error::other(text)));
            }
        });
        reqwest::Body::wrap(PartBody {
            receiver,
            remaining: self.end - self.start,
            moved: Arc::clone(&self.moved),
        })
    }

    /// Why reading failed, if it did.
    pub(crate) fn take_failure(&self) -> Option<BlobError> {
        lock(&self.failure).take()
    }

    fn read_into(&self, sender: &mpsc::Sender<io::Result<Bytes>>) -> Result<(), BlobError> {
        let io = |cause| BlobError::Io {
            what: format!("read blob {}", self.digest),
            cause,
        };
        let mut blob = self.source.open(&self.digest)?;
        if self.start > 0 {
            blob.seek(SeekFrom::Start(self.start)).map_err(io)?;
        }
        let mut left = self.end - self.start;
        while left > 0 {
            let mut piece = vec![0; left.min(PIECE as u64) as usize];
            blob.read_exact(&mut piece).map_err(io)?;
            left -= piece.len() as u64;
            // Nobody listens any more: the request has ended.
            if sender.blocking_send(Ok(Bytes::from(piece))).is_err() {
                break;
            }
        }
        Ok(())
    }
}

struct PartBody {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    remaining: u64,
    moved: Arc<AtomicU64>,
}

impl http_body::Body for PartBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        match ready!(self.receiver.poll_recv(cx)) {
            Some(Ok(piece)) => {
                let len = piece.len() as u64;
                self.remaining = self.remaining.saturating_sub(len);
                self.moved.fetch_add(len, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Some(Err(e)) => Poll::Ready(Some(Err(e))),
            None => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
