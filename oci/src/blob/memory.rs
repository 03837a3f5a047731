//! Blobs in memory, for tests and for small things that need no file.

use std::collections::HashMap;
use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use super::store::{BlobError, BlobRead, BlobStore, BlobWriter, Expected};
use crate::digest::{Algorithm, Digest};
use crate::sync::lock;

type Blobs = HashMap<Digest, Arc<[u8]>>;

/// A blob store in memory; clones share their blobs.
#[derive(Clone, Debug, Default)]
pub struct MemoryBlobs {
    blobs: Arc<Mutex<Blobs>>,
}

impl MemoryBlobs {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl BlobStore for MemoryBlobs {
    fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        Ok(lock(&self.blobs)
            .get(digest)
            .map(|bytes| bytes.len() as u64))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobRead>, BlobError> {
        match lock(&self.blobs).get(digest) {
            Some(bytes) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
            None => Err(BlobError::NotFound(digest.clone())),
        }
    }

    fn writer(&self) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(MemoryWriter {
            store: self.clone(),
            bytes: Vec::new(),
        }))
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        lock(&self.blobs).remove(digest);
        Ok(())
    }

    fn list(&self) -> Result<Vec<Digest>, BlobError> {
        Ok(lock(&self.blobs).keys().cloned().collect())
    }
}

struct MemoryWriter {
    store: MemoryBlobs,
    bytes: Vec<u8>,
}

impl Write for MemoryWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.bytes.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryWriter {
    fn commit(self: Box<Self>, expected: &Expected) -> Result<(Digest, u64), BlobError> {
        let len = self.bytes.len() as u64;
        expected.check_size(len)?;
        let algorithm = expected
            .digest
            .as_ref()
            .map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = algorithm.digest(&self.bytes);
        expected.check_digest(&digest)?;
        let Self { store, bytes } = *self;
        lock(&store.blobs)
            .entry(digest.clone())
            .or_insert_with(|| bytes.into());
        Ok((digest, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::conformance;

    #[test]
    fn conforms() {
        conformance::check(|| Ok::<_, BlobError>(MemoryBlobs::new())).unwrap();
    }
}
