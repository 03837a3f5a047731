//! An entry as an artifact: an OCI image manifest that says all of it in its annotations, so that
//! one request looks it up, and whose only layer is the step's.

use std::collections::BTreeMap;

use oci::manifest::{Manifest, ManifestDocument};
use oci::media_type::{self, LayerCompression};
use oci::{Descriptor, Digest, MediaType};

use super::entry::{Entry, Files, Malformed, Name, Step, check_time};

/// `artifactType` of a step.
const STEP: &str = "application/vnd.rbuild.step.v1";
/// `artifactType` of what a step takes.
const FILES: &str = "application/vnd.rbuild.files.v1";
/// The content of an artifact that has none (image-spec, manifest.md, "Guidance for an empty
/// descriptor").
pub(super) const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The key that the entry is of.
const KEY: &str = "dev.rbuild.key";
const DIFF_ID: &str = "dev.rbuild.diff-id";
/// JSON: pairs of name and digest.
const TAKEN: &str = "dev.rbuild.files";
const CREATED: &str = "org.opencontainers.image.created";

/// The descriptor of [`EMPTY`].
pub(super) fn empty() -> Descriptor {
    Descriptor::new(EMPTY_TYPE, Digest::sha256(EMPTY), EMPTY.len() as u64)
}

/// The blobs that have to be there before the manifest: the step's layer, and the empty one.
pub(super) fn encode(name: &Name, entry: &Entry) -> Result<Vec<u8>, serde_json::Error> {
    let mut annotations = BTreeMap::from([(KEY.to_owned(), name.key().to_string())]);
    let mut note = |name: &str, value: String| annotations.insert(name.to_owned(), value);
    let (kind, layer) = match entry {
        Entry::Step(step) => {
            note(DIFF_ID, step.diff_id.to_string());
            note(CREATED, step.created.clone());
            (STEP, step.blob.clone().unwrap_or_else(empty))
        }
        Entry::Files(files) => {
            note(TAKEN, serde_json::to_string(files)?);
            (FILES, empty())
        }
    };
    serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.into()),
        artifact_type: Some(kind.into()),
        config: empty(),
        layers: vec![layer],
        subject: None,
        annotations,
    })
}

/// A layer as OCI manifests describe it.
pub(super) fn oci_layer(blob: &Descriptor) -> Descriptor {
    let media_type = match blob.media_type.layer_compression() {
        Some(LayerCompression::Gzip) => media_type::OCI_LAYER_GZIP,
        Some(LayerCompression::Zstd) => media_type::OCI_LAYER_ZSTD,
        Some(LayerCompression::None) | None => media_type::OCI_LAYER,
    };
    Descriptor::new(media_type, blob.digest.clone(), blob.size)
}

/// Reads what was found under a name.
pub(super) fn decode(name: &Name, document: &ManifestDocument) -> Result<Entry, Malformed> {
    let malformed = |text: &str| Malformed(text.to_owned());
    let ManifestDocument::Manifest(manifest) = document else {
        return Err(malformed("it is a list of images"));
    };
    let kind = match name {
        Name::Step(_) => STEP,
        Name::Files(_) => FILES,
    };
    if manifest.artifact_type != Some(MediaType::new(kind)) {
        return Err(Malformed(format!("it is no artifact of type {kind}")));
    }
    let said = |name: &str| {
        let said = manifest.annotations.get(name);
        said.ok_or_else(|| Malformed(format!("it lacks the annotation {name}")))
    };
    if *said(KEY)? != name.key().to_string() {
        return Err(malformed("it is of another key"));
    }
    match name {
        Name::Step(_) => {
            let [blob] = manifest.layers.as_slice() else {
                return Err(malformed("it has not one layer"));
            };
            let hollow = blob.media_type.is_same(&EMPTY_TYPE.into());
            let is_layer = blob.media_type.layer_compression().is_some()
                && !blob.media_type.is_non_distributable();
            if !hollow && !is_layer {
                return Err(Malformed(format!("{} is no layer", blob.media_type)));
            }
            let diff_id: Digest = said(DIFF_ID)?
                .parse()
                .map_err(|e| Malformed(format!("its diff ID: {e}")))?;
            let created = said(CREATED)?.clone();
            check_time(&created)?;
            Ok(Entry::Step(Box::new(Step {
                diff_id: diff_id.into(),
                created,
                blob: (!hollow).then(|| oci_layer(blob)),
            })))
        }
        Name::Files(_) => {
            let files: Files = serde_json::from_str(said(TAKEN)?)
                .map_err(|e| Malformed(format!("its list of files: {e}")))?;
            Ok(Entry::Files(files))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> (Name, Entry) {
        let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::sha256(b"blob"), 4);
        let entry = Entry::Step(Box::new(Step {
            diff_id: Digest::sha256(b"tar").into(),
            created: "2026-01-02T03:04:05Z".to_owned(),
            blob: Some(blob),
        }));
        (Name::Step(Digest::sha256(b"key")), entry)
    }

    fn read(name: &Name, text: &str) -> Result<Entry, Malformed> {
        decode(
            name,
            &ManifestDocument::parse(text.as_bytes(), None).unwrap(),
        )
    }

    #[test]
    fn what_is_written_is_read() {
        let files = Entry::Files(vec![("/a".to_owned(), "file sha256:1".to_owned())]);
        let (name, mut hollow) = step();
        if let Entry::Step(step) = &mut hollow {
            step.blob = None;
        }
        let files = (Name::Files(Digest::sha256(b"key")), files);
        for (name, entry) in [step(), (name, hollow), files] {
            let text = String::from_utf8(encode(&name, &entry).unwrap()).unwrap();
            assert_eq!(read(&name, &text), Ok(entry));
            let other = Name::Step(Digest::sha256(b"other"));
            assert!(read(&other, &text).is_err(), "another key");
        }
    }

    #[test]
    fn what_is_none_is_passed_over() {
        let (name, entry) = step();
        let text = String::from_utf8(encode(&name, &entry).unwrap()).unwrap();
        for (from, to) in [
            (
                "application/vnd.rbuild.step.v1",
                "application/vnd.rbuild.step.v9",
            ),
            ("2026-01-02T03:04:05Z", "yesterday"),
            (
                "dev.rbuild.diff-id\":\"sha256:",
                "dev.rbuild.diff-id\":\"md5:",
            ),
            ("dev.rbuild.diff-id", "dev.rbuild.other"),
            (media_type::OCI_LAYER_GZIP, "text/plain"),
        ] {
            let damaged = text.replace(from, to);
            assert_ne!(damaged, text, "{from}");
            assert!(read(&name, &damaged).is_err(), "{to}");
        }
        let none = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(read(&name, none).is_err());
    }
}
