//! From the network to a staging file: written by one thread while another hashes.
//!
//! Small bodies skip the threads. All uploads together hold a bounded number of bytes in memory;
//! past that, clients wait.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use oci::digest::Hasher;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::StorageError;

/// A body this small is written in one go, without threads of its own.
const SMALL: usize = 128 << 10;
/// Frames between the network and the disk of one upload.
const QUEUE: usize = 16;
/// Bytes after which what is written so far is sent to the disk, while more comes in: the final
/// sync then has little left to do.
const FLUSH_EVERY: u64 = 32 << 20;
/// Permits are for so many bytes each.
const PERMIT: usize = 4 << 10;
/// How long a client may pause within a body.
const BODY_IDLE: Duration = Duration::from_secs(60);

/// The bytes that all uploads may hold in memory.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / PERMIT)))
    }
}

/// A file being filled, and the hash of all in it.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) file: File,
    pub(super) hasher: Hasher,
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

struct Frame {
    bytes: Bytes,
    _budget: Option<OwnedSemaphorePermit>,
}

/// Appends a body to `sink`, counting into `received` as bytes reach the file.
///
/// # Errors
/// [`StorageError::Task`]; the sink is lost then.
pub(super) async fn receive<S, E>(
    mut sink: Sink,
    mut body: S,
    received: Arc<AtomicU64>,
    budget: &Budget,
) -> Result<(Sink, Ended), StorageError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut head: Vec<Bytes> = Vec::new();
    let mut len = 0;
    let ended = loop {
        match next(&mut body).await {
            Next::Bytes(bytes) => {
                len += bytes.len();
                head.push(bytes);
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
        return Ok(tokio::task::spawn_blocking(move || {
            for bytes in &head {
                sink.hasher.update(bytes);
            }
            match write_all(&mut sink.file, &head) {
                Ok(()) => {
                    received.fetch_add(len as u64, Ordering::Release);
                    (sink, ended)
                }
                Err(e) => (sink, Ended::Disk(e)),
            }
        })
        .await?);
    }
    let (to_writer, from_network) = mpsc::channel::<Frame>(QUEUE);
    let (to_hasher, from_writer) = std::sync::mpsc::sync_channel::<Vec<Frame>>(QUEUE);
    let Sink { file, mut hasher } = sink;
    let hashing = tokio::task::spawn_blocking(move || {
        while let Ok(frames) = from_writer.recv() {
            for frame in &frames {
                hasher.update(&frame.bytes);
            }
        }
        hasher
    });
    let writing =
        tokio::task::spawn_blocking(move || write(file, from_network, &to_hasher, &received));
    let mut ended = Ended::Complete;
    for bytes in head {
        // The few bytes of the head are held already; waiting for permits could only delay.
        let frame = Frame {
            bytes,
            _budget: None,
        };
        if to_writer.send(frame).await.is_err() {
            break;
        }
    }
    loop {
        match next(&mut body).await {
            Next::Bytes(bytes) => {
                let permits = u32::try_from(bytes.len().div_ceil(PERMIT)).unwrap_or(u32::MAX);
                let permit = Arc::clone(&budget.0).acquire_many_owned(permits).await;
                let frame = Frame {
                    bytes,
                    _budget: permit.ok(),
                };
                // The writer only stops early when the disk fails, and says so itself.
                if to_writer.send(frame).await.is_err() {
                    break;
                }
            }
            Next::End => break,
            Next::Failed(e) => {
                ended = Ended::Client(e);
                break;
            }
        }
    }
    drop(to_writer);
    let (file, written) = writing.await?;
    let hasher = hashing.await?;
    if let Err(e) = written {
        ended = Ended::Disk(e);
    }
    Ok((Sink { file, hasher }, ended))
}

enum Next {
    Bytes(Bytes),
    End,
    Failed(String),
}

async fn next<S, E>(body: &mut S) -> Next
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    match tokio::time::timeout(BODY_IDLE, body.next()).await {
        Ok(Some(Ok(bytes))) => Next::Bytes(bytes),
        Ok(Some(Err(e))) => Next::Failed(e.to_string()),
        Ok(None) => Next::End,
        Err(_) => Next::Failed(format!("no data for {} seconds", BODY_IDLE.as_secs())),
    }
}

/// The writing thread: whatever has come since the last write, in one system call.
fn write(
    mut file: File,
    mut frames: mpsc::Receiver<Frame>,
    to_hasher: &std::sync::mpsc::SyncSender<Vec<Frame>>,
    received: &AtomicU64,
) -> (File, io::Result<()>) {
    let mut unflushed = 0;
    let flushing = Arc::new(AtomicBool::new(false));
    while let Some(first) = frames.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < QUEUE
            && let Ok(frame) = frames.try_recv()
        {
            batch.push(frame);
        }
        let bytes: Vec<Bytes> = batch.iter().map(|f| f.bytes.clone()).collect();
        let len: u64 = bytes.iter().map(|b| b.len() as u64).sum();
        // The hasher works on these bytes while they are being written.
        if to_hasher.send(batch).is_err() {
            return (file, Err(io::Error::other("the hashing thread ended")));
        }
        if let Err(e) = write_all(&mut file, &bytes) {
            return (file, Err(e));
        }
        received.fetch_add(len, Ordering::Release);
        unflushed += len;
        if unflushed >= FLUSH_EVERY && !flushing.swap(true, Ordering::AcqRel) {
            unflushed = 0;
            flush_behind(&file, Arc::clone(&flushing));
        }
    }
    (file, Ok(()))
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
