//! Images of the store as an archive.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use oci::archive::write::{Format, ImageSource, LayerSource, directory, tar};
use oci::blob::{BlobStore as _, DiskBlobs};
use oci::{ChainId, Descriptor, Reference, media_type};
use store::Image;

use crate::error::ImageError;
use crate::layer::LayerTar;
use crate::progress::LayerProgress;
use crate::push::original;
use crate::service::Images;

/// An image, ready to be written.
pub struct SavedImage {
    config: Vec<u8>,
    manifest: Option<Vec<u8>>,
    references: Vec<Reference>,
    layers: Vec<SavedLayer>,
}

struct SavedLayer {
    descriptor: Descriptor,
    source: Source,
    progress: Arc<dyn LayerProgress>,
}

enum Source {
    /// As it came from a registry.
    Blob(Arc<DiskBlobs>),
    /// As plain tar.
    Tar(LayerTar),
}

impl LayerSource for SavedLayer {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn write_to(
        &self,
        out: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let out = &mut Told {
            out,
            layer: &self.descriptor,
            written: 0,
            progress: self.progress.as_ref(),
        };
        match &self.source {
            Source::Blob(blobs) => {
                let mut blob = blobs.open(&self.descriptor.digest)?;
                let mut buffer = vec![0; 256 << 10];
                loop {
                    match blob.read(&mut buffer)? {
                        0 => break,
                        n => out.write_all(buffer.get(..n).unwrap_or_default())?,
                    }
                }
            }
            Source::Tar(tar) => {
                tar.write_to(out)?;
            }
        }
        self.progress.done(&self.descriptor.digest);
        Ok(())
    }
}

/// Tells how much of a layer is written.
struct Told<'t> {
    out: &'t mut dyn Write,
    layer: &'t Descriptor,
    written: u64,
    progress: &'t dyn LayerProgress,
}

impl Write for Told<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.out.write(buf)?;
        self.written += n as u64;
        let layer = self.layer;
        self.progress.layer(&layer.digest, self.written, layer.size);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Finds all that saving an image under these names takes. A pulled image keeps the manifest and
/// blobs that it came with; the layers of others are plain tars. `progress` is told of each layer
/// when it is written.
///
/// # Errors
/// [`ImageError`] when a layer is gone.
pub async fn prepare(
    images: &Images,
    image: &Image,
    references: Vec<Reference>,
    progress: &Arc<dyn LayerProgress>,
) -> Result<SavedImage, ImageError> {
    let config = images.store.config(&image.id).await?;
    let whole = original(images, image).await?.filter(|wanted| {
        let mut layers = wanted.layers.iter();
        layers.all(|layer| !layer.media_type.is_non_distributable())
    });
    if let Some(wanted) = whole {
        let layer = |descriptor| SavedLayer {
            descriptor,
            source: Source::Blob(Arc::clone(images.store.blobs())),
            progress: Arc::clone(progress),
        };
        return Ok(SavedImage {
            config,
            manifest: Some(wanted.manifest),
            references,
            layers: wanted.layers.into_iter().map(layer).collect(),
        });
    }
    let mut layers = Vec::new();
    for (diff_id, chain_id) in image.layers.iter().zip(ChainId::chain(&image.layers)) {
        let tar = LayerTar::find(images, diff_id, &chain_id).await?;
        let (tar, size) = tokio::task::spawn_blocking(move || {
            let size = tar.size();
            (tar, size)
        })
        .await?;
        let digest = diff_id.digest().clone();
        layers.push(SavedLayer {
            descriptor: Descriptor::new(media_type::OCI_LAYER, digest, size?),
            source: Source::Tar(tar),
            progress: Arc::clone(progress),
        });
    }
    Ok(SavedImage {
        config,
        manifest: None,
        references,
        layers,
    })
}

fn sources(images: &[SavedImage]) -> Vec<ImageSource<'_>> {
    let source = |image| {
        let SavedImage {
            config,
            manifest,
            references,
            layers,
        }: &SavedImage = image;
        ImageSource {
            config,
            manifest: manifest.as_deref(),
            references,
            layers: layers.iter().map(|l| l as &dyn LayerSource).collect(),
        }
    };
    images.iter().map(source).collect()
}

/// Writes images as one tar.
///
/// # Errors
/// [`ImageError::Archive`]; what was written is of no use then.
pub fn write_tar(
    images: &[SavedImage],
    format: Format,
    out: &mut dyn Write,
) -> Result<(), ImageError> {
    let out = io::BufWriter::with_capacity(1 << 20, out);
    Ok(tar(&sources(images), format, out)?)
}

/// Writes images into a directory as OCI image layout.
///
/// # Errors
/// [`ImageError::Archive`]; images that were there before still are.
pub fn write_directory(images: &[SavedImage], dir: &Path) -> Result<(), ImageError> {
    Ok(directory(&sources(images), dir)?)
}
