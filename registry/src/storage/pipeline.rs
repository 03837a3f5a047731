//! From the network to a staging file: written by one thread while another hashes.
//!
//! Small bodies skip the threads. All uploads together hold a bounded number of bytes in memory;
//! past that, clients wait.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use oci::digest::Hasher;
use tokio::sync::{mpsc, watch};

use super::error::StorageError;
use super::filling::Filling;
use super::pool::{Buffer, Pool};
use crate::sync::blocking;

/// A body this small is written in one go, without threads of its own.
const SMALL: usize = 64 << 10;
/// Buffers between the network and the disk, and between the disk and the hash, of one upload.
const QUEUE: usize = 8;
/// Bytes after which what is written so far is sent to the disk, while more comes in: the final
/// sync then has little left to do.
const FLUSH_EVERY: u64 = 32 << 20;

/// A file being filled, open only while something is written, and the hash of all in it.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) path: Arc<Path>,
    pub(super) hasher: Hasher,
}

/// How far an upload is, for those who ask while it is being received.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes in the file.
    written: AtomicU64,
    /// Bytes that came after those and wait to be written.
    waiting: AtomicU64,
    /// Who is told when there are more.
    watched: Option<Arc<watch::Sender<Filling>>>,
}

impl Progress {
    pub(super) fn new(written: u64) -> Self {
        Self {
            written: AtomicU64::new(written),
            waiting: AtomicU64::new(0),
            watched: None,
        }
    }

    /// Of a file of so many bytes, told to those who wait for it to be filled.
    pub(super) fn watched(by: Arc<watch::Sender<Filling>>, written: u64) -> Self {
        by.send_modify(|filling| filling.written = written);
        Self {
            watched: Some(by),
            ..Self::new(written)
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(super) fn arrived(&self) -> u64 {
        self.written() + self.waiting.load(Ordering::Acquire)
    }

    /// So many are in the file, and none are waiting.
    pub(super) fn set(&self, written: u64) {
        self.waiting.store(0, Ordering::Release);
        self.written.store(written, Ordering::Release);
    }

    pub(super) fn wait(&self, len: usize) {
        self.waiting.store(len as u64, Ordering::Release);
    }

    fn write(&self, len: usize) {
        self.written.fetch_add(len as u64, Ordering::Release);
        if let Some(watched) = &self.watched {
            watched.send_modify(|filling| filling.written += len as u64);
        }
    }
}

/// How receiving a body ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The body is complete.
    Complete,
    /// The client failed; what came before that is in the file.
    Client(String),
    /// The disk failed; file and hash no longer agree.
    Disk(io::Error),
}

/// Appends a body to `sink`, counting into `progress` as bytes come and reach the file.
///
/// # Errors
/// [`StorageError::Task`]; the sink is lost then.
pub(super) async fn receive<S, E>(
    mut sink: Sink,
    mut body: S,
    progress: Arc<Progress>,
    buffers: &Pool,
) -> Result<(Sink, Ended), StorageError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut head: Vec<Bytes> = Vec::new();
    let mut len = 0;
    let ended = loop {
        match Next::from(body.next().await) {
            Next::Bytes(bytes) => {
                len += bytes.len();
                head.push(bytes);
                progress.wait(len);
                if len > SMALL {
                    break None;
                }
            }
            Next::End => break Some(Ended::Complete),
            Next::Failed(e) => break Some(Ended::Client(e)),
        }
    };
    if let Some(ended) = ended {
        if len == 0 {
            return Ok((sink, ended));
        }
        return blocking(move || {
            for bytes in &head {
                sink.hasher.update(bytes);
            }
            match append_to(&sink.path).and_then(|mut file| write_all(&mut file, &head)) {
                Ok(()) => {
                    progress.wait(0);
                    progress.write(len);
                    Ok((sink, ended))
                }
                Err(e) => Ok((sink, Ended::Disk(e))),
            }
        })
        .await;
    }
    // From here on bytes wait only for as long as the disk takes.
    progress.wait(0);
    let (to_writer, from_network) = mpsc::channel::<Bytes>(QUEUE);
    let (to_hasher, from_writer) = std::sync::mpsc::sync_channel::<Bytes>(QUEUE);
    let Sink { path, mut hasher } = sink;
    let target = Arc::clone(&path);
    let hashing = tokio::task::spawn_blocking(move || {
        while let Ok(bytes) = from_writer.recv() {
            hasher.update(&bytes);
        }
        hasher
    });
    let writing =
        tokio::task::spawn_blocking(move || write(&target, from_network, &to_hasher, &progress));
    let ended = gather(head, body, buffers, to_writer).await;
    let written = writing.await?;
    let hasher = hashing.await?;
    let ended = match written {
        Ok(()) => ended,
        Err(e) => Ended::Disk(e),
    };
    Ok((Sink { path, hasher }, ended))
}

/// Copies a body into buffers and hands them on. The network's own buffers are never kept: a
/// small piece would pin a large one.
async fn gather<S, E>(
    head: Vec<Bytes>,
    mut body: S,
    buffers: &Pool,
    to_writer: mpsc::Sender<Bytes>,
) -> Ended
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut head = head.into_iter();
    let mut buffer: Option<Buffer> = None;
    loop {
        let item = match head.next() {
            Some(bytes) => Next::Bytes(bytes),
            None => match body.next().now_or_never() {
                Some(item) => item.into(),
                None => {
                    // A client that makes us wait does not keep a buffer meanwhile.
                    if let Some(part) = buffer.take()
                        && to_writer.send(part.freeze()).await.is_err()
                    {
                        return Ended::Complete;
                    }
                    body.next().await.into()
                }
            },
        };
        let mut bytes = match item {
            Next::Bytes(bytes) => bytes,
            end => {
                if let Some(part) = buffer {
                    let _ = to_writer.send(part.freeze()).await;
                }
                return match end {
                    Next::Failed(e) => Ended::Client(e),
                    _ => Ended::Complete,
                };
            }
        };
        while !bytes.is_empty() {
            let mut current = match buffer.take() {
                Some(buffer) => buffer,
                None => buffers.take().await,
            };
            current.fill(&mut bytes);
            if !current.is_full() {
                buffer = Some(current);
            } else if to_writer.send(current.freeze()).await.is_err() {
                // The writer only stops early when the disk fails, and says so itself.
                return Ended::Complete;
            }
        }
    }
}

enum Next {
    Bytes(Bytes),
    End,
    Failed(String),
}

impl<E: std::fmt::Display> From<Option<Result<Bytes, E>>> for Next {
    fn from(item: Option<Result<Bytes, E>>) -> Self {
        match item {
            Some(Ok(bytes)) => Self::Bytes(bytes),
            Some(Err(e)) => Self::Failed(e.to_string()),
            None => Self::End,
        }
    }
}

/// The writing thread.
fn write(
    path: &Path,
    mut buffers: mpsc::Receiver<Bytes>,
    to_hasher: &std::sync::mpsc::SyncSender<Bytes>,
    progress: &Progress,
) -> io::Result<()> {
    let mut file = append_to(path)?;
    let mut unflushed = 0;
    let flushing = Arc::new(AtomicBool::new(false));
    while let Some(bytes) = buffers.blocking_recv() {
        // The hasher works on these bytes while they are being written.
        if to_hasher.send(bytes.clone()).is_err() {
            return Err(io::Error::other("the hashing thread ended"));
        }
        file.write_all(&bytes)?;
        progress.write(bytes.len());
        unflushed += bytes.len() as u64;
        if unflushed >= FLUSH_EVERY && !flushing.swap(true, Ordering::AcqRel) {
            unflushed = 0;
            flush_behind(&file, Arc::clone(&flushing));
        }
    }
    Ok(())
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

/// Starts writing back what is in the file, without waiting. Only a head start: the sync before
/// the blob is acknowledged reports any error.
fn flush_behind(file: &File, flushing: Arc<AtomicBool>) {
    if let Ok(file) = file.try_clone() {
        tokio::task::spawn_blocking(move || {
            let _ = file.sync_data();
            flushing.store(false, Ordering::Release);
        });
    }
}

fn write_all(file: &mut File, bytes: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = bytes.iter().map(|b| IoSlice::new(b)).collect();
    let mut slices = &mut slices[..];
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
