//! Indexes in archives: one name, several images.

use super::documents::{MAX_DOCUMENTS, OciManifest, blob, layout_index, names, parse};
use super::error::{ArchiveError, failed, invalid};
use super::files::{Content, ContentReader, Files};
use super::names::{INDEX, blob_path};

use crate::manifest::MAX_MANIFEST_SIZE;
use crate::{Descriptor, Digest, Index, ManifestDocument, MediaType, Reference};

/// An index that leads to at least two images of the archive.
#[derive(Clone, Debug)]
pub struct ArchivedIndex {
    /// The document's media type.
    pub media_type: MediaType,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The names to load it under.
    pub references: Vec<Reference>,
    /// Its images: the manifest's digest, and the place among the archive's images.
    pub images: Vec<(Digest, usize)>,
    /// The manifests of those images.
    pub manifests: Vec<(MediaType, Vec<u8>)>,
    /// Manifests of other things that it lists, such as statements about its images.
    pub documents: Vec<(MediaType, Vec<u8>)>,
    /// The blobs that those need.
    pub blobs: Vec<ArchivedBlob>,
}

/// A blob of an archive.
#[derive(Clone, Debug)]
pub struct ArchivedBlob {
    /// What it must be. Its digest is for the reader to verify.
    pub descriptor: Descriptor,
    content: Content,
}

impl ArchivedBlob {
    /// Its bytes. Nothing is verified.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn open(&self) -> Result<ContentReader, ArchiveError> {
        let name = blob_path(&self.descriptor.digest);
        self.content
            .open()
            .map_err(failed(format!("opening {name}")))
    }
}

/// The indexes of a layout, and takes their names from the images that they lead to.
pub(super) fn find(
    files: &Files,
    manifests: &mut [OciManifest],
) -> Result<Vec<ArchivedIndex>, ArchiveError> {
    let mut found: Vec<(Digest, ArchivedIndex)> = Vec::new();
    let mut budget = MAX_DOCUMENTS;
    for entry in &layout_index(files)?.manifests {
        let references = names(entry)?;
        if let Some((_, known)) = found.iter_mut().find(|(id, _)| *id == entry.digest) {
            known.references.extend(references);
            continue;
        }
        if !entry.media_type.is_index() {
            continue;
        }
        let bytes = blob(files, entry, MAX_MANIFEST_SIZE)?;
        spend(&mut budget, bytes.len())?;
        let name = blob_path(&entry.digest);
        let ManifestDocument::Index(index) = parse(&name, &bytes, Some(&entry.media_type))? else {
            continue;
        };
        let place = |listed: &Descriptor| {
            let name = blob_path(&listed.digest);
            let at = manifests.iter().position(|known| known.name == name)?;
            Some((listed.digest.clone(), at))
        };
        let images: Vec<_> = index.manifests.iter().filter_map(place).collect();
        if images.len() < 2 {
            continue;
        }
        let mut archived = ArchivedIndex {
            media_type: entry.media_type.clone(),
            bytes,
            references,
            manifests: images
                .iter()
                .filter_map(|(_, at)| manifests.get(*at))
                .map(|known| (known.media_type.clone(), known.bytes.clone()))
                .collect(),
            images,
            documents: Vec::new(),
            blobs: Vec::new(),
        };
        statements(files, &index, &mut archived, &mut budget)?;
        found.push((entry.digest.clone(), archived));
    }
    let found: Vec<ArchivedIndex> = found.into_iter().map(|(_, index)| index).collect();
    for index in &found {
        for (_, at) in &index.images {
            if let Some(manifest) = manifests.get_mut(*at) {
                let own = |reference: &Reference| !index.references.contains(reference);
                manifest.references.retain(own);
            }
        }
    }
    Ok(found)
}

/// What an index lists beside images, where all of it is in the archive.
fn statements(
    files: &Files,
    index: &Index,
    archived: &mut ArchivedIndex,
    budget: &mut usize,
) -> Result<(), ArchiveError> {
    for entry in &index.manifests {
        let name = blob_path(&entry.digest);
        let image = archived.images.iter().any(|(id, _)| *id == entry.digest);
        if image || !entry.media_type.is_manifest() || files.find(&name)?.is_none() {
            continue;
        }
        let bytes = blob(files, entry, MAX_MANIFEST_SIZE)?;
        spend(budget, bytes.len())?;
        let ManifestDocument::Manifest(manifest) = parse(&name, &bytes, Some(&entry.media_type))?
        else {
            continue;
        };
        let mut blobs = Vec::new();
        let needed = 1 + manifest.layers.len();
        for descriptor in std::iter::once(manifest.config).chain(manifest.layers) {
            if let Some(content) = files.find(&blob_path(&descriptor.digest))? {
                blobs.push(ArchivedBlob {
                    descriptor,
                    content,
                });
            }
        }
        if blobs.len() == needed {
            archived.documents.push((entry.media_type.clone(), bytes));
            archived.blobs.extend(blobs);
        }
    }
    Ok(())
}

fn spend(budget: &mut usize, bytes: usize) -> Result<(), ArchiveError> {
    *budget = budget
        .checked_sub(bytes)
        .ok_or_else(|| invalid(INDEX, "it leads to too many manifests"))?;
    Ok(())
}
