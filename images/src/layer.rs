//! A layer's tar, from whatever the store has of it: a blob, or the snapshot that it was made as.

use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use oci::blob::{BlobStore as _, BlobWriter, DiskBlobs, Expected};
use oci::digest::Hashing;
use oci::layer::compression::{CompressOptions, Compressor, decompress};
use oci::layer::{self, TarOptions, diff};
use oci::media_type::LayerCompression;
use oci::{ChainId, Descriptor, DiffId, Digest};

use crate::error::ImageError;
use crate::progress::Counted;
use crate::service::Images;

/// Where a layer's tar is to be had from.
#[derive(Clone, Debug)]
pub struct LayerTar {
    diff_id: DiffId,
    /// Bytes of the tar, where somebody wrote that down.
    size: Option<u64>,
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Origin {
    /// A blob, compressed or not.
    Blob(Arc<DiskBlobs>, Box<Descriptor>),
    /// The files of a layer that was made here.
    Snapshot { path: PathBuf, options: TarOptions },
}

impl LayerTar {
    /// Finds a layer, as part of the stack `chain_id`.
    ///
    /// # Errors
    /// [`ImageError::Layer`] when the store has neither blob nor snapshot of it.
    pub async fn find(
        images: &Images,
        diff_id: &DiffId,
        chain_id: &ChainId,
    ) -> Result<Self, ImageError> {
        let snapshot = images.store.snapshot(chain_id).await?;
        let size = snapshot.as_ref().map(|snapshot| snapshot.size_tar);
        let size = size.filter(|size| *size > 0);
        for blob in images.store.layer_blobs(diff_id).await? {
            if images.store.use_blob(&blob.digest).await? == Some(blob.size) {
                return Ok(Self {
                    diff_id: diff_id.clone(),
                    size,
                    origin: Origin::Blob(Arc::clone(images.store.blobs()), Box::new(blob)),
                });
            }
        }
        match snapshot {
            Some(snapshot) => Ok(Self {
                diff_id: diff_id.clone(),
                size,
                origin: Origin::Snapshot {
                    path: snapshot.fs_path,
                    options: TarOptions {
                        clamp_mtime: snapshot.clamp_mtime,
                    },
                },
            }),
            None => Err(ImageError::Layer {
                diff_id: diff_id.to_string(),
                message: "the store has lost it; pull or build the image again".to_owned(),
            }),
        }
    }

    /// The bytes of the tar, where somebody wrote that down.
    pub fn known_size(&self) -> Option<u64> {
        self.size
    }

    /// The bytes of the tar; when nobody wrote that down, by making it once.
    ///
    /// # Errors
    /// [`ImageError::Layer`].
    pub fn size(&self) -> Result<u64, ImageError> {
        if let Some(size) = self.size {
            return Ok(size);
        }
        match &self.origin {
            Origin::Blob(_, blob)
                if blob.media_type.layer_compression() == Some(LayerCompression::None) =>
            {
                Ok(blob.size)
            }
            Origin::Blob(..) => self.write_to(&mut io::sink()),
            Origin::Snapshot { path, options } => {
                let dir = layer::open_dir(path).map_err(|e| self.failed(e))?;
                let (found, size) = diff::diff_id(&dir, options).map_err(|e| self.failed(e))?;
                self.check(found.digest())?;
                Ok(size)
            }
        }
    }

    /// Writes the tar and verifies it; returns its size in bytes.
    ///
    /// # Errors
    /// [`ImageError::Layer`] when it is not what its diff ID says; what was written is of no use
    /// then.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<u64, ImageError> {
        let mut hashing = Hashing::new(BufWriter::with_capacity(256 << 10, out));
        match &self.origin {
            Origin::Blob(blobs, blob) => {
                let reader = blobs.open(&blob.digest)?;
                let reader = BufReader::with_capacity(1 << 20, reader);
                let (_, mut plain) = decompress(reader).map_err(|e| self.failed(e))?;
                io::copy(&mut plain, &mut hashing).map_err(|e| self.failed(e))?;
            }
            Origin::Snapshot { path, options } => {
                let dir = layer::open_dir(path).map_err(|e| self.failed(e))?;
                diff::write_tar(&dir, options, &mut hashing).map_err(|e| self.failed(e))?;
            }
        }
        hashing.flush().map_err(|e| self.failed(e))?;
        let (_, digest, size) = hashing.finish();
        self.check(&digest)?;
        Ok(size)
    }

    fn check(&self, found: &Digest) -> Result<(), ImageError> {
        if found == self.diff_id.digest() {
            return Ok(());
        }
        let what = match &self.origin {
            Origin::Blob(_, blob) => format!("its blob {}", blob.digest),
            Origin::Snapshot { path, .. } => format!("its snapshot {}", path.display()),
        };
        let message = format!(
            "{what} was changed behind the store's back: the content is {found}; \
             pull or build the image again"
        );
        Err(self.failed(message))
    }

    fn failed(&self, error: impl std::fmt::Display) -> ImageError {
        ImageError::Layer {
            diff_id: self.diff_id.to_string(),
            message: error.to_string(),
        }
    }
}

/// Compresses a layer into a blob; the tar is verified before the blob becomes one. `count` counts
/// the bytes of the tar that are done.
///
/// # Errors
/// As [`LayerTar::write_to`]; those of the blob store.
pub fn compress_into(
    tar: &LayerTar,
    compression: LayerCompression,
    options: &CompressOptions,
    blob: BufWriter<Box<dyn BlobWriter>>,
    count: &Arc<AtomicU64>,
) -> Result<(Digest, u64), ImageError> {
    let failed = |e: io::Error| tar.failed(e);
    let mut compressor = Compressor::new(compression, blob, options).map_err(failed)?;
    tar.write_to(&mut Counted::new(&mut compressor, count))?;
    let blob = compressor.finish().map_err(failed)?;
    let blob = blob.into_inner().map_err(|e| tar.failed(e.error()))?;
    Ok(blob.commit(&Expected::default())?)
}
