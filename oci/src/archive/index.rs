//! `index.json`: read, added to, written.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

use super::error::{ArchiveError, failed, invalid};
use super::names::{IMAGE_NAME, INDEX, REF_NAME};
use crate::{Descriptor, Digest, Index, media_type};

/// The largest `index.json`: with every tag of a repository in it, it may well be larger than any
/// manifest.
pub(super) const MAX_INDEX: usize = 64 << 20;

/// Reads an `index.json`.
pub(super) fn parse_index(bytes: &[u8]) -> Result<Index, ArchiveError> {
    let json = |cause| ArchiveError::Json {
        name: INDEX.to_owned(),
        cause,
    };
    let index: Index = serde_json::from_slice(bytes).map_err(json)?;
    if index.schema_version != 2 {
        return Err(invalid(INDEX, "its schemaVersion is not 2"));
    }
    if index.media_type.as_ref().is_some_and(|m| !m.is_index()) {
        return Err(invalid(INDEX, "it is no index"));
    }
    Ok(index)
}

/// What an index lists after `new` is added: who has the name of a new entry makes way for it.
pub(super) fn merge(mut kept: Vec<Descriptor>, new: Vec<Descriptor>) -> Vec<Descriptor> {
    fn name(entry: &Descriptor) -> Option<&str> {
        [IMAGE_NAME, REF_NAME]
            .iter()
            .find_map(|key| entry.annotations.get(*key).map(String::as_str))
    }
    let names: HashSet<&str> = new.iter().filter_map(name).collect();
    let digests: HashSet<&Digest> = new.iter().map(|entry| &entry.digest).collect();
    kept.retain(|old| match name(old) {
        Some(name) => !names.contains(name),
        None => !digests.contains(&old.digest),
    });
    kept.extend(new);
    kept
}

/// What `oci-layout` says.
pub(super) const OCI_LAYOUT_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A document's bytes; `name` is the file that it goes into.
pub(super) fn to_json<T: Serialize>(name: &str, value: &T) -> Result<Vec<u8>, ArchiveError> {
    serde_json::to_vec(value).map_err(|cause| ArchiveError::Json {
        name: name.to_owned(),
        cause,
    })
}

/// What the `index.json` in a directory lists; nothing when there is none.
pub(super) fn existing_index(dir: &Path) -> Result<Vec<Descriptor>, ArchiveError> {
    let path = dir.join(INDEX);
    let reading = || failed(format!("reading {}", path.display()));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(reading()(e)),
    };
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to be refused.
    file.take(MAX_INDEX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(reading())?;
    if bytes.len() > MAX_INDEX {
        return Err(ArchiveError::TooLarge {
            name: INDEX.to_owned(),
            max: MAX_INDEX as u64,
        });
    }
    Ok(parse_index(&bytes)?.manifests)
}

/// An index of these manifests.
pub(super) fn index(manifests: Vec<Descriptor>) -> Index {
    Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.into()),
        artifact_type: None,
        manifests,
        subject: None,
        annotations: BTreeMap::new(),
    }
}
