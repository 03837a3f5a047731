//! Images of the store as an archive.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use oci::archive::write::{Format, ImageSource, IndexSource, LayerSource, directory, tar};
use oci::blob::{BlobStore as _, DiskBlobs};
use oci::manifest::ManifestDocument;
use oci::{ChainId, Descriptor, MediaType, Platform, Reference, media_type};
use store::{Image, RawManifest, StoredIndex};

use crate::error::ImageError;
use crate::layer::LayerTar;
use crate::progress::LayerProgress;
use crate::push::{original, usable};
use crate::service::Images;

/// An image, ready to be written.
pub struct SavedImage {
    config: Vec<u8>,
    manifest: Option<Vec<u8>>,
    references: Vec<Reference>,
    layers: Vec<SavedLayer>,
    listed: bool,
}

/// An index, ready to be written.
pub struct SavedIndex {
    media_type: MediaType,
    document: Vec<u8>,
    references: Vec<Reference>,
    first: Option<usize>,
    documents: Vec<Vec<u8>>,
    blobs: Vec<SavedLayer>,
}

/// Images and indexes, ready to be written.
#[derive(Default)]
pub struct Saved {
    images: Vec<SavedImage>,
    indexes: Vec<SavedIndex>,
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
            config: images.store.config(&image.id).await?,
            manifest: Some(wanted.manifest),
            references,
            layers: wanted.layers.into_iter().map(layer).collect(),
            listed: false,
        });
    }
    plain(images, image, references, progress).await
}

/// An image with its layers as plain tars.
async fn plain(
    images: &Images,
    image: &Image,
    references: Vec<Reference>,
    progress: &Arc<dyn LayerProgress>,
) -> Result<SavedImage, ImageError> {
    let config = images.store.config(&image.id).await?;
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
        listed: false,
    })
}

impl Saved {
    /// Adds an image.
    pub fn add(&mut self, image: SavedImage) {
        self.images.push(image);
    }

    /// Adds an index with all of it that is here. An image that was pulled keeps the manifest and
    /// blobs that it came with, as the index lists them.
    ///
    /// # Errors
    /// [`ImageError`] when a layer is gone.
    pub async fn add_index(
        &mut self,
        images: &Images,
        index: &StoredIndex,
        references: Vec<Reference>,
        progress: &Arc<dyn LayerProgress>,
    ) -> Result<(), ImageError> {
        let RawManifest { media_type, bytes } = images.store.index_document(index).await?;
        let mut saved = SavedIndex {
            media_type,
            document: bytes,
            references,
            first: None,
            documents: Vec::new(),
            blobs: Vec::new(),
        };
        for entry in &index.entries {
            let Some(raw) = images.store.entry_document(entry).await? else {
                continue;
            };
            let image = match &entry.image {
                Some(id) => images.store.image(id).await?,
                None => None,
            };
            let Some(image) = image else {
                let blobs = blobs_of(&raw).into_iter().map(|descriptor| SavedLayer {
                    descriptor,
                    source: Source::Blob(Arc::clone(images.store.blobs())),
                    progress: Arc::clone(progress),
                });
                saved.blobs.extend(blobs);
                saved.documents.push(raw.bytes);
                continue;
            };
            let host = image.platform.satisfies(&Platform::host());
            if saved.first.is_none() || host {
                saved.first = Some(self.images.len());
            }
            let listed = listed_image(images, &image, raw, progress).await?;
            self.images.push(listed);
        }
        self.indexes.push(saved);
        Ok(())
    }
}

/// The blobs that a manifest of something else than an image lists.
fn blobs_of(raw: &RawManifest) -> Vec<Descriptor> {
    match ManifestDocument::parse(&raw.bytes, Some(&raw.media_type)) {
        Ok(ManifestDocument::Manifest(manifest)) => std::iter::once(manifest.config)
            .chain(manifest.layers)
            .collect(),
        _ => Vec::new(),
    }
}

/// An image with just the manifest that an index lists.
async fn listed_image(
    images: &Images,
    image: &Image,
    raw: RawManifest,
    progress: &Arc<dyn LayerProgress>,
) -> Result<SavedImage, ImageError> {
    let bytes = raw.bytes.clone();
    if let Some(wanted) = usable(images, image, raw).await? {
        let layer = |descriptor| SavedLayer {
            descriptor,
            source: Source::Blob(Arc::clone(images.store.blobs())),
            progress: Arc::clone(progress),
        };
        return Ok(SavedImage {
            config: images.store.config(&image.id).await?,
            manifest: Some(wanted.manifest),
            references: Vec::new(),
            layers: wanted.layers.into_iter().map(layer).collect(),
            listed: true,
        });
    }
    let mut plain = plain(images, image, Vec::new(), progress).await?;
    plain.manifest = Some(bytes);
    plain.listed = true;
    Ok(plain)
}

fn indexes(indexes: &[SavedIndex]) -> Vec<IndexSource<'_>> {
    let source = |index| {
        let SavedIndex {
            media_type,
            document,
            references,
            first,
            documents,
            blobs,
        }: &SavedIndex = index;
        IndexSource {
            media_type,
            document,
            references,
            first: *first,
            documents,
            blobs: blobs.iter().map(|l| l as &dyn LayerSource).collect(),
        }
    };
    indexes.iter().map(source).collect()
}

fn sources(images: &[SavedImage]) -> Vec<ImageSource<'_>> {
    let source = |image| {
        let SavedImage {
            config,
            manifest,
            references,
            layers,
            listed,
        }: &SavedImage = image;
        ImageSource {
            config,
            manifest: manifest.as_deref(),
            references,
            layers: layers.iter().map(|l| l as &dyn LayerSource).collect(),
            listed: *listed,
        }
    };
    images.iter().map(source).collect()
}

/// Writes images and indexes as one tar.
///
/// # Errors
/// [`ImageError::Archive`]; what was written is of no use then.
pub fn write_tar(saved: &Saved, format: Format, out: &mut dyn Write) -> Result<(), ImageError> {
    let out = io::BufWriter::with_capacity(1 << 20, out);
    let (images, lists) = (sources(&saved.images), indexes(&saved.indexes));
    Ok(tar(&images, &lists, format, out)?)
}

/// Writes images and indexes into a directory as OCI image layout.
///
/// # Errors
/// [`ImageError::Archive`]; images that were there before still are.
pub fn write_directory(saved: &Saved, dir: &Path) -> Result<(), ImageError> {
    let (images, lists) = (sources(&saved.images), indexes(&saved.indexes));
    Ok(directory(&images, &lists, dir)?)
}
