//! Verifying a layer while it is read.

use std::io::{self, Read};

use crate::digest::Hashing;
use crate::{DiffId, Digest};

/// Why what was read is not the layer.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is another one.
    #[error("the layer's diff ID is {expected}, but the content has {actual}")]
    Mismatch {
        /// As the image's configuration has it.
        expected: DiffId,
        /// Of what was read.
        actual: Digest,
    },
    /// It goes on and on.
    #[error("the layer is larger than {0} bytes when decompressed")]
    TooLarge(u64),
    /// It cannot be read.
    #[error("reading the layer: {0}")]
    Io(io::Error),
}

impl From<io::Error> for VerifyError {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

/// Passes an uncompressed layer through, and checks that it is the one it should be.
///
/// What was read must not be used before [`finish`](Self::finish) has returned.
#[derive(Debug)]
pub struct Verified<R> {
    inner: Hashing<R>,
    expected: DiffId,
    max_size: u64,
}

impl<R: Read> Verified<R> {
    /// Reads `layer`, which is to have this diff ID and at most `max_size` bytes. The limit ends
    /// the reading at once: this is what stops a decompression bomb.
    pub fn new(layer: R, expected: DiffId, max_size: u64) -> Self {
        Self {
            inner: Hashing::new(layer),
            expected,
            max_size,
        }
    }

    /// Reads to the end what was not read yet, and verifies; returns the size in bytes.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn finish(mut self) -> Result<u64, VerifyError> {
        let mut buffer = vec![0; 64 << 10];
        while self.read(&mut buffer).map_err(unwrap_limit)? > 0 {}
        let (_, actual, size) = self.inner.finish();
        if actual != self.expected.0 {
            return Err(VerifyError::Mismatch {
                expected: self.expected,
                actual,
            });
        }
        Ok(size)
    }
}

/// Gets our own error back out of the `io::Error` that `read` has to return.
fn unwrap_limit(e: io::Error) -> VerifyError {
    match e.downcast::<VerifyError>() {
        Ok(ours) => ours,
        Err(e) => VerifyError::Io(e),
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if self.inner.len() > self.max_size {
            return Err(io::Error::other(VerifyError::TooLarge(self.max_size)));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::compression::decompress;

    fn id(bytes: &[u8]) -> DiffId {
        Digest::sha256(bytes).into()
    }

    #[test]
    fn accepts_only_the_layer_itself() {
        assert_eq!(
            Verified::new(&b"layer"[..], id(b"layer"), 5)
                .finish()
                .unwrap(),
            5
        );
        assert!(matches!(
            Verified::new(&b"other"[..], id(b"layer"), 5).finish(),
            Err(VerifyError::Mismatch { .. })
        ));
        assert!(matches!(
            Verified::new(&b"layer"[..], id(b"layer"), 4).finish(),
            Err(VerifyError::TooLarge(4))
        ));
    }

    #[test]
    fn what_follows_the_part_that_was_read_counts() {
        let mut verified = Verified::new(&b"layer and more"[..], id(b"layer"), 100);
        verified.read_exact(&mut [0; 5]).unwrap();
        assert!(matches!(
            verified.finish(),
            Err(VerifyError::Mismatch { .. })
        ));
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let mut bomb = Vec::new();
        flate2::read::GzEncoder::new(io::repeat(0).take(64 << 20), flate2::Compression::best())
            .read_to_end(&mut bomb)
            .unwrap();
        assert!(bomb.len() < 100_000);
        let (_, reader) = decompress(&bomb[..]).unwrap();
        let mut verified = Verified::new(reader, id(b""), 1 << 20);
        let read = io::copy(&mut verified, &mut io::sink());
        assert!(
            read.unwrap_err()
                .to_string()
                .contains("larger than 1048576")
        );
        assert!(verified.inner.len() < 2 << 20);
    }
}
