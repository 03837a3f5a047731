//! The documents of an archive: read, verified, and bounded.

use serde::Deserialize;

use super::error::{ArchiveError, invalid};
use super::files::Files;
use super::names::{IMAGE_NAME, INDEX, OCI_LAYOUT, REF_NAME, blob_path};
use crate::manifest::MAX_MANIFEST_SIZE;
use crate::{Descriptor, Index, Manifest, ManifestDocument, MediaType, Reference};

/// How many bytes of manifests and indexes are read; an index can be listed any number of times.
pub(super) const MAX_DOCUMENTS: usize = 64 << 20;

/// Reads JSON; `name` is the file that it is in.
pub(super) fn json<'b, T: Deserialize<'b>>(name: &str, bytes: &'b [u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|cause| ArchiveError::Json {
        name: name.to_owned(),
        cause,
    })
}

/// A name that a file gives.
pub(super) fn reference(name: &str, file: &str) -> Result<Reference, ArchiveError> {
    name.parse::<Reference>()
        .map(Reference::or_latest)
        .map_err(|e| invalid(file, format!("{name:?} is no image name: {e}")))
}

/// A manifest that the index leads to.
pub(super) struct OciManifest {
    pub(super) name: String,
    pub(super) references: Vec<Reference>,
    pub(super) media_type: MediaType,
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Manifest,
}

/// Reads a blob whole, and verifies it.
pub(super) fn blob(
    files: &Files,
    descriptor: &Descriptor,
    max: usize,
) -> Result<Vec<u8>, ArchiveError> {
    let name = blob_path(&descriptor.digest);
    let bytes = files.read(&name, max)?;
    let actual = descriptor.digest.algorithm().digest(&bytes);
    if actual != descriptor.digest {
        return Err(ArchiveError::DigestMismatch {
            name,
            expected: descriptor.digest.clone(),
            actual,
        });
    }
    Ok(bytes)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutVersion {
    image_layout_version: String,
}

/// The entry point of an OCI layout.
pub(super) fn layout_index(files: &Files) -> Result<Index, ArchiveError> {
    let bytes = files.read(OCI_LAYOUT, 4096)?;
    let version: LayoutVersion = json(OCI_LAYOUT, &bytes)?;
    if !version.image_layout_version.starts_with("1.") {
        return Err(invalid(
            OCI_LAYOUT,
            format!("version {} is not supported", version.image_layout_version),
        ));
    }
    let bytes = files.read(INDEX, MAX_MANIFEST_SIZE)?;
    match parse(INDEX, &bytes, None)? {
        ManifestDocument::Index(index) => Ok(index),
        ManifestDocument::Manifest(_) => Err(invalid(INDEX, "it is no index")),
    }
}

/// Reads a manifest or index.
pub(super) fn parse(
    name: &str,
    bytes: &[u8],
    given: Option<&MediaType>,
) -> Result<ManifestDocument, ArchiveError> {
    ManifestDocument::parse(bytes, given).map_err(|cause| ArchiveError::Manifest {
        name: name.to_owned(),
        cause,
    })
}

/// The names an index entry gives to what it points to.
pub(super) fn names(entry: &Descriptor) -> Result<Vec<Reference>, ArchiveError> {
    if let Some(name) = entry.annotations.get(IMAGE_NAME) {
        return Ok(vec![reference(name, INDEX)?]);
    }
    match entry.annotations.get(REF_NAME) {
        // A bare tag is no name; any other text may be here too (annotations.md).
        Some(name) if name.contains([':', '/']) => Ok(reference(name, INDEX).into_iter().collect()),
        _ => Ok(Vec::new()),
    }
}
