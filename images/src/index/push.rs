//! Indexes of the store to registries.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use client::{Pushed, Silent};
use oci::blob::BlobStore;
use oci::manifest::ManifestDocument;
use oci::{Descriptor, Digest, Manifest, MediaType, Reference};
use serde_json::Value;
use store::{IndexEntry, RawManifest, StoredIndex};

use crate::error::ImageError;
use crate::form::{Form, Vocabulary};
use crate::index::build::{Part, index_document};
use crate::push::{PushProgress, push_content, push_source, usable};
use crate::save::Shape;
use crate::service::Images;

/// Pushes an index under a name: every image of it, then the index itself. Images that were pulled
/// go out as they came; those that were made here are compressed, and then the index that goes out
/// lists what they became.
///
/// # Errors
/// [`ImageError::EntryMissing`] when an image is neither here nor in the registry;
/// [`ImageError`]. The registry may have got images then, but no index.
pub async fn push_index(
    images: &Images,
    index: &StoredIndex,
    reference: &Reference,
    form: &Form,
    progress: &dyn PushProgress,
) -> Result<Pushed, ImageError> {
    let document = images.store.index_document(index).await?;
    let mut moved = BTreeMap::new();
    for entry in &index.entries {
        let pushed = push_entry(images, entry, reference, form, progress).await?;
        if pushed.digest != entry.manifest.digest {
            moved.insert(entry.manifest.digest.clone(), pushed);
        }
    }
    let RawManifest { media_type, bytes } = match moved.is_empty() {
        true => document,
        false => replace(&document, &moved)?,
    };
    let client = images.client().await?;
    let pushed = client
        .put_manifest(reference, Bytes::from(bytes), &media_type)
        .await?;
    let by_digest = reference.with_digest(pushed.digest.clone());
    images
        .store
        .record_index_digest(&index.id, &by_digest)
        .await?;
    Ok(pushed)
}

/// Pushes the result of a build in the form asked for, one image or the index of several, under its
/// names, or without tag to the repositories of its names. It need not be in the store.
///
/// # Errors
/// As [`push_index`].
pub async fn push_result(
    images: &Images,
    result: &[Part],
    shape: &Shape,
    by_digest: bool,
    progress: &dyn PushProgress,
) -> Result<Option<Descriptor>, ImageError> {
    let client = images.client().await?;
    let several = result.len() > 1;
    let mut descriptor = None;
    for reference in &shape.references {
        let mut entries = Vec::new();
        let mut last = None;
        for part in result {
            let form = Form {
                annotations: part.annotations.clone(),
                vocabulary: shape.form.vocabulary.or(several.then_some(Vocabulary::Oci)),
                ..shape.form.clone()
            };
            let form = form.for_base(part.base_layers);
            let content = push_content(images, &part.image, reference, None, &form, progress);
            let content = content.await?;
            let digest = Digest::sha256(&content.manifest);
            let size = content.manifest.len() as u64;
            let mut entry = Descriptor::new(content.media_type.clone(), digest.clone(), size);
            entry.platform = Some(part.platform.clone());
            entries.push(entry);
            if several {
                client
                    .put_manifest(
                        &reference.with_digest(digest),
                        Bytes::from(content.manifest),
                        &content.media_type,
                    )
                    .await?;
            } else {
                last = Some((content.media_type, content.manifest));
            }
        }
        let (media_type, bytes) = match last {
            Some(only) => only,
            None => {
                let raw = index_document(entries, &shape.annotations)?;
                (raw.media_type, raw.bytes)
            }
        };
        let digest = Digest::sha256(&bytes);
        let target = match by_digest {
            true => reference.with_digest(digest.clone()),
            false => reference.clone(),
        };
        let size = bytes.len() as u64;
        client
            .put_manifest(&target, Bytes::from(bytes), &media_type)
            .await?;
        descriptor = Some(Descriptor::new(media_type, digest, size));
    }
    Ok(descriptor)
}

/// Pushes what one entry leads to, by digest; returns what it is there.
async fn push_entry(
    images: &Images,
    entry: &IndexEntry,
    reference: &Reference,
    form: &Form,
    progress: &dyn PushProgress,
) -> Result<Descriptor, ImageError> {
    let client = images.client().await?;
    let raw = images.store.entry_document(entry).await?;
    let image = match &entry.image {
        Some(id) => images.store.image(id).await?,
        None => None,
    };
    let (media_type, bytes): (MediaType, Vec<u8>) = match (image, raw) {
        (Some(image), raw) => {
            let original = match raw {
                Some(raw) if form.compression.is_none() => usable(images, &image, raw).await?,
                _ => None,
            };
            let form = Form {
                vocabulary: Some(Vocabulary::Oci),
                annotations: match images.store.entry_document(entry).await? {
                    Some(raw) => annotations(&raw),
                    None => form.annotations.clone(),
                },
                ..form.clone()
            };
            let content = push_content(images, &image, reference, original, &form, progress);
            let content = content.await?;
            (content.media_type, content.manifest)
        }
        (None, Some(raw)) => {
            push_blobs(images, &raw, reference).await?;
            (raw.media_type, raw.bytes)
        }
        (None, None) => {
            let by_digest = reference.with_digest(entry.manifest.digest.clone());
            return match client.head(&by_digest).await {
                Ok(_) => Ok(entry.manifest.clone()),
                Err(
                    client::Error::ManifestNotFound { .. }
                    | client::Error::RepositoryNotFound { .. },
                ) => Err(missing(entry, reference)),
                Err(e) => Err(e.into()),
            };
        }
    };
    let digest = Digest::sha256(&bytes);
    let by_digest = reference.with_digest(digest.clone());
    let size = bytes.len() as u64;
    client
        .put_manifest(&by_digest, Bytes::from(bytes), &media_type)
        .await?;
    Ok(Descriptor::new(media_type, digest, size))
}

fn missing(entry: &IndexEntry, reference: &Reference) -> ImageError {
    let platform = entry.manifest.platform.as_ref();
    ImageError::EntryMissing {
        reference: reference.familiar(),
        platform: platform.map_or("a platform".to_owned(), ToString::to_string),
        digest: entry.manifest.digest.clone(),
    }
}

fn annotations(raw: &RawManifest) -> BTreeMap<String, String> {
    match ManifestDocument::parse(&raw.bytes, Some(&raw.media_type)) {
        Ok(document) => document.annotations().clone(),
        Err(_) => BTreeMap::new(),
    }
}

/// Pushes the blobs of something that is no image.
async fn push_blobs(
    images: &Images,
    raw: &RawManifest,
    reference: &Reference,
) -> Result<(), ImageError> {
    let parsed = ManifestDocument::parse(&raw.bytes, Some(&raw.media_type));
    let Ok(ManifestDocument::Manifest(manifest)) = parsed else {
        return Ok(());
    };
    let Manifest { config, layers, .. } = manifest;
    let client = images.client().await?;
    let source: Arc<dyn BlobStore> = images.store.blobs().clone();
    for blob in std::iter::once(config).chain(layers) {
        let blob = push_source(images, blob).await?;
        let repository = reference.repository();
        client
            .push_blob(repository, &blob, &source, &Silent)
            .await?;
    }
    Ok(())
}

/// The document with other manifests in the place of some; all else stays as it is.
fn replace(
    document: &RawManifest,
    moved: &BTreeMap<Digest, Descriptor>,
) -> Result<RawManifest, ImageError> {
    let broken = |cause| ImageError::Document {
        what: "index",
        cause,
    };
    let mut value: Value = serde_json::from_slice(&document.bytes).map_err(broken)?;
    let by_text: BTreeMap<String, &Descriptor> = moved
        .iter()
        .map(|(old, new)| (old.to_string(), new))
        .collect();
    let entries = value.get_mut("manifests").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        let digest = entry.get("digest").and_then(Value::as_str);
        if let Some(new) = digest.and_then(|digest| by_text.get(digest)) {
            entry["digest"] = new.digest.to_string().into();
            entry["size"] = new.size.into();
            entry["mediaType"] = new.media_type.to_string().into();
        }
        // Statements name the manifest that they are about.
        let notes = entry.get_mut("annotations").and_then(Value::as_object_mut);
        for note in notes.into_iter().flat_map(|notes| notes.values_mut()) {
            if let Some(new) = note.as_str().and_then(|text| by_text.get(text)) {
                *note = new.digest.to_string().into();
            }
        }
    }
    Ok(RawManifest {
        media_type: document.media_type.clone(),
        bytes: serde_json::to_vec_pretty(&value).map_err(broken)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::media_type::{OCI_INDEX, OCI_MANIFEST};
    use serde_json::json;

    #[test]
    fn only_what_moved_is_replaced() {
        let [old, new, other] = [&b"old"[..], b"new", b"other"].map(Digest::sha256);
        let document = json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "x-own": {"kept": true},
            "manifests": [
                {"mediaType": OCI_MANIFEST, "digest": old, "size": 3,
                 "platform": {"os": "linux", "architecture": "arm64"}},
                {"mediaType": OCI_MANIFEST, "digest": other, "size": 5,
                 "annotations": {"vnd.docker.reference.digest": old}},
            ],
        });
        let raw = RawManifest {
            media_type: OCI_INDEX.into(),
            bytes: document.to_string().into_bytes(),
        };
        let moved = BTreeMap::from([(old, Descriptor::new(OCI_MANIFEST, new.clone(), 9))]);
        let found = replace(&raw, &moved).unwrap();
        let found: Value = serde_json::from_slice(&found.bytes).unwrap();
        let mut expected = document;
        expected["manifests"][0]["digest"] = json!(new);
        expected["manifests"][0]["size"] = json!(9);
        expected["manifests"][1]["annotations"]["vnd.docker.reference.digest"] = json!(new);
        assert_eq!(found, expected);
    }
}
