//! Image manifests and indexes (OCI image-spec, manifest.md and image-index.md; Docker image
//! manifest v2 schema 2).
//!
//! The typed structs are for reading and for making documents of our own. What came from outside
//! is stored and served as the bytes that came: typed structs drop unknown fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::null::null_as_default;
use crate::{Descriptor, MediaType, media_type};

/// The largest manifest that is read from outside, in bytes.
pub const MAX_MANIFEST_SIZE: usize = 4 << 20;

/// One image (or artifact): a configuration and its layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own media type; OCI allows leaving it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The kind of artifact, when it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, bottom first. Tools in Go write an empty list as `null`.
    #[serde(deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form annotations.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, usually one a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own media type; OCI allows leaving it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The kind of artifact, when it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The manifests. Tools in Go write an empty list as `null`.
    #[serde(deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form annotations.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// Either kind of document that a tag can point to.
#[expect(
    clippy::large_enum_variant,
    reason = "few exist at a time, and both are matched by value"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestDocument {
    /// An image manifest.
    Manifest(Manifest),
    /// An index or manifest list.
    Index(Index),
}

/// Why bytes are no manifest that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than [`MAX_MANIFEST_SIZE`].
    #[error("the manifest is larger than {MAX_MANIFEST_SIZE} bytes")]
    TooLarge,
    /// Not JSON, or not of the shape of a manifest.
    #[error("the manifest is not valid JSON of its type: {0}")]
    Json(serde_json::Error),
    /// `schemaVersion` other than 2.
    #[error("schemaVersion {0}: only 2 is supported; schema 1 images must be pushed again")]
    SchemaVersion(u64),
    /// The artifact manifest of image-spec 1.1's release candidates, which its release left out.
    #[error(
        "OCI artifact manifests were dropped from the image specification: push the artifact as an \
         image manifest with artifactType (oras does so since 1.1)"
    )]
    ArtifactManifest,
    /// Both `layers` (or `config`) and `manifests`: readers could disagree on what it means.
    #[error("the document has both layers and manifests, so that its type is ambiguous")]
    Ambiguous,
    /// `mediaType` in the document contradicts what it was said to be.
    #[error("the document says it is {document}, but it was given as {given}")]
    MediaTypeMismatch {
        /// The media type inside the document.
        document: MediaType,
        /// The media type that came with it, as in `Content-Type`.
        given: MediaType,
    },
    /// A media type of neither a manifest nor an index.
    #[error("{0} is no manifest or index")]
    UnknownMediaType(MediaType),
}

impl From<serde_json::Error> for ManifestError {
    fn from(cause: serde_json::Error) -> Self {
        Self::Json(cause)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: u64,
    media_type: Option<MediaType>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl ManifestDocument {
    /// Reads a document, refusing whatever two readers could understand differently
    /// (CVE-2021-41190). `given` is the media type that came with it, if any did.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(bytes: &[u8], given: Option<&MediaType>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_SIZE {
            return Err(ManifestError::TooLarge);
        }
        let probe: Probe = serde_json::from_slice(bytes)?;
        let said = probe.media_type.as_ref().or(given);
        // It has no schemaVersion, which is not what is wrong with it.
        if said.is_some_and(|said| said.is_same(&media_type::OCI_ARTIFACT.into())) {
            return Err(ManifestError::ArtifactManifest);
        }
        if probe.fs_layers.is_some() || probe.schema_version != 2 {
            return Err(ManifestError::SchemaVersion(probe.schema_version));
        }
        if (probe.layers.is_some() || probe.config.is_some()) && probe.manifests.is_some() {
            return Err(ManifestError::Ambiguous);
        }
        if let (Some(document), Some(given)) = (&probe.media_type, given)
            && !document.is_same(given)
        {
            return Err(ManifestError::MediaTypeMismatch {
                document: document.clone(),
                given: given.clone(),
            });
        }
        let media_type = match probe.media_type.as_ref().or(given) {
            Some(media_type) => media_type.clone(),
            None if probe.manifests.is_some() => media_type::OCI_INDEX.into(),
            None => media_type::OCI_MANIFEST.into(),
        };
        if media_type.is_index() {
            Ok(Self::Index(serde_json::from_slice(bytes)?))
        } else if media_type.is_manifest() {
            Ok(Self::Manifest(serde_json::from_slice(bytes)?))
        } else {
            Err(ManifestError::UnknownMediaType(media_type))
        }
    }

    /// The media type: the document's own, or OCI's where it is left out.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Manifest(m) => m
                .media_type
                .clone()
                .unwrap_or(media_type::OCI_MANIFEST.into()),
            Self::Index(i) => i.media_type.clone().unwrap_or(media_type::OCI_INDEX.into()),
        }
    }

    /// The manifest that this document refers to.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Manifest(m) => m.subject.as_ref(),
            Self::Index(i) => i.subject.as_ref(),
        }
    }

    /// The document's annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Manifest(m) => &m.annotations,
            Self::Index(i) => &i.annotations,
        }
    }

    /// The artifact type that referrers lists show: `artifactType`, else the config's media type
    /// (distribution-spec, "Listing Referrers"). An empty one is none.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        let own = match self {
            Self::Manifest(m) => &m.artifact_type,
            Self::Index(i) => &i.artifact_type,
        };
        let own = own.as_ref().filter(|t| !t.as_str().is_empty());
        match self {
            Self::Manifest(m) => Some(own.unwrap_or(&m.config.media_type)),
            Self::Index(_) => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn manifest() -> String {
        let d = Digest::empty();
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{d}","size":0}},"layers":[]}}"#,
            media_type::OCI_MANIFEST,
            media_type::OCI_CONFIG
        )
    }

    #[test]
    fn tells_manifests_from_indexes() {
        let m = ManifestDocument::parse(manifest().as_bytes(), None).unwrap();
        assert!(matches!(m, ManifestDocument::Manifest(_)));
        assert_eq!(m.artifact_type().unwrap().as_str(), media_type::OCI_CONFIG);
        let i = ManifestDocument::parse(br#"{"schemaVersion":2,"manifests":[]}"#, None).unwrap();
        assert_eq!(i.media_type(), media_type::OCI_INDEX);
    }

    #[test]
    fn an_empty_list_may_be_null_but_not_left_out() {
        let null = manifest().replace(r#""layers":[]"#, r#""layers":null"#);
        let m = ManifestDocument::parse(null.as_bytes(), None).unwrap();
        assert!(matches!(m, ManifestDocument::Manifest(m) if m.layers.is_empty()));
        let none = manifest().replace(r#","layers":[]"#, "");
        assert!(matches!(
            ManifestDocument::parse(none.as_bytes(), None),
            Err(ManifestError::Json(_))
        ));
        let given = media_type::OCI_INDEX.into();
        let index = br#"{"schemaVersion":2,"manifests":null}"#;
        assert!(matches!(
            ManifestDocument::parse(index, Some(&given)).unwrap(),
            ManifestDocument::Index(i) if i.manifests.is_empty()
        ));
    }

    #[test]
    fn what_is_optional_may_be_null() {
        let with = |fields: &str| {
            let text = manifest().replace(r#""size":0}"#, &format!(r#""size":0,{fields}}}"#));
            let text = text.replace(r#""layers":[]"#, &format!(r#""layers":[],{fields}"#));
            ManifestDocument::parse(text.as_bytes(), None).unwrap()
        };
        let plain = ManifestDocument::parse(manifest().as_bytes(), None).unwrap();
        let nulls = r#""urls":null,"annotations":null,"data":null,"platform":null,
            "artifactType":null,"subject":null"#;
        assert_eq!(with(nulls), plain);
        let index = br#"{"schemaVersion":2,"manifests":[],"annotations":null,"artifactType":""}"#;
        let index = ManifestDocument::parse(index, None).unwrap();
        assert!(index.annotations().is_empty());
        assert_eq!(index.artifact_type(), None);
    }

    #[test]
    fn media_types_are_the_same_in_any_case() {
        let given = MediaType::new(media_type::OCI_MANIFEST.to_uppercase());
        let text = manifest().replace(
            media_type::OCI_MANIFEST,
            "Application/vnd.OCI.image.manifest.v1+json",
        );
        let m = ManifestDocument::parse(text.as_bytes(), Some(&given)).unwrap();
        assert!(matches!(m, ManifestDocument::Manifest(_)));
        assert_eq!(m.media_type(), "Application/vnd.OCI.image.manifest.v1+json");
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        let both = manifest().replace(r#""layers":[]"#, r#""layers":[],"manifests":[]"#);
        assert!(matches!(
            ManifestDocument::parse(both.as_bytes(), None),
            Err(ManifestError::Ambiguous)
        ));
        let given = media_type::DOCKER_MANIFEST.into();
        assert!(matches!(
            ManifestDocument::parse(manifest().as_bytes(), Some(&given)),
            Err(ManifestError::MediaTypeMismatch { .. })
        ));
        assert!(matches!(
            ManifestDocument::parse(br#"{"schemaVersion":1,"fsLayers":[]}"#, None),
            Err(ManifestError::SchemaVersion(1))
        ));
        let huge = vec![b' '; MAX_MANIFEST_SIZE + 1];
        assert!(matches!(
            ManifestDocument::parse(&huge, None),
            Err(ManifestError::TooLarge)
        ));
    }
}
