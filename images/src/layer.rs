//! A layer's tar, from whatever the store has of it: a blob, or the snapshot that it was made as.

use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::Growth;
use oci::blob::{BlobStore as _, BlobWriter, DiskBlobs, Expected};
use oci::digest::Hashing;
use oci::layer::compression::{
    CompressOptions, Compression, Compressor, ReadAhead, WriteBehind, decompress,
};
use oci::layer::toc::TocCompressor;
use oci::layer::{self, TarOptions, diff};
use oci::media_type::{self, LayerCompression};
use oci::{ChainId, Descriptor, DiffId, Digest};
use tokio::sync::watch;

use crate::error::ImageError;
use crate::making::{Compressed, Observed};
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
        let (digest, size) = match &self.origin {
            Origin::Blob(blobs, blob) => {
                let reader = blobs.open(&blob.digest)?;
                let reader = BufReader::with_capacity(1 << 20, reader);
                let (_, plain) = decompress(reader).map_err(|e| self.failed(e))?;
                let mut plain = ReadAhead::new(plain).map_err(|e| self.failed(e))?;
                let mut hashing = Hashing::new(BufWriter::with_capacity(256 << 10, out));
                io::copy(&mut plain, &mut hashing).map_err(|e| self.failed(e))?;
                hashing.flush().map_err(|e| self.failed(e))?;
                let (_, digest, size) = hashing.finish();
                (digest, size)
            }
            Origin::Snapshot { path, options } => {
                let dir = layer::open_dir(path).map_err(|e| self.failed(e))?;
                let written = diff::write_hashed(&dir, options, out, &|| Ok(()));
                written.map_err(|e| self.failed(e))?
            }
        };
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

/// Compresses a layer into a blob; the tar is verified before the blob becomes one.
///
/// # Errors
/// As [`LayerTar::write_to`]; those of the blob store.
pub(crate) fn compress_into(
    tar: &LayerTar,
    compression: Compression,
    blob: Box<dyn BlobWriter>,
    observed: &Observed,
) -> Result<Compressed, ImageError> {
    let failed = |e: io::Error| tar.failed(e);
    let blob = Grown {
        inner: blob,
        len: 0,
        grown: Arc::clone(&observed.grown),
    };
    let blob = WriteBehind::new(blob).map_err(failed)?;
    let format = compression.kind().format();
    let (blob, contents) = if compression.kind().has_contents() {
        let mut compressor = TocCompressor::new(compression, blob).map_err(failed)?;
        write_until(tar, &mut compressor, observed)?;
        let (blob, contents) = compressor.finish().map_err(failed)?;
        (blob, Some(contents))
    } else {
        let options = CompressOptions {
            level: compression.level(),
            ..CompressOptions::default()
        };
        let mut compressor = Compressor::new(format, blob, &options).map_err(failed)?;
        write_until(tar, &mut compressor, observed)?;
        (compressor.finish().map_err(failed)?, None)
    };
    let blob = blob.finish().map_err(failed)?;
    let (digest, size) = blob.inner.commit(&Expected::default())?;
    let media_type = match format {
        LayerCompression::Gzip => media_type::DOCKER_LAYER_GZIP,
        LayerCompression::Zstd => media_type::OCI_LAYER_ZSTD,
        LayerCompression::None => media_type::DOCKER_LAYER,
    };
    let mut blob = Descriptor::new(media_type, digest, size);
    let mut diff_id = tar.diff_id.clone();
    if let Some(contents) = contents {
        blob.annotations = contents.annotations;
        diff_id = contents.diff_id;
    }
    Ok(Compressed { blob, diff_id })
}

/// Writes a tar until it is not wanted any more.
fn write_until(tar: &LayerTar, out: &mut dyn Write, observed: &Observed) -> Result<(), ImageError> {
    let mut until = Until {
        inner: out,
        stop: &observed.stop,
    };
    tar.write_to(&mut Counted::new(&mut until, &observed.count))?;
    Ok(())
}

/// Tells how much of a blob is in its file.
struct Grown {
    inner: Box<dyn BlobWriter>,
    len: u64,
    grown: Arc<watch::Sender<Growth>>,
}

impl Write for Grown {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.len += n as u64;
        self.grown.send_replace(Growth::SoFar(self.len));
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Ends writing once it is to stop.
struct Until<'u> {
    inner: &'u mut dyn Write,
    stop: &'u AtomicBool,
}

impl Write for Until<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(io::Error::other("it is not wanted any more")),
            false => self.inner.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
