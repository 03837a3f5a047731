//! How far compressed input may grow: what stops a decompression bomb.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What one stream may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes, decompressed; 0 for any number.
    pub size: u64,
    /// How many bytes one compressed byte may come to, on the average from the beginning; 0 for
    /// any number. Heeded past [`FREE`] bytes alone.
    pub ratio: u64,
}

/// Output that is never too much for the ratio, in bytes: files of zeros are common and small.
pub const FREE: u64 = 1 << 30;

impl Default for Bounds {
    /// 256 GiB. DEFLATE comes to at most 1032 bytes for one, so that no gzip is ever refused for
    /// its ratio: what is, was made to be.
    fn default() -> Self {
        Self {
            size: 256 << 30,
            ratio: 1200,
        }
    }
}

static OF_PROCESS: OnceLock<Bounds> = OnceLock::new();

impl Bounds {
    /// The bounds of this process: the default ones unless [`set`](Self::set) came first.
    pub fn of_process() -> Self {
        *OF_PROCESS.get_or_init(Self::default)
    }

    /// Sets the bounds of this process, once, before anything is decompressed. Says whether it
    /// was the first.
    pub fn set(self) -> bool {
        OF_PROCESS.set(self).is_ok()
    }
}

/// A stream grew too far.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// For its size.
    #[error("it is larger than {0} bytes when decompressed, which is the limit")]
    Size(u64),
    /// For what it was compressed to.
    #[error(
        "{compressed} bytes of it come to more than {plain} when decompressed, which is over {ratio} \
         times as much: it looks like a decompression bomb"
    )]
    Ratio {
        /// Bytes read.
        compressed: u64,
        /// Bytes that came of them.
        plain: u64,
        /// The limit.
        ratio: u64,
    },
}

/// Counts what is read through it.
pub(super) struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            count: Arc::default(),
        }
    }

    pub(super) fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Ends a stream that grows too far.
pub(super) struct Bounded<R> {
    inner: R,
    compressed: Arc<AtomicU64>,
    plain: u64,
    bounds: Bounds,
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, compressed: Arc<AtomicU64>, bounds: Bounds) -> Self {
        Self {
            inner,
            compressed,
            plain: 0,
            bounds,
        }
    }

    fn check(&self) -> Result<(), TooMuch> {
        let Bounds { size, ratio } = self.bounds;
        let plain = self.plain;
        if size > 0 && plain > size {
            return Err(TooMuch::Size(size));
        }
        if ratio == 0 || plain <= FREE {
            return Ok(());
        }
        let compressed = self.compressed.load(Ordering::Relaxed);
        match plain / ratio > compressed {
            true => Err(TooMuch::Ratio {
                compressed,
                plain,
                ratio,
            }),
            false => Ok(()),
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.plain += n as u64;
        self.check().map_err(io::Error::other)?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bounds: Bounds, plain: u64, compressed: u64) -> io::Result<u64> {
        let inner = io::repeat(0).take(plain);
        let count = Arc::new(AtomicU64::new(compressed));
        io::copy(&mut Bounded::new(inner, count, bounds), &mut io::sink())
    }

    #[test]
    fn size_and_ratio_are_bounded() {
        let bounds = Bounds {
            size: 2 << 30,
            ratio: 1000,
        };
        // Up to the free bytes no ratio counts.
        assert_eq!(read(bounds, FREE, 1).unwrap(), FREE);
        let bomb = read(bounds, FREE + (1 << 20), 218_000)
            .unwrap_err()
            .to_string();
        assert!(bomb.contains("218000 bytes of it"), "{bomb}");
        assert!(bomb.contains("decompression bomb"), "{bomb}");
        let plain = FREE + (1 << 20);
        assert_eq!(read(bounds, plain, plain / 1000).unwrap(), plain);
        let unbounded = Bounds { ratio: 0, ..bounds };
        assert_eq!(read(unbounded, plain, 1).unwrap(), plain);
        let small = Bounds {
            size: 1000,
            ratio: 0,
        };
        assert_eq!(read(small, 1000, 1).unwrap(), 1000);
        let large = read(small, 1001, 1).unwrap_err().to_string();
        assert!(large.contains("larger than 1000 bytes"), "{large}");
    }

    #[test]
    fn the_ratio_counts_from_the_first_byte_past_what_is_free() {
        let refused = |plain: u64, compressed: u64| {
            let count = Arc::new(AtomicU64::new(compressed));
            let mut bounded = Bounded::new(io::empty(), count, Bounds::default());
            bounded.plain = plain;
            bounded.check().is_err()
        };
        let ratio = Bounds::default().ratio;
        // A hundred KiB of Zstandard may come to a GiB, and not to one byte more.
        assert!(!refused(FREE, 100 << 10));
        assert!(refused(FREE + 1, 100 << 10));
        // Past it, exactly the ratio is allowed.
        let compressed = FREE / ratio + 1;
        assert!(!refused(compressed * ratio, compressed));
        assert!(!refused(compressed * ratio + ratio - 1, compressed));
        assert!(refused(compressed * ratio + ratio, compressed));
        // The most that DEFLATE can do is never refused.
        assert!(!refused(64 * FREE, 64 * FREE / 1032));
    }
}
