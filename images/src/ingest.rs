//! Layers into the store: read once, kept, hashed and unpacked at the same time.

use std::io::{self, Read, Write};
use std::path::Path;

use oci::blob::{BlobError, BlobStore as _, BlobWriter, DiskBlobs, Expected};
use oci::digest::Hashing;
use oci::layer::compression::{self, DETECT_LEN, Encoding};
use oci::layer::reader::{ReadError, Reader};
use oci::layer::unpack::{self, UnpackError, UnpackOptions};
use oci::{Descriptor, DiffId, Digest, MediaType, media_type};

/// Why a layer cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Nothing came.
    #[error("the archive is empty")]
    Empty,
    /// The archive cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The archive cannot be unpacked.
    #[error(transparent)]
    Unpack(UnpackError),
    /// Overlay heeds no such mark on the root of a lower directory: what it hides would show.
    #[error("it hides every layer below it, and cannot be stacked on them")]
    HidesAll,
    /// The archive stops in the middle.
    #[error("the archive ends in the middle of an entry: it is cut short, or no tar archive")]
    CutShort,
    /// It goes on and on.
    #[error("the archive is larger than {MAX_LAYER} bytes when decompressed")]
    TooLarge,
    /// The archive's bytes cannot be had, or not be kept.
    #[error("the archive cannot be brought in: {0}")]
    Source(io::Error),
    /// The layer's directory cannot be opened.
    #[error(transparent)]
    Open(#[from] oci::layer::TarError),
    /// The archive cannot be stored, or is not what was promised.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It is another layer.
    #[error("the layer's diff ID is {expected}, but the content has {actual}")]
    DiffId {
        /// As the image's configuration has it.
        expected: DiffId,
        /// Of what came.
        actual: DiffId,
    },
}

impl From<io::Error> for IngestError {
    fn from(cause: io::Error) -> Self {
        Self::Source(cause)
    }
}

/// The largest layer that is taken, in bytes: what stops a decompression bomb.
const MAX_LAYER: u64 = 256 << 30;

impl From<ReadError> for IngestError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => Self::CutShort,
            other => Self::Read(other),
        }
    }
}

impl From<UnpackError> for IngestError {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::Read(error) => error.into(),
            other => Self::Unpack(other),
        }
    }
}

/// What is known of a layer once all of it has been read.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Bytes of its tar.
    pub size_tar: u64,
    /// Bytes of its files.
    pub size_files: u64,
    /// It as it was stored.
    pub blob: Descriptor,
}

/// Copies what is read through it into a blob.
struct Tee<R> {
    source: R,
    blob: Box<dyn BlobWriter>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buf)?;
        self.blob.write_all(&buf[..n])?;
        Ok(n)
    }
}

impl<R: Read> Tee<R> {
    /// Reads what is left and makes the blob one.
    fn commit(mut self, expected: &Expected) -> Result<(Digest, u64), IngestError> {
        if io::copy(&mut (&mut self).take(MAX_LAYER + 1), &mut io::sink())? > MAX_LAYER {
            return Err(IngestError::TooLarge);
        }
        Ok(self.blob.commit(expected)?)
    }
}

/// What a layer must turn out to be.
#[derive(Clone, Debug, Default)]
pub struct Promised {
    /// The digest of its tar.
    pub diff_id: Option<DiffId>,
    /// It as it comes.
    pub blob: Option<Descriptor>,
}

/// Reads a layer once: keeps it as a blob as it came, hashes its tar, and unpacks it to `upper`,
/// all at the same time. The blob becomes one only when both digests are as promised.
///
/// # Errors
/// [`IngestError`]; there is no blob then, and `upper` is of no use.
pub fn ingest(
    mut source: impl Read + Send,
    blobs: &DiskBlobs,
    upper: Option<&Path>,
    promised: &Promised,
) -> Result<Layer, IngestError> {
    let mut start = Vec::with_capacity(DETECT_LEN);
    (&mut source)
        .take(DETECT_LEN as u64)
        .read_to_end(&mut start)?;
    if start.is_empty() {
        return Err(IngestError::Empty);
    }
    let kind = Encoding::detect(&start);
    let whole = io::Cursor::new(start).chain(source);
    let blob = blobs.writer()?;
    let detected: MediaType = match kind {
        Encoding::Gzip => media_type::DOCKER_LAYER_GZIP,
        Encoding::Zstd => media_type::OCI_LAYER_ZSTD,
        Encoding::None | Encoding::Xz | Encoding::Bzip2 => media_type::DOCKER_LAYER,
    }
    .into();
    let stored = match &promised.blob {
        // A media type that is right about the compression is kept.
        Some(blob) if blob.media_type.layer_compression() == detected.layer_compression() => {
            blob.media_type.clone()
        }
        _ => detected,
    };
    let expected = Expected {
        digest: promised.blob.as_ref().map(|blob| blob.digest.clone()),
        size: promised.blob.as_ref().map(|blob| blob.size),
    };
    if stored.layer_compression() == Some(media_type::LayerCompression::None) {
        // What is no form of layer anywhere is kept decompressed.
        let (_, plain) = compression::decompress(whole)?;
        let mut tee = Tee {
            source: plain,
            blob,
        };
        let size_files = take_apart(&mut tee, upper)?;
        let diff_id = promised.diff_id.as_ref().map(|id| id.digest().clone());
        let (digest, size) = tee.commit(&Expected {
            digest: diff_id.or(expected.digest),
            size: None,
        })?;
        return Ok(Layer {
            diff_id: digest.clone().into(),
            size_tar: size,
            size_files,
            blob: Descriptor::new(stored, digest, size),
        });
    }
    let mut tee = Tee {
        source: whole,
        blob,
    };
    let (_, plain) = compression::decompress(&mut tee)?;
    let mut hashing = Hashing::new(plain);
    let size_files = take_apart(&mut hashing, upper)?;
    // What follows the end of the archive is part of the layer's digest too.
    let left = MAX_LAYER.saturating_sub(hashing.len());
    if io::copy(&mut (&mut hashing).take(left + 1), &mut io::sink())? > left {
        return Err(IngestError::TooLarge);
    }
    let (plain, diff_id, size_tar) = hashing.finish();
    drop(plain);
    let diff_id = DiffId::from(diff_id);
    if let Some(expected) = promised.diff_id.as_ref().filter(|id| **id != diff_id) {
        return Err(IngestError::DiffId {
            expected: expected.clone(),
            actual: diff_id,
        });
    }
    let (digest, size) = tee.commit(&expected)?;
    Ok(Layer {
        diff_id,
        size_tar,
        size_files,
        blob: Descriptor::new(stored, digest, size),
    })
}

/// Unpacks a tar, or only reads it where we may not make other users' files; returns the bytes
/// of its files.
fn take_apart(tar: &mut (impl Read + Send), upper: Option<&Path>) -> Result<u64, IngestError> {
    if let Some(upper) = upper {
        let target = oci::layer::open_dir(upper)?;
        let unpacked = unpack::layer(tar, &target, &UnpackOptions::default())?;
        if unpacked.opaque_root {
            return Err(IngestError::HidesAll);
        }
        return Ok(unpacked.bytes);
    }
    let mut reader = Reader::new(tar);
    let mut bytes = 0;
    while let Some(entry) = reader.next_entry()? {
        bytes += entry.size;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_archives_come_to_the_same_layer() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(5);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, "file", &b"hello"[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(dir.path()).unwrap();
        for format in [
            None,
            Some(media_type::LayerCompression::Gzip),
            Some(media_type::LayerCompression::Zstd),
        ] {
            let bytes = match format {
                None => tar.clone(),
                Some(format) => {
                    let options = compression::CompressOptions::default();
                    let mut out =
                        compression::Compressor::new(format, Vec::new(), &options).unwrap();
                    out.write_all(&tar).unwrap();
                    out.finish().unwrap()
                }
            };
            let layer = ingest(
                io::Cursor::new(bytes.clone()),
                &blobs,
                None,
                &Promised::default(),
            )
            .unwrap();
            assert_eq!(*layer.diff_id.digest(), Digest::sha256(&tar));
            assert_eq!(layer.blob.digest, Digest::sha256(&bytes));
            assert_eq!((layer.size_tar, layer.size_files), (tar.len() as u64, 5));
        }
        let empty = ingest(io::empty(), &blobs, None, &Promised::default());
        assert!(matches!(empty, Err(IngestError::Empty)));
        assert!(
            ingest(
                &b"no archive at all"[..],
                &blobs,
                None,
                &Promised::default()
            )
            .is_err()
        );
    }

    #[test]
    fn what_is_not_as_promised_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(dir.path()).unwrap();
        let tar = vec![0; 1024];
        let mut gzip = compression::Compressor::new(
            media_type::LayerCompression::Gzip,
            Vec::new(),
            &compression::CompressOptions::default(),
        )
        .unwrap();
        gzip.write_all(&tar).unwrap();
        let other = Digest::sha256(b"other");
        for bytes in [tar, gzip.finish().unwrap()] {
            let digest = Digest::sha256(&bytes);
            for promised in [
                Promised {
                    diff_id: Some(other.clone().into()),
                    blob: None,
                },
                Promised {
                    diff_id: None,
                    blob: Some(Descriptor::new(media_type::OCI_LAYER, other.clone(), 1)),
                },
            ] {
                ingest(&bytes[..], &blobs, None, &promised).unwrap_err();
                assert_eq!(blobs.size(&digest).unwrap(), None);
            }
        }
    }
}
