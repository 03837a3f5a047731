//! A blob that is read while somebody still writes it, as a request's body.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use oci::Descriptor;
use tokio::sync::{mpsc, watch};

/// One read, and one frame of the body.
const PIECE: u64 = 256 << 10;
/// Pieces read ahead of the network.
const DEPTH: usize = 4;

/// How far a blob has come.
#[derive(Clone, Debug)]
pub enum Growth {
    /// So many bytes are in its file, and more will come.
    SoFar(u64),
    /// All of it is there.
    Whole(Box<Descriptor>),
    /// It will never be whole.
    Failed,
}

/// A blob that is being written to a file, from its first byte to its last.
#[derive(Clone, Debug)]
pub struct Growing {
    /// The file.
    pub file: Arc<File>,
    /// How far it has come. When the sender is dropped before all is there, nobody writes any more.
    pub growth: watch::Receiver<Growth>,
}

impl Growing {
    /// Bytes that are there.
    pub(crate) fn available(&self) -> u64 {
        match &*self.growth.borrow() {
            Growth::SoFar(bytes) => *bytes,
            Growth::Whole(blob) => blob.size,
            Growth::Failed => 0,
        }
    }

    /// What it has become, if all of it is there.
    pub(crate) fn now_whole(&self) -> Option<Descriptor> {
        match &*self.growth.borrow() {
            Growth::Whole(blob) => Some(blob.as_ref().clone()),
            Growth::SoFar(_) | Growth::Failed => None,
        }
    }

    /// Waits until all of it is there; `None` when it will never be.
    pub(crate) async fn whole(&self) -> Option<Descriptor> {
        let mut growth = self.growth.clone();
        let ended = growth.wait_for(|now| !matches!(now, Growth::SoFar(_)));
        match &*ended.await.ok()? {
            Growth::Whole(blob) => Some(blob.as_ref().clone()),
            Growth::SoFar(_) | Growth::Failed => None,
        }
    }

    /// Waits until more than so many bytes are there while it still grows. False when it has ended
    /// before.
    pub(crate) async fn exceeds(&self, bytes: u64) -> bool {
        let mut growth = self.growth.clone();
        let there = growth.wait_for(|now| !matches!(now, Growth::SoFar(n) if *n <= bytes));
        matches!(there.await.as_deref(), Ok(Growth::SoFar(_)))
    }
}

/// Makes bodies of all of a growing blob.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) blob: Growing,
    /// Bytes handed to the network.
    pub(crate) moved: Arc<AtomicU64>,
}

impl Stream {
    /// A body whose length nobody knows; called within a runtime, once for each try.
    pub(crate) fn body(&self) -> reqwest::Body {
        let (sender, receiver) = mpsc::channel(DEPTH);
        let blob = self.blob.clone();
        tokio::spawn(async move {
            if let Err(e) = read_into(blob, &sender).await {
                // The body must not look as if it had come to its end.
                let _ = sender.send(Err(e)).await;
            }
        });
        reqwest::Body::wrap(StreamBody {
            receiver,
            moved: Arc::clone(&self.moved),
        })
    }

    /// Whether all that is there has been handed on, and more is to come.
    pub(crate) fn starves(&self) -> bool {
        let moved = self.moved.load(Ordering::Relaxed);
        self.blob.now_whole().is_none() && moved >= self.blob.available()
    }

    /// Whether all of it has been handed on.
    pub(crate) fn is_sent(&self) -> bool {
        let whole = self.blob.now_whole();
        whole.is_some_and(|blob| self.moved.load(Ordering::Relaxed) >= blob.size)
    }
}

async fn read_into(
    mut blob: Growing,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), io::Error> {
    let mut at = 0;
    loop {
        let more = blob
            .growth
            .wait_for(|now| !matches!(now, Growth::SoFar(n) if *n <= at));
        let (there, last) = match more.await.as_deref() {
            Ok(Growth::SoFar(there)) => (*there, false),
            Ok(Growth::Whole(blob)) => (blob.size, true),
            Ok(Growth::Failed) | Err(_) => {
                return Err(io::Error::other("the blob was not finished"));
            }
        };
        while at < there {
            let (file, len) = (Arc::clone(&blob.file), PIECE.min(there - at));
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; len as usize];
                file.read_exact_at(&mut piece, at).map(|()| piece)
            });
            let piece = read.await.map_err(io::Error::other)??;
            at += len;
            // Nobody listens any more: the request has ended.
            if sender.send(Ok(Bytes::from(piece))).await.is_err() {
                return Ok(());
            }
        }
        if last {
            return Ok(());
        }
    }
}

struct StreamBody {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    moved: Arc<AtomicU64>,
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = ready!(self.receiver.poll_recv(cx));
        if let Some(Ok(piece)) = &piece {
            let len = piece.len() as u64;
            self.moved.fetch_add(len, Ordering::Relaxed);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}
