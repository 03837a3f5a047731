//! One image of an OCI image layout (image-spec, image-layout.md), by tag or digest, for one
//! platform.

use std::path::Path;

use super::files::Files;
use super::read::{
    ArchivedImage, OciManifest, ReadOptions, blob, layout_index, oci_image, open_files, parse,
};
use super::{ArchiveError, IMAGE_NAME, INDEX, OCI_LAYOUT, REF_NAME, blob_path, invalid};
use crate::manifest::MAX_MANIFEST_SIZE;
use crate::{Descriptor, Digest, Index, ManifestDocument, Platform, Reference};

/// Indexes in indexes are followed this deep.
const MAX_DEPTH: usize = 4;

/// Which image of a layout is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The one tagged `latest`, else the only one.
    Default,
    /// The one with this tag.
    Tag(String),
    /// The manifest or index with this digest.
    Digest(Digest),
}

/// Opens one image of the layout at `path`, a directory or an archive.
///
/// # Errors
/// [`ArchiveError::NoSuchImage`], [`ArchiveError::NoPlatform`], and those of reading.
pub fn open_image(
    path: &Path,
    pick: &Pick,
    platform: &Platform,
    options: &ReadOptions<'_>,
) -> Result<ArchivedImage, ArchiveError> {
    let files = open_files(path, options)?;
    if files.find(OCI_LAYOUT)?.is_none() {
        return Err(ArchiveError::NotAnArchive);
    }
    let mut entry = chosen(&layout_index(&files)?, pick)?;
    for _ in 0..MAX_DEPTH {
        let name = blob_path(&entry.digest);
        let bytes = blob(&files, &entry, MAX_MANIFEST_SIZE)?;
        let given = Some(&entry.media_type).filter(|kind| kind.is_manifest() || kind.is_index());
        match parse(&name, &bytes, given)? {
            ManifestDocument::Index(index) => {
                let selected = index.select(platform);
                entry = selected
                    .map_err(|found| none_for(platform, &found))?
                    .clone();
            }
            ManifestDocument::Manifest(manifest)
                if !manifest.config.media_type.is_image_config() =>
            {
                let kind = manifest.config.media_type;
                return Err(invalid(
                    name,
                    format!("it is an artifact of type {kind}, no image"),
                ));
            }
            ManifestDocument::Manifest(manifest) => {
                return image(&files, name, entry, bytes, manifest, platform);
            }
        }
    }
    Err(invalid(INDEX, "indexes are nested too deep"))
}

fn image(
    files: &Files,
    name: String,
    entry: Descriptor,
    bytes: Vec<u8>,
    manifest: crate::Manifest,
    platform: &Platform,
) -> Result<ArchivedImage, ArchiveError> {
    let media_type = match entry.media_type.is_manifest() {
        true => entry.media_type,
        false => ManifestDocument::Manifest(manifest.clone()).media_type(),
    };
    let image = oci_image(
        files,
        &OciManifest {
            name,
            references: Vec::new(),
            media_type,
            bytes,
            manifest,
        },
    )?;
    let actual = image.image_config.platform();
    match actual.satisfies(platform) {
        true => Ok(image),
        false => Err(none_for(platform, &[actual])),
    }
}

fn none_for(wanted: &Platform, found: &[Platform]) -> ArchiveError {
    ArchiveError::NoPlatform {
        wanted: wanted.to_string(),
        found: found.iter().map(ToString::to_string).collect(),
    }
}

/// The entry that is meant; one that only a digest names may be listed nowhere.
fn chosen(index: &Index, pick: &Pick) -> Result<Descriptor, ArchiveError> {
    let tagged = |tag: &str| {
        let mut entries = index.manifests.iter();
        entries.find(|entry| tags(entry).iter().any(|t| t == tag))
    };
    let (found, wanted) = match pick {
        Pick::Default => {
            let only = match index.manifests.as_slice() {
                [only] => Some(only),
                _ => None,
            };
            (tagged("latest").or(only), "tagged latest".to_owned())
        }
        Pick::Tag(tag) => (tagged(tag), format!("tagged {tag}")),
        Pick::Digest(digest) => {
            let listed = index.manifests.iter().find(|entry| entry.digest == *digest);
            let unlisted = || Descriptor::new("", digest.clone(), 0);
            return Ok(listed.cloned().unwrap_or_else(unlisted));
        }
    };
    found.cloned().ok_or_else(|| {
        let mut names: Vec<String> = index.manifests.iter().flat_map(tags).collect();
        names.sort();
        names.dedup();
        ArchiveError::NoSuchImage { wanted, names }
    })
}

/// What an entry is tagged: annotations hold a tag, or a whole name.
fn tags(entry: &Descriptor) -> Vec<String> {
    let annotated = [REF_NAME, IMAGE_NAME].into_iter();
    let mut tags: Vec<String> = annotated
        .filter_map(|key| entry.annotations.get(key))
        .map(|text| match text.parse::<Reference>() {
            Ok(name) if text.contains(['/', ':']) => match name.tag() {
                Some(tag) => tag.to_string(),
                None => "latest".to_owned(),
            },
            _ => text.clone(),
        })
        .collect();
    tags.dedup();
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type::{OCI_INDEX, OCI_MANIFEST};

    fn entry(text: &str, key: &str, value: &str) -> Descriptor {
        let mut entry = Descriptor::new(OCI_MANIFEST, Digest::sha256(text.as_bytes()), 1);
        if !key.is_empty() {
            entry.annotations.insert(key.to_owned(), value.to_owned());
        }
        entry
    }

    fn index(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: Some(OCI_INDEX.into()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Default::default(),
        }
    }

    #[test]
    fn images_are_chosen_by_tag_however_it_is_annotated() {
        let tag = |tag: &str| Pick::Tag(tag.to_owned());
        let index = index(vec![
            entry("a", REF_NAME, "v1"),
            entry("b", REF_NAME, "registry.lan:5000/app:v2"),
            entry("c", IMAGE_NAME, "docker.io/library/app:latest"),
            entry("d", "", ""),
        ]);
        for (pick, found) in [
            (tag("v1"), Some("a")),
            (tag("v2"), Some("b")),
            (Pick::Default, Some("c")),
            (Pick::Digest(Digest::sha256(b"d")), Some("d")),
            (
                Pick::Digest(Digest::sha256(b"elsewhere")),
                Some("elsewhere"),
            ),
            (tag("v3"), None),
        ] {
            let got = chosen(&index, &pick).ok().map(|entry| entry.digest);
            let found = found.map(|text| Digest::sha256(text.as_bytes()));
            assert_eq!(got, found, "{pick:?}");
        }
        let error = chosen(&index, &tag("v3")).unwrap_err().to_string();
        assert_eq!(
            error,
            "the layout has no image tagged v3; it has latest, v1, v2"
        );
    }

    #[test]
    fn the_only_image_needs_no_tag() {
        let only = index(vec![entry("a", REF_NAME, "v1")]);
        assert_eq!(
            chosen(&only, &Pick::Default).unwrap().digest,
            Digest::sha256(b"a")
        );
        let none = chosen(&index(Vec::new()), &Pick::Default).unwrap_err();
        assert_eq!(
            none.to_string(),
            "the layout has no image tagged latest; it has none with a name"
        );
    }
}
