//! A blob that comes from another registry: written and hashed as it comes, and read meanwhile by
//! those who wait for it.
//!
//! Its file has no name among the blobs until it is verified. Whoever reads it meanwhile gets all
//! but the last byte: the end of a blob is given only to those who get the right one.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::{Stream, stream};
use oci::Digest;
use tokio::sync::watch;

use super::blobs::{BlobFiles, Leftover, Staged};
use super::error::{Context, StorageError};
use super::files::create_new;
use super::filling::Filling;
use super::pipeline::{Ended, Progress, Sink, receive};
use super::pool::Pool;
use super::read::{Segment, read_cached, read_chunk};
use crate::sync::blocking;

/// Buffers that all blobs that come share, and their size in bytes.
const BUFFERS: usize = 64;
const BUFFER: usize = 128 << 10;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(BUFFERS, BUFFER));

/// How one body ended.
#[derive(Debug)]
pub enum Received {
    /// It is complete.
    Complete,
    /// It broke; what came before that is in the file.
    Broken(String),
}

/// A blob on its way here. Dropped before it is verified, it leaves the part that came, for
/// whoever asks for the blob next.
#[derive(Debug)]
pub struct Incoming {
    /// Whether some of it came at another time.
    resumed: bool,
    staged: Staged,
    sink: Option<Sink>,
    progress: Arc<Progress>,
    filling: Arc<watch::Sender<Filling>>,
    file: Arc<File>,
}

impl BlobFiles {
    /// A file for a blob that is about to come, with what came of it before.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub async fn incoming(&self, digest: &Digest) -> Result<Incoming, StorageError> {
        let (files, digest) = (self.clone(), digest.clone());
        blocking(move || {
            let staged = files.stage_for(&digest);
            let path = staged.path();
            let before = files.take_up(&digest, &staged)?;
            if before.is_none() {
                drop(create_new(path).context("create", path)?);
            }
            let resumed = before.is_some();
            let (hasher, written) = before.unwrap_or((digest.algorithm().hasher(), 0));
            let file = File::open(path).context("open", path)?;
            let filling = Arc::new(watch::Sender::new(Filling::default()));
            Ok(Incoming {
                resumed,
                sink: Some(Sink {
                    path: path.into(),
                    hasher,
                }),
                progress: Arc::new(Progress::watched(Arc::clone(&filling), written)),
                file: Arc::new(file),
                staged,
                filling,
            })
        })
        .await
    }
}

impl Incoming {
    /// Appends a body.
    ///
    /// # Errors
    /// [`StorageError`]; the blob is lost then.
    pub async fn receive<S, E>(&mut self, body: S) -> Result<Received, StorageError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let lost = || StorageError::Io {
            what: "write",
            path: self.staged.path().to_owned(),
            cause: io::Error::other("an earlier write failed"),
        };
        let sink = self.sink.take().ok_or_else(lost)?;
        let leftover = self.staged.leaving(Leftover::Leave);
        let (sink, ended) = receive(sink, body, Arc::clone(&self.progress), &POOL).await?;
        let received = match ended {
            Ended::Disk(cause) => {
                self.staged.leaving(Leftover::Remove);
                return Err(cause).context("write", self.staged.path());
            }
            Ended::Complete => Received::Complete,
            Ended::Client(why) => Received::Broken(why),
        };
        self.sink = Some(sink);
        self.staged.leaving(leftover);
        Ok(received)
    }

    /// Whether some of it came at another time.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Keeps nothing of it.
    pub fn forget(mut self) {
        self.staged.leaving(Leftover::Remove);
    }

    /// Bytes in the file.
    pub fn written(&self) -> u64 {
        self.progress.written()
    }

    /// Its file and how far it is, for those who wait for it.
    pub fn watch(&self) -> (Arc<File>, Arc<watch::Sender<Filling>>) {
        (Arc::clone(&self.file), Arc::clone(&self.filling))
    }

    /// The durable file, if it is what the digest says.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub async fn verified(self, digest: &Digest) -> Result<Option<Staged>, StorageError> {
        let Self {
            mut staged,
            sink,
            progress,
            file,
            ..
        } = self;
        staged.leaving(Leftover::Remove);
        let matches = sink.is_some_and(|sink| sink.hasher.finish() == *digest);
        if !matches {
            return Ok(None);
        }
        let size = progress.written();
        blocking(move || {
            // Of the file, whichever handle it was written by.
            file.sync_all().context("sync", staged.path())?;
            Ok(Some(staged.holding(size)))
        })
        .await
    }
}

/// Streams `segments` of a blob of `size` bytes that is still coming, each as soon as it is there.
/// When the blob turns out to be wrong or does not come, it ends with an error: a client never
/// takes it for whole.
pub fn read_incoming(
    file: Arc<File>,
    filling: watch::Receiver<Filling>,
    size: u64,
    segments: Vec<Segment>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let reader = Reader {
        file,
        filling,
        size,
        segments: segments.into(),
    };
    stream::try_unfold(reader, |mut reader| async move {
        Ok(reader.next().await?.map(|bytes| (bytes, reader)))
    })
}

struct Reader {
    file: Arc<File>,
    filling: watch::Receiver<Filling>,
    size: u64,
    segments: VecDeque<Segment>,
}

impl Reader {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let (offset, len) = match self.segments.pop_front() {
            None => return Ok(None),
            Some(Segment::Bytes(bytes)) => return Ok(Some(bytes)),
            Some(Segment::File { offset, len }) => (offset, len),
        };
        if len == 0 {
            return Ok(Some(Bytes::new()));
        }
        let there = self.wait_beyond(offset).await?;
        let len_now = len.min(there - offset);
        let bytes = match read_cached(&self.file, offset, len_now) {
            Some(bytes) => bytes,
            None => {
                let file = Arc::clone(&self.file);
                let read = tokio::task::spawn_blocking(move || read_chunk(&file, offset, len_now));
                read.await.map_err(io::Error::other)??
            }
        };
        let read = bytes.len() as u64;
        if read < len {
            self.segments.push_front(Segment::File {
                offset: offset + read,
                len: len - read,
            });
        }
        Ok(Some(bytes))
    }

    /// Waits until bytes after `offset` may be read; up to where.
    async fn wait_beyond(&mut self, offset: u64) -> io::Result<u64> {
        loop {
            let readable = self.filling.borrow_and_update().readable(self.size)?;
            if readable > offset {
                return Ok(readable);
            }
            let gone = self.filling.changed().await.is_err();
            if gone && self.filling.borrow().end.is_none() {
                return Err(io::Error::other("the fetch was given up"));
            }
        }
    }
}
