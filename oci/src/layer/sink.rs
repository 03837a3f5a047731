//! Where the bytes of a tar go while it is made: in large chunks, to a writer or to a hasher on
//! its own thread.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::digest::{Algorithm, Digest, Hasher};

/// Large enough that handing chunks over costs nothing, small enough to stay in the cache.
const CHUNK: usize = 256 << 10;
/// How many chunks exist at most.
const RING: usize = 6;

/// Takes full chunks.
pub(super) trait Drain {
    /// Takes the first `len` bytes of `chunk` and returns a chunk to go on with.
    fn drain(&mut self, chunk: Vec<u8>, len: usize) -> io::Result<Vec<u8>>;
}

/// Gathers bytes into chunks.
pub(super) struct Sink<D> {
    drain: D,
    chunk: Vec<u8>,
    filled: usize,
    total: u64,
    content: u64,
}

/// Why copying content into the sink failed.
pub(super) enum FillError {
    Read(io::Error),
    /// The source ended before its size was reached.
    Short,
    Drain(io::Error),
}

impl<D: Drain> Sink<D> {
    pub(super) fn new(drain: D) -> Self {
        Self {
            drain,
            chunk: vec![0; CHUNK],
            filled: 0,
            total: 0,
            content: 0,
        }
    }

    fn flush_full(&mut self) -> io::Result<()> {
        if self.filled == self.chunk.len() {
            let chunk = std::mem::take(&mut self.chunk);
            self.chunk = self.drain.drain(chunk, self.filled)?;
            self.filled = 0;
        }
        Ok(())
    }

    fn advance(&mut self, n: usize) {
        self.filled += n;
        self.total += n as u64;
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = &mut self.chunk[self.filled..];
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            self.advance(n);
            self.flush_full()?;
        }
        Ok(())
    }

    /// Appends fewer than 512 zero bytes.
    pub(super) fn pad(&mut self, n: usize) -> io::Result<()> {
        const ZEROS: [u8; 512] = [0; 512];
        self.put(&ZEROS[..n])
    }

    /// Appends exactly `size` bytes that `read` gives, straight into the chunks.
    pub(super) fn fill(
        &mut self,
        mut size: u64,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<(), FillError> {
        while size > 0 {
            let room = &mut self.chunk[self.filled..];
            let wanted = usize::try_from(size).unwrap_or(usize::MAX).min(room.len());
            let n = read(&mut room[..wanted]).map_err(FillError::Read)?;
            if n == 0 {
                return Err(FillError::Short);
            }
            size -= n as u64;
            self.content += n as u64;
            self.advance(n);
            self.flush_full().map_err(FillError::Drain)?;
        }
        Ok(())
    }

    /// Appends `n` zero bytes as content, for as long as `go_on` allows.
    pub(super) fn zeros(
        &mut self,
        mut n: u64,
        mut go_on: impl FnMut() -> io::Result<()>,
    ) -> Result<(), FillError> {
        while n > 0 {
            go_on().map_err(FillError::Read)?;
            let room = &mut self.chunk[self.filled..];
            let len = usize::try_from(n).unwrap_or(usize::MAX).min(room.len());
            room[..len].fill(0);
            n -= len as u64;
            self.content += len as u64;
            self.advance(len);
            self.flush_full().map_err(FillError::Drain)?;
        }
        Ok(())
    }

    /// How many of the bytes so far were [filled in](Self::fill): the content of files.
    pub(super) fn content(&self) -> u64 {
        self.content
    }

    /// Passes on what is left; returns the drain and the number of bytes that went through.
    pub(super) fn finish(mut self) -> io::Result<(D, u64)> {
        if self.filled > 0 {
            let chunk = std::mem::take(&mut self.chunk);
            self.drain.drain(chunk, self.filled)?;
        }
        Ok((self.drain, self.total))
    }
}

/// Writes chunks to a writer.
pub(super) struct WriteDrain<'w, W: ?Sized>(pub(super) &'w mut W);

impl<W: Write + ?Sized> Drain for WriteDrain<'_, W> {
    fn drain(&mut self, chunk: Vec<u8>, len: usize) -> io::Result<Vec<u8>> {
        self.0.write_all(&chunk[..len])?;
        Ok(chunk)
    }
}

/// Writes chunks to a writer, and hashes them meanwhile.
pub(super) struct TeeDrain<'w, W: ?Sized> {
    out: &'w mut W,
    hash: HashDrain,
}

impl<'w, W: ?Sized> TeeDrain<'w, W> {
    pub(super) fn new(out: &'w mut W) -> Self {
        let hash = HashDrain::new();
        Self { out, hash }
    }

    pub(super) fn finish(self) -> io::Result<Digest> {
        self.hash.finish()
    }
}

impl<W: Write + ?Sized> Drain for TeeDrain<'_, W> {
    fn drain(&mut self, chunk: Vec<u8>, len: usize) -> io::Result<Vec<u8>> {
        self.out.write_all(&chunk[..len])?;
        self.hash.drain(chunk, len)
    }
}

/// Hashes chunks, from the second full one on in a thread: most layers are smaller than that,
/// and a thread costs more than hashing them.
pub(super) struct HashDrain {
    state: HashState,
    allocated: usize,
}

enum HashState {
    Inline { hasher: Hasher, chunks: usize },
    Thread(HashThread),
}

struct HashThread {
    full: SyncSender<(Vec<u8>, usize)>,
    empty: Receiver<Vec<u8>>,
    handle: JoinHandle<Hasher>,
}

fn thread_gone() -> io::Error {
    io::Error::other("the hashing thread ended early")
}

impl HashDrain {
    pub(super) fn new() -> Self {
        Self {
            state: HashState::Inline {
                hasher: Algorithm::Sha256.hasher(),
                chunks: 0,
            },
            allocated: 1,
        }
    }

    pub(super) fn finish(self) -> io::Result<Digest> {
        match self.state {
            HashState::Inline { hasher, .. } => Ok(hasher.finish()),
            HashState::Thread(HashThread { full, handle, .. }) => {
                drop(full);
                let hasher = handle.join().map_err(|_| thread_gone())?;
                Ok(hasher.finish())
            }
        }
    }
}

fn start(mut hasher: Hasher) -> io::Result<HashThread> {
    let (full, todo) = sync_channel::<(Vec<u8>, usize)>(RING);
    let (done, empty) = sync_channel(RING);
    let handle = std::thread::Builder::new()
        .name("diff-id".to_owned())
        .spawn(move || {
            for (chunk, len) in todo {
                hasher.update(&chunk[..len]);
                // The other side stops taking chunks back when it is done.
                let _ = done.try_send(chunk);
            }
            hasher
        })?;
    Ok(HashThread {
        full,
        empty,
        handle,
    })
}

impl Drain for HashDrain {
    fn drain(&mut self, chunk: Vec<u8>, len: usize) -> io::Result<Vec<u8>> {
        if let HashState::Inline { hasher, chunks } = &mut self.state {
            // A partial chunk is the last one.
            if *chunks == 0 || len < chunk.len() {
                hasher.update(&chunk[..len]);
                *chunks += 1;
                return Ok(chunk);
            }
            self.state = HashState::Thread(start(hasher.clone())?);
        }
        let HashState::Thread(thread) = &self.state else {
            return Err(thread_gone());
        };
        thread.full.send((chunk, len)).map_err(|_| thread_gone())?;
        if let Ok(empty) = thread.empty.try_recv() {
            return Ok(empty);
        }
        if self.allocated < RING {
            self.allocated += 1;
            return Ok(vec![0; CHUNK]);
        }
        thread.empty.recv().map_err(|_| thread_gone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_the_same_whatever_the_size() {
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 20 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let mut hash = Sink::new(HashDrain::new());
            let mut copy = Vec::new();
            let mut write = Sink::new(WriteDrain(&mut copy));
            for piece in bytes.chunks(10_007) {
                hash.put(piece).unwrap();
                write.put(piece).unwrap();
            }
            let (drain, total) = hash.finish().unwrap();
            assert_eq!(total, size as u64);
            assert_eq!(drain.finish().unwrap(), Digest::sha256(&bytes), "{size}");
            write.finish().unwrap();
            assert_eq!(copy, bytes);
        }
    }

    #[test]
    fn a_source_that_ends_early_is_an_error() {
        let mut sink = Sink::new(HashDrain::new());
        assert!(matches!(sink.fill(1, |_| Ok(0)), Err(FillError::Short)));
    }
}
