//! Reading archives that nobody vouches for.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use serde::Deserialize;

use super::documents::{
    MAX_DOCUMENTS, OciManifest, blob, json, layout_index, names, parse, reference,
};
use super::error::{ArchiveError, failed, invalid};
use super::files::{Content, ContentReader, Files};
use super::indexes::ArchivedIndex;
use super::names::{INDEX, MANIFEST, OCI_LAYOUT, REFERENCE_TYPE, REPOSITORIES, blob_path};
use crate::layer::compression::{DETECT_LEN, Encoding, decompress};
use crate::layer::verify::Verified;
use crate::manifest::MAX_MANIFEST_SIZE;
use crate::media_type::{self, LayerCompression};
use crate::{
    Descriptor, DiffId, Digest, ImageConfig, Index, ManifestDocument, MediaType, Reference,
};

/// The largest image configuration, in bytes.
pub const MAX_CONFIG_SIZE: usize = 8 << 20;
/// How many images and manifests one archive may have.
const MAX_IMAGES: usize = 1000;
/// How deep indexes may be nested.
pub(super) const MAX_NESTING: usize = 4;

/// How an archive is read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions<'o> {
    /// A directory for a temporary file, which compressed archives and those from a pipe need.
    pub spool: &'o Path,
    /// How large that file may become, in bytes.
    pub max_size: u64,
}

impl<'o> ReadOptions<'o> {
    /// Spools into this directory, up to 256 GiB.
    pub fn new(spool: &'o Path) -> Self {
        Self {
            spool,
            max_size: 256 << 30,
        }
    }
}

/// The images of an archive.
#[derive(Debug)]
pub struct ImageArchive {
    /// In the archive's order.
    pub images: Vec<ArchivedImage>,
    /// Indexes of several of these images; their names are not their images'.
    pub indexes: Vec<ArchivedIndex>,
}

/// An image in an archive.
#[derive(Clone, Debug)]
pub struct ArchivedImage {
    /// The configuration's bytes; their SHA-256 is the image ID.
    pub config: Vec<u8>,
    /// The configuration, read.
    pub image_config: ImageConfig,
    /// The names to load it under; none for an image without name.
    pub references: Vec<Reference>,
    /// The manifest's media type and bytes, where the archive has one that fits its layers.
    pub manifest: Option<(MediaType, Vec<u8>)>,
    /// The layers, bottom first; one for each diff ID.
    pub layers: Vec<ArchivedLayer>,
}

/// A layer in an archive.
#[derive(Clone, Debug)]
pub struct ArchivedLayer {
    /// What it must be when decompressed.
    pub diff_id: DiffId,
    /// What the archive's manifest says of it, where there is one. Its size is right; its digest
    /// is for the reader to verify.
    pub descriptor: Option<Descriptor>,
    /// How it is stored, told by its first bytes.
    pub compression: Encoding,
    /// Its size as it is stored, in bytes.
    pub size: u64,
    content: Content,
}

impl ArchivedLayer {
    /// The layer as it is stored. Nothing is verified.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn open(&self) -> Result<ContentReader, ArchiveError> {
        self.content
            .open()
            .map_err(failed(format!("opening layer {}", self.diff_id)))
    }

    /// The layer's tar, decompressed, and verified by its diff ID when
    /// [`finish`](Verified::finish) is called. `max_size` is the most it may have in bytes.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn open_tar(&self, max_size: u64) -> Result<Verified<Box<dyn Read + Send>>, ArchiveError> {
        let (_, reader) = decompress(self.open()?)
            .map_err(failed(format!("decompressing layer {}", self.diff_id)))?;
        Ok(Verified::new(reader, self.diff_id.clone(), max_size))
    }
}

/// Opens an archive: a file, compressed or not, or the directory of an OCI image layout.
///
/// # Errors
/// [`ArchiveError`].
pub fn open(path: &Path, options: &ReadOptions<'_>) -> Result<ImageArchive, ArchiveError> {
    images(&open_files(path, options)?)
}

/// The files of an archive at a path.
pub(super) fn open_files(path: &Path, options: &ReadOptions<'_>) -> Result<Files, ArchiveError> {
    let opening = || failed(format!("opening {}", path.display()));
    let metadata = std::fs::metadata(path).map_err(opening())?;
    if metadata.is_dir() {
        return Files::directory(path);
    }
    let mut file = File::open(path).map_err(opening())?;
    if !metadata.is_file() {
        return spool(file, options);
    }
    let compression = peek(&mut file).map_err(failed(format!("reading {}", path.display())))?;
    file.rewind()
        .map_err(failed(format!("reading {}", path.display())))?;
    if compression == Encoding::None {
        Files::tar(file)
    } else {
        spool(file, options)
    }
}

/// Reads an archive from a pipe or the like, by way of a temporary file.
///
/// # Errors
/// [`ArchiveError`].
pub fn read(
    reader: impl Read + Send,
    options: &ReadOptions<'_>,
) -> Result<ImageArchive, ArchiveError> {
    images(&spool(reader, options)?)
}

fn spool(reader: impl Read + Send, options: &ReadOptions<'_>) -> Result<Files, ArchiveError> {
    let reading = "reading the archive";
    let mut file = tempfile::tempfile_in(options.spool).map_err(failed(format!(
        "creating a temporary file in {}",
        options.spool.display()
    )))?;
    let (_, reader) = decompress(reader).map_err(failed(reading))?;
    let mut bounded = reader.take(options.max_size.saturating_add(1));
    let copied = io::copy(&mut bounded, &mut file).map_err(failed(reading))?;
    if copied > options.max_size {
        return Err(ArchiveError::TooLarge {
            name: "content".to_owned(),
            max: options.max_size,
        });
    }
    file.flush().map_err(failed(reading))?;
    file.rewind().map_err(failed(reading))?;
    Files::tar(file)
}

fn peek(reader: &mut impl Read) -> io::Result<Encoding> {
    let mut start = Vec::new();
    reader.take(DETECT_LEN as u64).read_to_end(&mut start)?;
    Ok(Encoding::detect(&start))
}

fn images(files: &Files) -> Result<ImageArchive, ArchiveError> {
    let oci = files.find(OCI_LAYOUT)?.is_some() && files.find(INDEX)?.is_some();
    let (mut manifests, mut indexes) = (Vec::new(), Vec::new());
    if oci {
        manifests = oci_manifests(files)?;
        indexes = super::indexes::find(files, &mut manifests)?;
    }
    // manifest.json knows of one image of an index at most.
    let images = if files.find(MANIFEST)?.is_some() && indexes.is_empty() {
        docker_images(files, &manifests)?
    } else if oci {
        let images = manifests.iter().map(|manifest| oci_image(files, manifest));
        images.collect::<Result<_, _>>()?
    } else if files.find(REPOSITORIES)?.is_some() {
        return Err(ArchiveError::TooOld);
    } else {
        return Err(ArchiveError::NotAnArchive);
    };
    Ok(ImageArchive { images, indexes })
}

/// One entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

fn docker_images(files: &Files, oci: &[OciManifest]) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let bytes = files.read(MANIFEST, MAX_MANIFEST_SIZE)?;
    let manifests: Vec<DockerManifest> = json(MANIFEST, &bytes)?;
    if manifests.len() > MAX_IMAGES {
        return Err(invalid(MANIFEST, "it has too many images"));
    }
    let mut images = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        let config = files.read(&manifest.config, MAX_CONFIG_SIZE)?;
        let digest = Digest::sha256(&config);
        // Both `blobs/sha256/HEX` and `HEX.json` promise a digest.
        let stem = Path::new(&manifest.config).file_stem();
        let promised = stem
            .and_then(|stem| stem.to_str())
            .and_then(|stem| Digest::new(digest.algorithm(), stem).ok());
        if let Some(expected) = promised.filter(|promised| *promised != digest) {
            return Err(ArchiveError::DigestMismatch {
                name: manifest.config,
                expected,
                actual: digest,
            });
        }
        let paths = manifest.layers.unwrap_or_default();
        let oci = oci.iter().find(|oci| {
            let blobs = oci
                .manifest
                .layers
                .iter()
                .map(|layer| blob_path(&layer.digest));
            oci.manifest.config.digest == digest && blobs.eq(paths.iter().cloned())
        });
        let image_config: ImageConfig = json(&manifest.config, &config)?;
        let layers = layers(
            files,
            &image_config,
            &paths,
            oci.map(|oci| oci.manifest.layers.as_slice()),
            &manifest.config,
        )?;
        let references = manifest.repo_tags.unwrap_or_default();
        let references = references.iter().map(|name| reference(name, MANIFEST));
        images.push(ArchivedImage {
            references: references.collect::<Result<_, _>>()?,
            manifest: oci.and_then(|oci| oci.raw(&layers)),
            config,
            image_config,
            layers,
        });
    }
    Ok(images)
}

/// Finds the layers and pairs them with the configuration's diff IDs.
fn layers(
    files: &Files,
    config: &ImageConfig,
    paths: &[String],
    descriptors: Option<&[Descriptor]>,
    config_name: &str,
) -> Result<Vec<ArchivedLayer>, ArchiveError> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != paths.len() {
        return Err(invalid(
            config_name,
            format!(
                "it has {} diff IDs, but the image has {} layers",
                diff_ids.len(),
                paths.len()
            ),
        ));
    }
    let mut layers = Vec::with_capacity(paths.len());
    for (i, (diff_id, path)) in diff_ids.iter().zip(paths).enumerate() {
        let content = files.get(path)?;
        let compression = content
            .open()
            .and_then(|mut reader| peek(&mut reader))
            .map_err(failed(format!("reading {path}")))?;
        let descriptor = descriptors.and_then(|all| all.get(i)).cloned();
        if let Some(descriptor) = &descriptor
            && descriptor.size != content.size
        {
            return Err(invalid(
                path,
                format!(
                    "it has {} bytes, but its descriptor says {}",
                    content.size, descriptor.size
                ),
            ));
        }
        layers.push(ArchivedLayer {
            diff_id: diff_id.clone(),
            descriptor,
            compression,
            size: content.size,
            content,
        });
    }
    Ok(layers)
}

impl OciManifest {
    /// The manifest as it came, unless it lies about how layers are compressed, as some versions
    /// of `docker save` do: then it is of no use to anyone else.
    fn raw(&self, layers: &[ArchivedLayer]) -> Option<(MediaType, Vec<u8>)> {
        let honest = layers.iter().all(|layer| {
            let told = layer
                .descriptor
                .as_ref()
                .and_then(|descriptor| descriptor.media_type.layer_compression());
            told.is_none_or(|told| Encoding::from(told) == layer.compression)
        });
        honest.then(|| (self.media_type.clone(), self.bytes.clone()))
    }
}

fn oci_manifests(files: &Files) -> Result<Vec<OciManifest>, ArchiveError> {
    let index = layout_index(files)?;
    let mut found = Found {
        manifests: Vec::new(),
        budget: MAX_DOCUMENTS,
    };
    collect(files, &index, &[], 0, &mut found)?;
    Ok(found.manifests)
}

struct Found {
    manifests: Vec<OciManifest>,
    budget: usize,
}

fn collect(
    files: &Files,
    index: &Index,
    inherited: &[Reference],
    depth: usize,
    found: &mut Found,
) -> Result<(), ArchiveError> {
    for entry in &index.manifests {
        let name = blob_path(&entry.digest);
        // An index may list platforms that were not saved.
        if depth > 0 && files.find(&name)?.is_none() {
            continue;
        }
        let mut references = names(entry)?;
        if references.is_empty() {
            references = inherited.to_vec();
        }
        // The same image under another name.
        if let Some(known) = found
            .manifests
            .iter_mut()
            .find(|known| known.name == name && known.media_type == entry.media_type)
        {
            for reference in references {
                if !known.references.contains(&reference) {
                    known.references.push(reference);
                }
            }
            continue;
        }
        if !entry.media_type.is_manifest() && !entry.media_type.is_index() {
            continue;
        }
        let bytes = blob(files, entry, MAX_MANIFEST_SIZE)?;
        found.budget = found
            .budget
            .checked_sub(bytes.len())
            .ok_or_else(|| invalid(INDEX, "it leads to too many manifests"))?;
        match parse(&name, &bytes, Some(&entry.media_type))? {
            ManifestDocument::Index(_) if depth == MAX_NESTING => {
                return Err(invalid(name, "indexes are nested too deep"));
            }
            ManifestDocument::Index(index) => {
                collect(files, &index, &references, depth + 1, found)?;
            }
            ManifestDocument::Manifest(manifest) => {
                let attestation = entry.annotations.contains_key(REFERENCE_TYPE);
                if attestation || !manifest.config.media_type.is_image_config() {
                    continue;
                }
                found.manifests.push(OciManifest {
                    name,
                    references,
                    media_type: entry.media_type.clone(),
                    bytes,
                    manifest,
                });
                if found.manifests.len() > MAX_IMAGES {
                    return Err(invalid(INDEX, "it has too many images"));
                }
            }
        }
    }
    Ok(())
}

pub(super) fn oci_image(files: &Files, oci: &OciManifest) -> Result<ArchivedImage, ArchiveError> {
    let config = blob(files, &oci.manifest.config, MAX_CONFIG_SIZE)?;
    let config_name = blob_path(&oci.manifest.config.digest);
    let image_config: ImageConfig = json(&config_name, &config)?;
    let descriptors = &oci.manifest.layers;
    let paths: Vec<_> = descriptors.iter().map(|d| blob_path(&d.digest)).collect();
    let layers = layers(
        files,
        &image_config,
        &paths,
        Some(descriptors),
        &config_name,
    )?;
    Ok(ArchivedImage {
        references: oci.references.clone(),
        manifest: oci.raw(&layers),
        config,
        image_config,
        layers,
    })
}

impl ArchivedLayer {
    /// The media type that fits how the layer is stored; `None` for xz and bzip2, which no
    /// manifest may list.
    pub fn media_type(&self) -> Option<MediaType> {
        let text = match self.compression {
            Encoding::None => media_type::OCI_LAYER,
            Encoding::Gzip => media_type::OCI_LAYER_GZIP,
            Encoding::Zstd => media_type::OCI_LAYER_ZSTD,
            Encoding::Xz | Encoding::Bzip2 => return None,
        };
        Some(match &self.descriptor {
            Some(descriptor)
                if descriptor
                    .media_type
                    .layer_compression()
                    .map(LayerCompression::into)
                    == Some(self.compression) =>
            {
                descriptor.media_type.clone()
            }
            _ => text.into(),
        })
    }
}
