//! Blob content as a stream: parts of a file, from memory or read ahead on a blocking thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::{Stream, stream};
use rustix::io::{ReadWriteFlags, preadv2};
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

/// Streams `segments` of `file` in order. What is in memory is read at once, without a change of
/// threads; for the rest one chunk is read ahead of the client. A file shorter than promised is an
/// error, so that a client never takes a truncated answer for a whole one.
///
/// A slow client costs two buffers, but no thread.
pub fn read_segments(
    file: File,
    segments: Vec<Segment>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let reader = Reader {
        file: Arc::new(file),
        segments: segments.into(),
        ahead: None,
    };
    stream::unfold(reader, |mut reader| async move {
        let item = reader.next().await?;
        Some((item, reader))
    })
}

/// The bytes from `offset` on: `len` of them, or a chunk where that is less.
pub(super) fn read_chunk(file: &File, offset: u64, len: u64) -> io::Result<Bytes> {
    let mut buffer = BUFFERS.take_extra();
    file.read_exact_at(buffer.writable(chunk(len)), offset)?;
    Ok(buffer.freeze())
}

/// The same, as far as they are in memory; `None` when none are, or nobody can tell.
pub(super) fn read_cached(file: &File, offset: u64, len: u64) -> Option<Bytes> {
    let mut buffer = BUFFERS.take_extra();
    let mut there = [IoSliceMut::new(buffer.writable(chunk(len)))];
    // Does not wait for a disk, so that it may be done on any thread.
    let read = preadv2(file, &mut there, offset, ReadWriteFlags::NOWAIT).ok()?;
    (read > 0).then(|| buffer.freeze().slice(..read))
}

/// It fits into memory: it is at most [`CHUNK`].
fn chunk(len: u64) -> usize {
    len.min(CHUNK as u64) as usize
}

struct Reader {
    file: Arc<File>,
    segments: VecDeque<Segment>,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reader {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.ahead.is_none() {
            match self.segments.front_mut()? {
                Segment::Bytes(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.segments.pop_front();
                    return Some(Ok(bytes));
                }
                Segment::File { offset, len } => {
                    if let Some(bytes) = read_cached(&self.file, *offset, *len) {
                        *offset += bytes.len() as u64;
                        *len -= bytes.len() as u64;
                        if *len == 0 {
                            self.segments.pop_front();
                        }
                        return Some(Ok(bytes));
                    }
                    self.read_ahead();
                }
            }
        }
        let item = match self.ahead.as_mut()?.await {
            Ok(item) => item,
            Err(e) => Err(io::Error::other(e)),
        };
        self.ahead = None;
        match item {
            Ok(_) => self.read_ahead(),
            Err(_) => self.segments.clear(),
        }
        Some(item)
    }

    /// Begins to read the next chunk, when the next segment is of the file.
    fn read_ahead(&mut self) {
        let Some(Segment::File { offset, len }) = self.segments.front_mut() else {
            return;
        };
        let (from, want) = (*offset, chunk(*len) as u64);
        *offset += want;
        *len -= want;
        if *len == 0 {
            self.segments.pop_front();
        }
        let file = Arc::clone(&self.file);
        let reading = move || read_chunk(&file, from, want);
        self.ahead = Some(tokio::task::spawn_blocking(reading));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        file
    }

    async fn all(file: File, segments: Vec<Segment>) -> io::Result<Vec<u8>> {
        read_segments(file, segments)
            .try_fold(Vec::new(), |mut all, bytes| async move {
                all.extend_from_slice(&bytes);
                Ok(all)
            })
            .await
    }

    #[tokio::test]
    async fn segments_come_in_order_and_whole() {
        let content: Vec<u8> = (0..3 * CHUNK + 5)
            .map(|n| n as u8 ^ (n >> 8) as u8)
            .collect();
        let text = Bytes::from_static(b"--");
        let part = |offset, len| Segment::File { offset, len };
        let segments = vec![
            part(0, content.len() as u64),
            Segment::Bytes(text.clone()),
            part(7, 2 * CHUNK as u64),
            part(1, 1),
            Segment::Bytes(text),
        ];
        let expected = [
            &content[..],
            b"--",
            &content[7..7 + 2 * CHUNK],
            &content[1..2],
            b"--",
        ];
        let expected = expected.concat();
        assert!(all(file(&content), segments).await.unwrap() == expected);
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        for (there, len) in [(0, 1), (10, 11), (CHUNK, CHUNK + 1), (CHUNK + 1, 2 * CHUNK)] {
            let segments = vec![Segment::File {
                offset: 0,
                len: len as u64,
            }];
            let read = all(file(&vec![7; there]), segments).await;
            assert_eq!(
                read.unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof,
                "{there} of {len}"
            );
        }
    }
}
