//! One image of an OCI image layout (image-spec, image-layout.md), by tag or digest, for one
//! platform.

use std::path::Path;

use super::documents::{OciManifest, blob, layout_index, parse};
use super::error::{ArchiveError, invalid};
use super::names::{IMAGE_NAME, INDEX, MANIFEST, OCI_LAYOUT, REF_NAME, REFERENCE_TYPE, blob_path};
use super::read::{ArchivedImage, MAX_NESTING, ReadOptions, oci_image, open_files};
use crate::manifest::MAX_MANIFEST_SIZE;
use crate::{Descriptor, Digest, Index, ManifestDocument, Platform, Reference};

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
        let docker = files.find(MANIFEST)?.is_some();
        return Err(ArchiveError::NotALayout { docker });
    }
    let mut entry = match chosen(&layout_index(&files)?, pick)? {
        Chosen::One(entry) => entry,
        Chosen::Several(index) => selected(&index, platform)?,
    };
    // As deep as archives are loaded: index.json, and indexes in it.
    for _ in 0..=MAX_NESTING {
        let name = blob_path(&entry.digest);
        let bytes = blob(&files, &entry, MAX_MANIFEST_SIZE)?;
        let given = Some(&entry.media_type).filter(|kind| kind.is_manifest() || kind.is_index());
        let manifest = match parse(&name, &bytes, given)? {
            ManifestDocument::Index(index) => {
                entry = selected(&index, platform)?;
                continue;
            }
            ManifestDocument::Manifest(manifest) => manifest,
        };
        if !manifest.config.media_type.is_image_config() {
            let kind = manifest.config.media_type;
            let problem = format!("it is an artifact of type {kind}, no image");
            return Err(invalid(name, problem));
        }
        let media_type = match entry.media_type.is_manifest() {
            true => entry.media_type,
            false => ManifestDocument::Manifest(manifest.clone()).media_type(),
        };
        let references = Vec::new();
        let manifest = OciManifest {
            name,
            references,
            media_type,
            bytes,
            manifest,
        };
        let image = oci_image(&files, &manifest)?;
        let actual = image.image_config.platform();
        return match platform.runs(&actual) {
            true => Ok(image),
            false => Err(none_for(platform, &[actual])),
        };
    }
    Err(invalid(INDEX, "indexes are nested too deep"))
}

/// The entry of an index for a platform.
fn selected(index: &Index, platform: &Platform) -> Result<Descriptor, ArchiveError> {
    let entry = index.select(platform);
    entry.cloned().map_err(|found| none_for(platform, &found))
}

fn none_for(wanted: &Platform, found: &[Platform]) -> ArchiveError {
    ArchiveError::NoPlatform {
        wanted: wanted.to_string(),
        found: found.iter().map(ToString::to_string).collect(),
    }
}

/// What index.json has for a pick.
#[derive(Debug)]
enum Chosen {
    /// One manifest or index.
    One(Descriptor),
    /// Several of one name: an index for as many platforms.
    Several(Index),
}

/// What is meant; something that only a digest names may be listed nowhere.
fn chosen(index: &Index, pick: &Pick) -> Result<Chosen, ArchiveError> {
    let attests = |entry: &Descriptor| entry.annotations.contains_key(REFERENCE_TYPE);
    let entries = index.manifests.iter().filter(|entry| !attests(entry));
    let mut entries: Vec<&Descriptor> = entries.collect();
    let tagged = |entry: &Descriptor, tag: &str| tags(entry).iter().any(|t| t == tag);
    let wanted = match pick {
        Pick::Default => {
            if entries.iter().any(|entry| tagged(entry, "latest")) {
                entries.retain(|entry| tagged(entry, "latest"));
            } else if entries.iter().any(|entry| !tags(entry).is_empty()) && !same(&entries) {
                entries.clear();
            }
            "tagged latest".to_owned()
        }
        Pick::Tag(tag) => {
            entries.retain(|entry| tagged(entry, tag));
            format!("tagged {tag}")
        }
        Pick::Digest(digest) => {
            let listed = index.manifests.iter().find(|entry| entry.digest == *digest);
            let unlisted = || Descriptor::new("", digest.clone(), 0);
            return Ok(Chosen::One(listed.cloned().unwrap_or_else(unlisted)));
        }
    };
    match entries.as_slice() {
        [] => {
            let mut names: Vec<String> = index.manifests.iter().flat_map(tags).collect();
            names.sort();
            names.dedup();
            Err(ArchiveError::NoSuchImage { wanted, names })
        }
        [first, ..] if same(&entries) => Ok(Chosen::One((*first).clone())),
        _ => Ok(Chosen::Several(Index {
            manifests: entries.into_iter().cloned().collect(),
            ..index.clone()
        })),
    }
}

/// Whether all entries are of one manifest, under several names maybe.
fn same(entries: &[&Descriptor]) -> bool {
    entries
        .windows(2)
        .all(|pair| pair[0].digest == pair[1].digest)
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

    fn one(index: &Index, pick: &Pick) -> Option<Digest> {
        match chosen(index, pick) {
            Ok(Chosen::One(entry)) => Some(entry.digest),
            _ => None,
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
            let got = one(&index, &pick);
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
        assert_eq!(one(&only, &Pick::Default), Some(Digest::sha256(b"a")));
        let twice = index(vec![entry("a", REF_NAME, "v1"), entry("a", REF_NAME, "v2")]);
        assert_eq!(one(&twice, &Pick::Default), Some(Digest::sha256(b"a")));
        let attested = entry("b", REFERENCE_TYPE, "attestation-manifest");
        let attested = index(vec![entry("a", "", ""), attested]);
        assert_eq!(one(&attested, &Pick::Default), Some(Digest::sha256(b"a")));
        let none = chosen(&index(Vec::new()), &Pick::Default).unwrap_err();
        assert_eq!(
            none.to_string(),
            "the layout has no image tagged latest; it has none with a name"
        );
    }

    #[test]
    fn entries_of_one_name_are_an_index() {
        for key in ["", REF_NAME] {
            let platforms = index(vec![entry("a", key, "v1"), entry("b", key, "v1")]);
            let pick = match key {
                "" => Pick::Default,
                _ => Pick::Tag("v1".to_owned()),
            };
            let Chosen::Several(several) = chosen(&platforms, &pick).unwrap() else {
                panic!("{key:?}: two images are meant");
            };
            assert_eq!(several.manifests.len(), 2);
        }
        let names = index(vec![entry("a", REF_NAME, "v1"), entry("b", REF_NAME, "v2")]);
        assert!(chosen(&names, &Pick::Default).is_err());
    }
}
