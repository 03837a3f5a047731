//! Writing archives.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::error::{ArchiveError, failed, invalid};
use super::index::{OCI_LAYOUT_CONTENT, existing_index, index, merge, to_json};
use super::layout::{DirLayout, Layout, TarLayout};
use super::names::{IMAGE_NAME, INDEX, MANIFEST, OCI_LAYOUT, REF_NAME, REPOSITORIES, blob_path};
use crate::media_type::{self, LayerCompression};
use crate::{Descriptor, Digest, Manifest, ManifestDocument, MediaType, Reference};

/// A layer that can be written: a blob, or a tar that is made anew from its snapshot.
pub trait LayerSource {
    /// The media type, digest and size of exactly what [`write_to`](Self::write_to) writes.
    fn descriptor(&self) -> &Descriptor;

    /// Writes the layer.
    ///
    /// # Errors
    /// Whatever keeps the layer from being written, the errors of `out` included.
    fn write_to(&self, out: &mut dyn Write)
    -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// An image to be written.
pub struct ImageSource<'i> {
    /// The configuration's bytes.
    pub config: &'i [u8],
    /// The manifest's bytes; without them one is made. It must be one for just these layers.
    pub manifest: Option<&'i [u8]>,
    /// The names that it is to be loaded under; those without tag are left out.
    pub references: &'i [Reference],
    /// The layers, bottom first.
    pub layers: Vec<&'i dyn LayerSource>,
    /// An index leads to it: it has no entry of its own.
    pub listed: bool,
    /// Annotations of its entry, beside its name.
    pub annotations: BTreeMap<String, String>,
}

/// An index to be written.
pub struct IndexSource<'i> {
    /// The document's media type.
    pub media_type: &'i MediaType,
    /// Its bytes.
    pub document: &'i [u8],
    /// The names that it is to be loaded under; those without tag are left out.
    pub references: &'i [Reference],
    /// The place, among the images, of the one that tools without indexes are to load.
    pub first: Option<usize>,
    /// Documents that it lists beside manifests of images.
    pub documents: &'i [Vec<u8>],
    /// Blobs that those need.
    pub blobs: Vec<&'i dyn LayerSource>,
    /// Annotations of its entry, beside its name.
    pub annotations: BTreeMap<String, String>,
}

/// Which tools the archive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As `docker save` writes it: a docker archive that is an OCI image layout as well.
    Docker,
    /// Nothing but the OCI image layout.
    Oci,
}

/// One entry of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Writes images and indexes as one tar. The same ones give the same bytes.
///
/// # Errors
/// [`ArchiveError`]; what was written so far is of no use then.
pub fn tar<W: Write>(
    images: &[ImageSource<'_>],
    indexes: &[IndexSource<'_>],
    format: Format,
    out: W,
) -> Result<(), ArchiveError> {
    let mut layout = TarLayout::new(out);
    let manifests = blobs(images, &mut layout)?;
    let lists = index_blobs(indexes, &mut layout)?;
    let entries = entries(images, &manifests, indexes, &lists);
    layout.file(INDEX, &to_json(INDEX, &index(entries))?)?;
    let flat = flat(images, indexes);
    if format == Format::Docker {
        layout.file(MANIFEST, &to_json(MANIFEST, &docker_manifests(&flat))?)?;
    }
    layout.file(OCI_LAYOUT, OCI_LAYOUT_CONTENT)?;
    let repositories = repositories(&flat);
    if format == Format::Docker && !repositories.is_empty() {
        layout.file(REPOSITORIES, &to_json(REPOSITORIES, &repositories)?)?;
    }
    layout.finish()?;
    Ok(())
}

/// Writes images and indexes into a directory as OCI image layout. What is there already stays,
/// unless something of the same name takes its place.
///
/// # Errors
/// [`ArchiveError`]; the index of what was there before stays as it was then.
pub fn directory(
    images: &[ImageSource<'_>],
    indexes: &[IndexSource<'_>],
    dir: &Path,
) -> Result<(), ArchiveError> {
    let mut layout = DirLayout::new(dir)?;
    let kept = existing_index(dir)?;
    let manifests = blobs(images, &mut layout)?;
    let lists = index_blobs(indexes, &mut layout)?;
    let entries = merge(kept, entries(images, &manifests, indexes, &lists));
    layout.file(OCI_LAYOUT, OCI_LAYOUT_CONTENT)?;
    // Last: until now the directory is what it was.
    layout.file(INDEX, &to_json(INDEX, &index(entries))?)
}

/// Writes layers, configurations and manifests; returns the manifests' descriptors.
fn blobs(
    images: &[ImageSource<'_>],
    layout: &mut dyn Layout,
) -> Result<Vec<Descriptor>, ArchiveError> {
    let mut manifests = Vec::with_capacity(images.len());
    for image in images {
        let (media_type, manifest) = manifest(image)?;
        for layer in &image.layers {
            layer_blob(*layer, layout)?;
        }
        document_blob(image.config, layout)?;
        document_blob(&manifest, layout)?;
        let digest = Digest::sha256(&manifest);
        manifests.push(Descriptor::new(media_type, digest, manifest.len() as u64));
    }
    Ok(manifests)
}

/// Writes indexes, and what only they lead to; returns their descriptors.
fn index_blobs(
    indexes: &[IndexSource<'_>],
    layout: &mut dyn Layout,
) -> Result<Vec<Descriptor>, ArchiveError> {
    let mut lists = Vec::with_capacity(indexes.len());
    for index in indexes {
        for blob in &index.blobs {
            layer_blob(*blob, layout)?;
        }
        for document in index.documents {
            document_blob(document, layout)?;
        }
        document_blob(index.document, layout)?;
        let digest = Digest::sha256(index.document);
        let size = index.document.len() as u64;
        lists.push(Descriptor::new(index.media_type.clone(), digest, size));
    }
    Ok(lists)
}

fn layer_blob(layer: &dyn LayerSource, layout: &mut dyn Layout) -> Result<(), ArchiveError> {
    let descriptor = layer.descriptor();
    let digest = &descriptor.digest;
    layout.blob(digest, descriptor.size, &mut |out| {
        layer.write_to(out).map_err(|cause| ArchiveError::Layer {
            digest: digest.clone(),
            cause,
        })
    })
}

fn document_blob(bytes: &[u8], layout: &mut dyn Layout) -> Result<(), ArchiveError> {
    layout.blob(&Digest::sha256(bytes), bytes.len() as u64, &mut |out| {
        out.write_all(bytes).map_err(failed("writing the archive"))
    })
}

/// The manifest that came with the image, once it is found to be of these layers, or a new one.
fn manifest(image: &ImageSource<'_>) -> Result<(MediaType, Vec<u8>), ArchiveError> {
    const NAME: &str = "manifest";
    if let Some(bytes) = image.manifest {
        let document =
            ManifestDocument::parse(bytes, None).map_err(|cause| ArchiveError::Manifest {
                name: NAME.to_owned(),
                cause,
            })?;
        let media_type = document.media_type();
        let ManifestDocument::Manifest(manifest) = document else {
            return Err(invalid(NAME, "it is an index"));
        };
        let given = image.layers.iter().map(|layer| &layer.descriptor().digest);
        let same = manifest.config.digest == Digest::sha256(image.config)
            && manifest.layers.iter().map(|layer| &layer.digest).eq(given);
        if !same {
            return Err(invalid(NAME, "it is not the manifest of these layers"));
        }
        return Ok((media_type, bytes.to_vec()));
    }
    let layers = image
        .layers
        .iter()
        .map(|layer| {
            let descriptor = layer.descriptor();
            let media_type = match descriptor.media_type.layer_compression() {
                Some(LayerCompression::None) => media_type::OCI_LAYER,
                Some(LayerCompression::Gzip) => media_type::OCI_LAYER_GZIP,
                Some(LayerCompression::Zstd) => media_type::OCI_LAYER_ZSTD,
                None => descriptor.media_type.as_str(),
            };
            Descriptor::new(media_type, descriptor.digest.clone(), descriptor.size)
        })
        .collect();
    let config = Descriptor::new(
        media_type::OCI_CONFIG,
        Digest::sha256(image.config),
        image.config.len() as u64,
    );
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.into()),
        artifact_type: None,
        config,
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    };
    Ok((media_type::OCI_MANIFEST.into(), to_json(NAME, &manifest)?))
}

fn tagged(references: &[Reference]) -> impl Iterator<Item = (&Reference, &str)> {
    references
        .iter()
        .filter_map(|r| r.tag().map(|tag| (r, tag)))
}

/// One index entry a name, or one without name.
fn entries(
    images: &[ImageSource<'_>],
    manifests: &[Descriptor],
    indexes: &[IndexSource<'_>],
    lists: &[Descriptor],
) -> Vec<Descriptor> {
    let mut entries = Vec::new();
    let alone = images.iter().zip(manifests).filter(|(i, _)| !i.listed);
    let alone = alone.map(|(image, manifest)| (image.references, &image.annotations, manifest));
    let lists = indexes.iter().zip(lists);
    let lists = lists.map(|(index, list)| (index.references, &index.annotations, list));
    for (references, annotations, manifest) in alone.chain(lists) {
        let mut manifest = manifest.clone();
        manifest.annotations.extend(annotations.clone());
        let named: Vec<_> = tagged(references)
            .map(|(reference, tag)| {
                let mut entry = manifest.clone();
                entry
                    .annotations
                    .insert(IMAGE_NAME.to_owned(), reference.to_string());
                entry
                    .annotations
                    .insert(REF_NAME.to_owned(), tag.to_owned());
                entry
            })
            .collect();
        if named.is_empty() {
            entries.push(manifest.clone());
        }
        entries.extend(named);
    }
    entries
}

/// An image with the names by which tools that know no indexes are to load it.
type Flat<'f, 'i> = (&'f ImageSource<'i>, &'i [Reference]);

/// The images that stand for themselves, and the first of each index.
fn flat<'f, 'i>(images: &'f [ImageSource<'i>], indexes: &[IndexSource<'i>]) -> Vec<Flat<'f, 'i>> {
    let alone = images.iter().filter(|image| !image.listed);
    let mut flat: Vec<_> = alone.map(|image| (image, image.references)).collect();
    for index in indexes {
        let image = index.first.and_then(|first| images.get(first));
        flat.extend(image.map(|image| (image, index.references)));
    }
    flat
}

fn docker_manifests(images: &[Flat<'_, '_>]) -> Vec<DockerManifest> {
    images
        .iter()
        .map(|(image, references)| {
            let tags: Vec<_> = tagged(references).map(|(r, _)| r.familiar()).collect();
            DockerManifest {
                config: blob_path(&Digest::sha256(image.config)),
                repo_tags: (!tags.is_empty()).then_some(tags),
                layers: image
                    .layers
                    .iter()
                    .map(|layer| blob_path(&layer.descriptor().digest))
                    .collect(),
            }
        })
        .collect()
}

/// Repository to tag to top layer.
fn repositories(images: &[Flat<'_, '_>]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut repositories: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (image, references) in images {
        let Some(top) = image.layers.last() else {
            continue;
        };
        for (reference, tag) in tagged(references) {
            repositories
                .entry(reference.repository().familiar())
                .or_default()
                .insert(tag.to_owned(), top.descriptor().digest.hex().to_owned());
        }
    }
    repositories
}
