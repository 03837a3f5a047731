//! Images of the store as an archive.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use client::LayerState;

use oci::archive::write::{Format, ImageSource, IndexSource, LayerSource, directory, tar};
use oci::blob::{BlobStore as _, DiskBlobs};
use oci::layer::compression::Kind;
use oci::manifest::ManifestDocument;
use oci::{ChainId, Descriptor, DiffId, Digest, MediaType, Platform, Reference, media_type};
use store::{Image, RawManifest, StoredIndex};

use crate::error::ImageError;
use crate::form::Form;
use crate::index::build::{IndexAnnotations, Part, index_document};
use crate::layer::LayerTar;
use crate::making::Compressed;
use crate::progress::LayerProgress;
use crate::push::{PushProgress, made, original, registry_blob, usable};
use crate::service::Images;

/// An image, ready to be written.
pub struct SavedImage {
    config: Vec<u8>,
    manifest: Option<Vec<u8>>,
    references: Vec<Reference>,
    layers: Vec<SavedLayer>,
    listed: bool,
    annotations: BTreeMap<String, String>,
}

/// An index, ready to be written.
pub struct SavedIndex {
    media_type: MediaType,
    document: Vec<u8>,
    references: Vec<Reference>,
    first: Option<usize>,
    documents: Vec<Vec<u8>>,
    blobs: Vec<SavedLayer>,
    annotations: BTreeMap<String, String>,
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
            annotations: BTreeMap::new(),
        });
    }
    plain(images, image, references, progress).await
}

/// A layer as plain tar.
async fn plain_layer(
    images: &Images,
    diff_id: &DiffId,
    chain_id: &ChainId,
    progress: &Arc<dyn LayerProgress>,
) -> Result<SavedLayer, ImageError> {
    let tar = LayerTar::find(images, diff_id, chain_id).await?;
    let (tar, size) = tokio::task::spawn_blocking(move || {
        let size = tar.size();
        (tar, size)
    })
    .await?;
    let digest = diff_id.digest().clone();
    Ok(SavedLayer {
        descriptor: Descriptor::new(media_type::OCI_LAYER, digest, size?),
        source: Source::Tar(tar),
        progress: Arc::clone(progress),
    })
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
        layers.push(plain_layer(images, diff_id, &chain_id, progress).await?);
    }
    Ok(SavedImage {
        config,
        manifest: None,
        references,
        layers,
        listed: false,
        annotations: BTreeMap::new(),
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
            annotations: BTreeMap::new(),
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

impl Saved {
    /// Adds the result of a build in the form asked for: one image, or the index of several.
    /// Returns the descriptor of the manifest or index that it is.
    ///
    /// # Errors
    /// [`ImageError`] when a layer is gone or cannot be compressed.
    pub async fn add_result(
        &mut self,
        images: &Images,
        result: &[Part],
        shape: &Shape,
        progress: &Arc<dyn LayerProgress>,
    ) -> Result<Descriptor, ImageError> {
        let several = result.len() > 1;
        let mut entries = Vec::new();
        let first = self.images.len();
        for part in result {
            let form = Form {
                annotations: part.annotations.clone(),
                ..shape.form.clone()
            };
            let form = form.for_base(part.base_layers);
            let mut saved = formed(images, &part.image, &form, progress).await?;
            let bytes = saved.manifest.as_deref().unwrap_or_default();
            let media_type = match ManifestDocument::parse(bytes, None) {
                Ok(document) => document.media_type(),
                Err(_) => media_type::OCI_MANIFEST.into(),
            };
            let size = bytes.len() as u64;
            let mut entry = Descriptor::new(media_type, Digest::sha256(bytes), size);
            entry.platform = Some(part.platform.clone());
            entries.push(entry);
            saved.listed = several;
            if !several {
                saved.references.clone_from(&shape.references);
                saved.annotations.clone_from(&shape.entry);
            }
            self.images.push(saved);
        }
        if let ([only], false) = (entries.as_slice(), several) {
            return Ok(only.clone());
        }
        let document = index_document(entries, &shape.annotations)?;
        let digest = Digest::sha256(&document.bytes);
        let size = document.bytes.len() as u64;
        let host = |part: &Part| part.platform.satisfies(&Platform::host());
        let at = result.iter().position(host).unwrap_or(0);
        let descriptor = Descriptor::new(document.media_type.clone(), digest, size);
        self.indexes.push(SavedIndex {
            media_type: document.media_type,
            document: document.bytes,
            references: shape.references.clone(),
            first: Some(first + at),
            documents: Vec::new(),
            blobs: Vec::new(),
            annotations: shape.entry.clone(),
        });
        Ok(descriptor)
    }
}

/// What the result of a build is to look like in an archive.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// How layers and manifests look.
    pub form: Form,
    /// The index's annotations, and those of its entries.
    pub annotations: IndexAnnotations,
    /// Annotations of the archive's entry.
    pub entry: BTreeMap<String, String>,
    /// The names to load it under.
    pub references: Vec<Reference>,
}

/// An image whose layers have the form asked for.
async fn formed(
    images: &Images,
    image: &Image,
    form: &Form,
    progress: &Arc<dyn LayerProgress>,
) -> Result<SavedImage, ImageError> {
    let mut blobs = Vec::new();
    let mut layers = Vec::new();
    let chain = ChainId::chain(&image.layers);
    for (at, (diff_id, chain_id)) in image.layers.iter().zip(&chain).enumerate() {
        let compression = form.of_layer(at);
        let plain = compression.is_some_and(|wanted| wanted.kind() == Kind::Uncompressed);
        let (layer, now) = if plain {
            let layer = plain_layer(images, diff_id, chain_id, progress).await?;
            (layer, diff_id.clone())
        } else {
            let told = Compressing(progress.as_ref());
            let made = registry_blob(images, diff_id, chain_id, compression, &told).await?;
            let layer = SavedLayer {
                descriptor: made.blob,
                source: Source::Blob(Arc::clone(images.store.blobs())),
                progress: Arc::clone(progress),
            };
            (layer, made.diff_id)
        };
        blobs.push(Compressed {
            blob: layer.descriptor.clone(),
            diff_id: now,
        });
        layers.push(layer);
    }
    let wanted = made(images, image, blobs, form).await?;
    for (layer, descriptor) in layers.iter_mut().zip(wanted.layers) {
        layer.descriptor = descriptor;
    }
    Ok(SavedImage {
        config: images.store.config(&wanted.config.digest).await?,
        manifest: Some(wanted.manifest),
        references: Vec::new(),
        layers,
        listed: false,
        annotations: BTreeMap::new(),
    })
}

/// Tells how much of a layer is compressed as how much of it is written.
struct Compressing<'p>(&'p dyn LayerProgress);

impl PushProgress for Compressing<'_> {
    fn layers(&self, _: &[DiffId]) {}

    fn layer(&self, diff_id: &DiffId, state: &LayerState) {
        if let LayerState::Compressing { current, total } = state {
            self.0.layer(diff_id.digest(), *current, *total);
        }
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
            annotations: BTreeMap::new(),
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
            annotations,
        }: &SavedIndex = index;
        IndexSource {
            media_type,
            document,
            references,
            first: *first,
            documents,
            blobs: blobs.iter().map(|l| l as &dyn LayerSource).collect(),
            annotations: annotations.clone(),
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
            annotations,
        }: &SavedImage = image;
        ImageSource {
            config,
            manifest: manifest.as_deref(),
            references,
            layers: layers.iter().map(|l| l as &dyn LayerSource).collect(),
            listed: *listed,
            annotations: annotations.clone(),
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
