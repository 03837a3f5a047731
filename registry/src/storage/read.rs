//! Blob content as a stream: parts of a file, read ahead on a blocking thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

/// Bytes read at once. Large enough that system calls do not count, small enough that the bytes
/// are still in the processor's cache when they are sent.
const CHUNK: usize = 256 << 10;
/// Chunks read ahead of the client.
const AHEAD: usize = 2;

/// A part of an answer's body.
#[derive(Clone, Debug)]
pub enum Segment {
    /// These bytes.
    Bytes(Bytes),
    /// This part of the file.
    File {
        /// Where it begins.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

/// Streams `segments` of `file` in order. A file shorter than promised is an error, so that a
/// client never takes a truncated answer for a whole one.
pub fn read_segments(
    file: File,
    segments: Vec<Segment>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(e) = send_segments(&file, segments, &sender) {
            // The client may be gone, which is why it failed.
            let _ = sender.blocking_send(Err(e));
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

fn send_segments(
    file: &File,
    segments: Vec<Segment>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let pool = Arc::new(Pool::default());
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    for segment in segments {
        match segment {
            Segment::Bytes(bytes) => sender.blocking_send(Ok(bytes)).map_err(|_| gone())?,
            Segment::File { offset, len } => {
                let mut at = offset;
                let end = offset + len;
                while at < end {
                    let want = usize::try_from(end - at).map_or(CHUNK, |left| left.min(CHUNK));
                    let mut buffer = pool.take();
                    file.read_exact_at(&mut buffer[..want], at)?;
                    at += want as u64;
                    let chunk = Bytes::from_owner(Pooled {
                        buffer,
                        len: want,
                        pool: Arc::clone(&pool),
                    });
                    sender.blocking_send(Ok(chunk)).map_err(|_| gone())?;
                }
            }
        }
    }
    Ok(())
}

/// Buffers that come back when they are sent: fresh ones would cost page faults for every chunk.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_else(|| vec![0; CHUNK])
    }
}

struct Pooled {
    buffer: Vec<u8>,
    len: usize,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(std::mem::take(&mut self.buffer));
    }
}
