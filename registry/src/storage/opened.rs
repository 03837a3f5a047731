//! Blobs that are open: to be read on a thread, as a file, or to be served.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{Stream, stream};
use oci::Digest;

use super::blobs::{BlobFiles, Staged};
use super::error::StorageError;
use super::objects::{ObjectReader, ObjectStream, Store};
use super::read::Segment;

/// A blob that is read on a thread of its own.
#[derive(Debug)]
pub struct Reading(pub(super) From);

/// Where a blob is read from.
#[derive(Debug)]
pub(super) enum From {
    /// A file, of so many bytes.
    File(File, u64),
    /// An object.
    Object(ObjectReader),
}

impl Reading {
    /// Bytes of all of it.
    pub fn size(&self) -> u64 {
        match &self.0 {
            From::File(_, size) => *size,
            From::Object(reader) => reader.size(),
        }
    }

    /// Takes all of it over as a file elsewhere; `None` when it is not what the digest says.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn import_to(
        &mut self,
        files: &BlobFiles,
        digest: &Digest,
    ) -> Result<Option<Staged>, StorageError> {
        if let From::File(file, _) = &self.0
            && let Some(done) = files.import_shared(file, digest)?
        {
            return Ok(done);
        }
        files.import_from(self, digest)
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            From::File(file, _) => file.read(buffer),
            From::Object(reader) => reader.read(buffer),
        }
    }
}

impl io::Seek for Reading {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            From::File(file, _) => file.seek(to),
            From::Object(reader) => reader.seek(to),
        }
    }
}

/// A blob in a file that lasts as long as this.
#[derive(Debug)]
pub struct InFile {
    pub(super) path: PathBuf,
    /// A copy, which goes with it.
    pub(super) _copy: Option<Staged>,
}

impl InFile {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A blob that is served.
#[derive(Debug)]
pub enum Served {
    /// From a file.
    File(File),
    /// From an object store.
    Object(ServedObject),
}

/// A blob in an object store that is served.
#[derive(Debug)]
pub struct ServedObject {
    pub(super) store: Store,
    pub(super) digest: Digest,
}

impl ServedObject {
    /// Streams parts of it in order. The first one is asked for at once; `None` when the blob is
    /// gone. What the store does not give ends it with an error.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn read(
        self,
        segments: Vec<Segment>,
    ) -> Result<Option<impl Stream<Item = io::Result<Bytes>> + Send + 'static>, StorageError> {
        let mut parts = VecDeque::with_capacity(segments.len());
        let mut asked = false;
        for segment in segments {
            parts.push_back(match segment {
                Segment::Bytes(bytes) => Part::Bytes(bytes),
                Segment::File { offset, len } => {
                    let end = offset.saturating_add(len);
                    let mut stream = self.store.stream_blob(&self.digest, offset, end);
                    if !asked && !stream.open().await? {
                        return Ok(None);
                    }
                    asked = true;
                    Part::Stream(stream)
                }
            });
        }
        Ok(Some(stream::try_unfold(parts, |mut parts| async move {
            loop {
                let next = match parts.front_mut() {
                    None => return Ok(None),
                    Some(Part::Bytes(bytes)) => Some(std::mem::take(bytes)),
                    Some(Part::Stream(stream)) => stream.next().await?,
                };
                match next {
                    Some(bytes) if !bytes.is_empty() => return Ok(Some((bytes, parts))),
                    _ => drop(parts.pop_front()),
                }
            }
        })))
    }
}

/// A part of an answer.
enum Part {
    Bytes(Bytes),
    Stream(ObjectStream),
}
