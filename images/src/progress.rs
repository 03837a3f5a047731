//! How far work on layers has come, for whoever shows it.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oci::Digest;
use tokio::task::{JoinError, JoinHandle};

/// Told of each layer that is unpacked, brought in or written out. Called from any thread, and
/// often: it must not block.
pub trait LayerProgress: Send + Sync {
    /// So many bytes of a layer are done, of `total`; 0 of a layer whose size nobody knows.
    fn layer(&self, id: &Digest, current: u64, total: u64);
    /// All of a layer is done.
    fn done(&self, id: &Digest);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Untold;

impl LayerProgress for Untold {
    fn layer(&self, _: &Digest, _: u64, _: u64) {}
    fn done(&self, _: &Digest) {}
}

/// Counts the bytes that pass.
pub(crate) struct Counted<T> {
    inner: T,
    count: Arc<AtomicU64>,
}

impl<T> Counted<T> {
    pub(crate) fn new(inner: T, count: &Arc<AtomicU64>) -> Self {
        let count = Arc::clone(count);
        Self { inner, count }
    }

    fn add(&self, n: usize) {
        self.count.fetch_add(n as u64, Ordering::Relaxed);
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.add(n);
        Ok(n)
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.add(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// How often a count is told: what eyes can follow.
const TELL: Duration = Duration::from_millis(100);

/// Waits for work on another thread, and tells its count meanwhile.
pub(crate) async fn watched<T>(
    mut work: JoinHandle<T>,
    count: &AtomicU64,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<T, JoinError> {
    let mut ticks = tokio::time::interval(TELL);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => tell(count.load(Ordering::Relaxed)),
        }
    }
}
