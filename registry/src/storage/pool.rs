//! Buffers that are used again: fresh ones would cost page faults for every chunk, and a bounded
//! number of them bounds the memory of all transfers together.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::sync::lock;

/// A pool of buffers of one size.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Mutex<Vec<Vec<u8>>>,
    size: usize,
    /// Buffers that are kept when nobody uses them.
    kept: usize,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A buffer, and how much of it is filled.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    pool: Arc<Inner>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Pool {
    /// A pool that keeps `count` buffers of `size` bytes.
    pub(super) fn new(count: usize, size: usize) -> Self {
        Self::keeping(count, size, count)
    }

    /// A pool that lends `count` buffers of `size` bytes at once, and keeps none: large ones.
    pub(super) fn lending(count: usize, size: usize) -> Self {
        Self::keeping(count, size, 0)
    }

    fn keeping(count: usize, size: usize, kept: usize) -> Self {
        Self(Arc::new(Inner {
            free: Mutex::default(),
            size,
            kept,
            permits: Arc::new(Semaphore::new(count)),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// An empty buffer, waiting for one to come back when all are in use.
    pub(super) async fn take(&self) -> Buffer {
        let permits = Arc::clone(&self.0.permits);
        let permit = match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                let _waiting = Waiting::of(&self.0.waiting);
                // The semaphore is never closed.
                permits.acquire_owned().await.ok()
            }
        };
        self.buffer(permit)
    }

    /// Whether somebody waits for a buffer.
    pub(super) fn is_short(&self) -> bool {
        self.0.waiting.load(Relaxed) > 0
    }

    /// An empty buffer, a new one when all are in use.
    pub(super) fn take_extra(&self) -> Buffer {
        self.buffer(None)
    }

    fn buffer(&self, permit: Option<OwnedSemaphorePermit>) -> Buffer {
        let free = self.0.lock().pop();
        Buffer {
            bytes: free.unwrap_or_else(|| vec![0; self.0.size]),
            len: 0,
            pool: Arc::clone(&self.0),
            _permit: permit,
        }
    }
}

/// Counts who waits, for as long as they do.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        lock(&self.free)
    }
}

impl Buffer {
    /// Copies as much of `bytes` as fits, and takes it off them.
    pub(super) fn fill(&mut self, bytes: &mut Bytes) {
        let n = bytes.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&bytes.split_to(n));
        self.len += n;
    }

    /// Bytes that are filled.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing more fits.
    pub(super) fn is_full(&self) -> bool {
        self.len == self.bytes.len()
    }

    /// The first `len` bytes, to be overwritten; they count as filled.
    pub(super) fn writable(&mut self, len: usize) -> &mut [u8] {
        self.len = len.min(self.bytes.len());
        &mut self.bytes[..self.len]
    }

    /// What is filled, as bytes that bring the buffer back when they are dropped.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.lock();
        if free.len() < self.pool.kept {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn buffers_come_back() {
        let pool = Pool::new(1, 4);
        let mut data = Bytes::from_static(b"abcdef");
        let mut buffer = pool.take().await;
        buffer.fill(&mut data);
        assert!(buffer.is_full());
        assert_eq!(&data[..], b"ef");
        let bytes = buffer.freeze();
        assert_eq!(&bytes[..], b"abcd");
        let again = tokio::spawn({
            let pool = pool.clone();
            async move { pool.take().await.as_ref().len() }
        });
        tokio::task::yield_now().await;
        assert!(!again.is_finished());
        drop(bytes);
        assert_eq!(again.await.unwrap(), 0);
    }
}
