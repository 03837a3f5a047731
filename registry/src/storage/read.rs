//! Blob content as a stream: parts of a file, read ahead on a blocking thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::task::JoinHandle;

use super::pool::Pool;

/// Bytes read at once. Large enough that system calls do not count, small enough that the bytes
/// are still in the processor's cache when they are sent.
const CHUNK: usize = 256 << 10;
/// Buffers kept for the next download.
const KEPT: usize = 32;

static BUFFERS: LazyLock<Pool> = LazyLock::new(|| Pool::new(KEPT, CHUNK));

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

/// Streams `segments` of `file` in order, reading one chunk ahead of the client. A file shorter
/// than promised is an error, so that a client never takes a truncated answer for a whole one.
///
/// A slow client costs two buffers, but no thread.
pub fn read_segments(
    file: File,
    segments: Vec<Segment>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let mut reader = Reader {
        file: Arc::new(file),
        segments: segments.into(),
        ahead: None,
    };
    reader.advance();
    stream::unfold(reader, |mut reader| async move {
        let item = match reader.ahead.take()? {
            Ahead::Bytes(bytes) => Ok(bytes),
            Ahead::Reading(task) => task.await.unwrap_or_else(|e| Err(io::Error::other(e))),
        };
        if item.is_ok() {
            reader.advance();
        }
        Some((item, reader))
    })
}

/// The bytes from `offset` on: `len` of them, or a chunk where that is less.
pub(super) fn read_chunk(file: &File, offset: u64, len: u64) -> io::Result<Bytes> {
    let mut buffer = BUFFERS.take_extra();
    // It fits: it is at most CHUNK.
    let want = len.min(CHUNK as u64) as usize;
    file.read_exact_at(buffer.writable(want), offset)?;
    Ok(buffer.freeze())
}

struct Reader {
    file: Arc<File>,
    segments: VecDeque<Segment>,
    ahead: Option<Ahead>,
}

enum Ahead {
    Bytes(Bytes),
    Reading(JoinHandle<io::Result<Bytes>>),
}

impl Reader {
    /// Begins to get the next chunk.
    fn advance(&mut self) {
        self.ahead = match self.segments.pop_front() {
            None => None,
            Some(Segment::Bytes(bytes)) => Some(Ahead::Bytes(bytes)),
            Some(Segment::File { offset, len }) => {
                let want = len.min(CHUNK as u64);
                if want < len {
                    self.segments.push_front(Segment::File {
                        offset: offset + want,
                        len: len - want,
                    });
                }
                let file = Arc::clone(&self.file);
                Some(Ahead::Reading(tokio::task::spawn_blocking(move || {
                    read_chunk(&file, offset, want)
                })))
            }
        };
    }
}
